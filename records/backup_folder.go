package records

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// partFile is what is being written. There is one writer, which holds the lock,
// so what a crash left under this name is written over, or removed.
const partFile = "part"

// A backupFolder is a folder of backups, open for writing and locked:
//
//	lock                     who holds it writes
//	segments/<SHA-256>.seg   each segment once
//	<time>-<group>.backup    each backup
//
// Everything is done beneath the open folders, which were looked at: who may
// rename one can't direct us elsewhere.
type backupFolder struct {
	l             *Ledger
	path          string
	dir, segments *os.File
	lock          *os.File
	shared        bool // with the ledger's disk
	unasked       int  // bytes since room was last asked for

	backup Backup
	names  map[string]bool // of the files of the new backup's segments
}

// openBackups opens a folder of backups that nobody else can write in.
func (l *Ledger) openBackups(path string) (_ *backupFolder, err error) {
	f := &backupFolder{l: l, path: path, names: map[string]bool{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.close())
		}
	}()
	if err := l.outside(path); err != nil {
		return nil, err
	}
	if f.dir, err = f.openDir(unix.AT_FDCWD, path, 0); err != nil {
		return nil, err
	}
	if f.lock, err = f.takeLock(); err != nil {
		return nil, err
	}
	if err := l.durable("make segments folder of backups", func() error {
		if err := unix.Mkdirat(int(f.dir.Fd()), "segments", 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.PathError{Op: "mkdir", Path: filepath.Join(path, "segments"), Err: err}
		}
		return f.dir.Sync()
	}); err != nil {
		return nil, err
	}
	if f.segments, err = f.openDir(int(f.dir.Fd()), "segments", unix.O_NOFOLLOW); err != nil {
		return nil, err
	}
	return f, nil
}

// outside refuses a folder inside the ledger's.
func (l *Ledger) outside(path string) error {
	ledger, err := filepath.EvalSymlinks(l.dir)
	if err != nil {
		return err
	}
	dir, err := filepath.EvalSymlinks(path)
	if err != nil {
		return refuse("make it, as the user of the station", "backup folder: %v", err)
	}
	for _, p := range []*string{&ledger, &dir} {
		if *p, err = filepath.Abs(*p); err != nil {
			return err
		}
	}
	if rel, err := filepath.Rel(ledger, dir); err != nil || rel == "." || filepath.IsLocal(rel) {
		return errors.Join(err, refuse("take another folder, best on another disk", "backup folder %s is in the ledger's", path))
	}
	return nil
}

// openDir opens a folder and refuses one in which others could put something in
// the place of ours.
func (f *backupFolder) openDir(at int, name string, flags int) (*os.File, error) {
	fd, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC|flags, 0)
	if err != nil {
		return nil, refuse("it must be a folder, and no link", "backup folder %s: %v", f.under(name), err)
	}
	d := os.NewFile(uintptr(fd), f.under(name))
	var st, ledger unix.Stat_t
	if err := errors.Join(unix.Fstat(fd, &st), unix.Stat(f.l.dir, &ledger)); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	switch {
	case !slices.Contains([]uint32{0, uint32(os.Geteuid()), ledger.Uid}, st.Uid):
		err = refuse("take a folder of the station's user", "backup folder %s is uid %d's, who could change what is in it", d.Name(), st.Uid)
	case st.Mode&0o022 != 0:
		err = refuse("chmod go-w", "backup folder %s can be written by others, want one that can't", d.Name())
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	f.shared = f.shared || st.Dev == ledger.Dev
	return d, nil
}

// under names what is in the folder, for people.
func (f *backupFolder) under(name string) string {
	if filepath.IsAbs(name) || f.dir == nil {
		return name
	}
	return filepath.Join(f.path, name)
}

// takeLock takes the folder for this backup.
func (f *backupFolder) takeLock() (*os.File, error) {
	lock, err := f.openFile(f.dir, "lock", unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, refuse("the station's user must be able to write there", "take backup folder: %v", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(refuse("wait until it is done", "another backup is being written into %s", f.path), lock.Close())
	}
	return lock, nil
}

// openFile opens a file, never through a link.
func (f *backupFolder) openFile(dir *os.File, name string, flags int) (*os.File, error) {
	path := filepath.Join(dir.Name(), name)
	fd, err := unix.Openat(int(dir.Fd()), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return os.NewFile(uintptr(fd), path), nil
}

func (f *backupFolder) close() (err error) {
	for _, file := range []*os.File{f.segments, f.dir, f.lock} {
		if file != nil {
			err = errors.Join(err, file.Close())
		}
	}
	return err
}

// remove removes a file if it is there.
func (f *backupFolder) remove(step string, dir *os.File, name string) error {
	return f.l.durable(step, func() error {
		if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
		}
		return nil
	})
}

// putAll has the folder hold every segment, and the backup name it.
func (f *backupFolder) putAll(r reader, o *backupWriter) error {
	for _, g := range r.set.segments {
		val, found, err := r.get(segmentKey(g.number))
		if err != nil || !found {
			return errors.Join(err, fmt.Errorf("segment %d has no record", g.number))
		}
		rec, err := decode[segmentRecord](val)
		if err != nil {
			return err
		}
		n := namedSegment{filepath.Base(g.Path()), rec.Sum, rec.Size}
		if err := f.put(g, n, o); err != nil {
			return err
		}
		f.names[n.file()] = true
		o.bytes += uint64(n.size)
		if err := o.frame(frameNamed, []byte(n.name), n.encode()); err != nil {
			return err
		}
	}
	return f.l.durable("sync segments of backups", f.segments.Sync)
}

// put has the folder hold a segment. Under its name it is always whole.
func (f *backupFolder) put(g *numbered, n namedSegment, o *backupWriter) error {
	have, err := f.have(n)
	if err != nil {
		return err
	}
	if have {
		f.backup.Had++
		return nil
	}
	err = f.l.durable("link segment", func() error {
		return unix.Linkat(unix.AT_FDCWD, f.l.segmentPath(g.number), int(f.segments.Fd()), n.file(), 0)
	})
	switch {
	case err == nil:
		f.backup.Linked++
		return nil
	case !mustCopy(err):
		return noRoom(fmt.Errorf("link segment %d: %w", g.number, err), f.path)
	}
	f.backup.Copied++
	return f.copy(g, n, o)
}

// mustCopy says whether a link can't be made, but a copy may: on another file
// system, on one without links, of a file that a merge has just removed.
func mustCopy(err error) bool {
	return slices.ContainsFunc([]error{unix.EXDEV, unix.EPERM, unix.EMLINK, unix.EOPNOTSUPP, unix.ENOSYS, unix.ENOENT},
		func(e error) bool { return errors.Is(err, e) })
}

// have says whether a segment is there with its size. One of another size is removed.
func (f *backupFolder) have(n namedSegment) (bool, error) {
	var st unix.Stat_t
	err := unix.Fstatat(int(f.segments.Fd()), n.file(), &st, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, &os.PathError{Op: "stat", Path: filepath.Join(f.segments.Name(), n.file()), Err: err}
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return false, refuse("remove it", "%s is no file, want a segment", filepath.Join(f.segments.Name(), n.file()))
	case st.Size == n.size:
		return true, nil
	}
	return false, f.remove("remove segment of backups", f.segments, n.file())
}

// copy writes a segment into the folder.
func (f *backupFolder) copy(g *numbered, n namedSegment, o *backupWriter) error {
	return f.write(f.segments, n.file(), "segment of backups", func(w *os.File) error {
		h := sha256.New()
		err := g.Each(func(part []byte) error {
			h.Write(part)
			if err := f.room(len(part)); err != nil {
				return err
			}
			if _, err := w.Write(part); err != nil {
				return err
			}
			return o.advance(len(part))
		})
		if err == nil && [32]byte(h.Sum(nil)) != n.sum {
			err = fmt.Errorf("segment %s is damaged: run mintmark ledger verify", g.Path())
		}
		return err
	})
}

// advance counts bytes that don't go through the stream.
func (o *backupWriter) advance(n int) error {
	o.done += int64(n)
	if o.progress != nil {
		o.progress(o.done)
	}
	return context.Cause(o.ctx)
}

// write makes a file that is complete and on disk when it has its name.
func (f *backupFolder) write(dir *os.File, name, what string, fill func(*os.File) error) (err error) {
	if err := f.remove("remove part of "+what, dir, partFile); err != nil {
		return err
	}
	w, err := f.openFile(dir, partFile, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	err = fill(w)
	if err == nil {
		err = f.l.durable("sync "+what, w.Sync)
	}
	if err = errors.Join(err, w.Close()); err == nil {
		err = f.l.durable("name "+what, func() error {
			return unix.Renameat(int(dir.Fd()), partFile, int(dir.Fd()), name)
		})
	}
	if err != nil {
		return errors.Join(noRoom(err, f.path), f.remove("remove part of "+what, dir, partFile))
	}
	return nil
}

// noRoom refuses where the disk of the backups is full.
func noRoom(err error, path string) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return refuse("make room there", "disk of %s is full", path)
	}
	return err
}

// room refuses to take what the ledger needs of the disk, if they share one.
func (f *backupFolder) room(n int) error {
	if f.unasked += n; !f.shared || f.unasked < rowPart {
		return nil
	}
	f.unasked = 0
	return f.l.space.spare(2 * rowPart)
}

// sweep removes segments that no backup names, and what a crash left of one.
func (f *backupFolder) sweep(named map[string]bool) error {
	entries, err := f.segments.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if name := e.Name(); name != partFile && (named[name] || !isSegmentFile(name)) {
			continue
		}
		if err := f.remove("remove segment of backups", f.segments, e.Name()); err != nil {
			return err
		}
	}
	return nil
}

// backups lists the files that may be backups.
func (f *backupFolder) backups() (names []string, err error) {
	entries, err := f.dir.ReadDir(-1)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".backup") {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

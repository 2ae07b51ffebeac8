package records

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sys/unix"
)

// A Backup is one that was put into a folder of backups.
type Backup struct {
	File    string `json:"file"`
	Bytes   int64  `json:"bytes"`   // that were written
	Linked  int    `json:"linked"`  // segments that share their bytes with the ledger's
	Copied  int    `json:"copied"`  // segments
	Had     int    `json:"had"`     // segments that were there already
	Removed int    `json:"removed"` // older backups
}

// BackupInto adds a backup to a folder of backups of this ledger, which must be
// there and not be writable by others. A segment that the folder has isn't
// written again, others are linked if that can be. With keep above 0 only so many
// backups are left, then what no backup names is removed.
//
// | power fails | in the folder is |
// |---|---|
// | before the backup has its name | part of it, which the next one writes over, and segments, which the next one finds |
// | after that | the new backup |
// | after an older one was removed | segments that no backup names; the next one removes them |
//
// An error beside a Backup with a File is about older ones: the new one is complete.
func (l *Ledger) BackupInto(ctx context.Context, dir string, keep int, progress func(done int64)) (Backup, error) {
	b, err := l.backupInto(ctx, dir, keep, progress)
	if err != nil {
		return b, fmt.Errorf("back up ledger: %w", err)
	}
	return b, nil
}

func (l *Ledger) backupInto(ctx context.Context, dir string, keep int, progress func(int64)) (b Backup, err error) {
	f, err := l.openBackups(dir)
	if err != nil {
		return b, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	old, unread, err := f.older()
	if err != nil {
		return b, err
	}
	if err := l.viewRows(func(r reader, rows []*os.File) error { return f.add(ctx, r, rows, progress) }); err != nil {
		return b, err
	}
	if unread != nil {
		return f.backup, refuse("mend or remove it", "%s is complete, but nothing older was removed: %v", f.backup.File, unread)
	}
	err = f.tidy(old, keep)
	return f.backup, err
}

// add writes the new backup.
func (f *backupFolder) add(ctx context.Context, r reader, rows []*os.File, progress func(int64)) error {
	last, err := r.lastGroup(f.l.meta.ID)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%s-%d.backup", f.l.now().Format(backupTime), last.seq)
	o := &backupWriter{ctx: ctx, hash: sha256.New(), progress: progress, into: f}
	if err := f.write(f.dir, name, "backup", func(w *os.File) error {
		b := bufio.NewWriterSize(roomy{f, w}, rowPart)
		o.w = b
		return errors.Join(o.write(r, rows), b.Flush())
	}); err != nil {
		return err
	}
	f.backup.File, f.backup.Bytes = filepath.Join(f.path, name), o.done
	return f.l.durable("sync folder of backups", f.dir.Sync)
}

// roomy is a file in the folder that leaves the ledger its room.
type roomy struct {
	f *backupFolder
	w io.Writer
}

func (r roomy) Write(p []byte) (int, error) {
	if err := r.f.room(len(p)); err != nil {
		return 0, err
	}
	return r.w.Write(p)
}

const backupTime = "20060102T150405.000Z"

// madeHere has the names of backups that BackupInto makes. A backup of another
// name was put there by somebody, who may remove it.
var madeHere = regexp.MustCompile(`^\d{8}T\d{6}\.\d{3}Z-\d+\.backup$`)

// An olderBackup is one that was in the folder before.
type olderBackup struct {
	name  string
	head  *backupHeader
	names map[string]bool // of the files of its segments
}

// older reads the start of each backup: whose it is, and the segments that it
// names. Unread says which can't be read. One of another ledger is refused.
func (f *backupFolder) older() (list []olderBackup, unread, err error) {
	names, err := f.backups()
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		o := olderBackup{name: name, names: map[string]bool{}}
		if err := f.read(&o); err != nil {
			unread = errors.Join(unread, fmt.Errorf("%s: %w", filepath.Join(f.path, name), err))
			continue
		}
		if o.head.Meta.ID != f.l.meta.ID {
			return nil, nil, refuse("give each ledger a folder of its own", "%s is a backup of another ledger", filepath.Join(f.path, name))
		}
		list = append(list, o)
	}
	return list, unread, nil
}

// read reads a backup up to its first record. Its checksum is not looked at: if
// its names are damaged, it is, and no other one depends on them.
func (f *backupFolder) read(o *olderBackup) error {
	file, err := f.openFile(f.dir, o.name, unix.O_RDONLY)
	if err != nil {
		return err
	}
	defer file.Close() // it was only read
	in := &backupReader{ctx: context.Background(), r: bufio.NewReader(file), hash: sha256.New()}
	if o.head, err = in.header(); err != nil {
		return err
	}
	for {
		kind, a, b, err := in.frame()
		if err != nil || kind != frameNamed {
			return err
		}
		n, err := decodeNamed(string(a), b)
		if err != nil {
			return err
		}
		o.names[n.file()] = true
	}
}

// tidy removes the backups that are too many, then the segments that none names.
func (f *backupFolder) tidy(old []olderBackup, keep int) error {
	old = slices.DeleteFunc(old, func(o olderBackup) bool { return o.name == filepath.Base(f.backup.File) })
	gone := surplus(old, keep)
	for _, name := range gone {
		if err := f.remove("remove backup", f.dir, name); err != nil {
			return err
		}
		f.backup.Removed++
	}
	if len(gone) > 0 {
		if err := f.l.durable("sync folder of backups", f.dir.Sync); err != nil {
			return err
		}
	}
	for _, o := range old {
		if slices.Contains(gone, o.name) {
			continue
		}
		for name := range o.names {
			f.names[name] = true
		}
	}
	return f.sweep(f.names)
}

// surplus names the oldest backups, by epoch and group, where with the new one
// there are more than keep. The clock has no say.
func surplus(old []olderBackup, keep int) (names []string) {
	made := slices.DeleteFunc(slices.Clone(old), func(o olderBackup) bool { return !madeHere.MatchString(o.name) })
	slices.SortFunc(made, func(a, b olderBackup) int {
		return cmp.Or(cmp.Compare(a.head.Meta.Epoch, b.head.Meta.Epoch), cmp.Compare(a.head.Group, b.head.Group), cmp.Compare(a.name, b.name))
	})
	if keep <= 0 || len(made) < keep {
		return nil
	}
	for _, o := range made[:len(made)-(keep-1)] {
		names = append(names, o.name)
	}
	return names
}

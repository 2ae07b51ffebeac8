package records

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Badger maps its files into memory, and a write into a hole of a mapped file
// on a full disk ends the process with SIGBUS. So nothing of it may have holes
// when it is written, or there must be room to fill them:
//
//   - the log in use is allocated to its full size at open;
//   - the next log is made and allocated ahead, empty, under the name that
//     Badger takes next;
//   - a full log becomes a table: the room of one is kept free for each, and when
//     the disk is low the ballast is given up for it;
//   - tables are merged only by merge, while there is room for a copy of them all.
const (
	defaultBallast = 96 << 20

	// tableRoom is what flushing a full memory table may need.
	tableRoom = 24 << 20

	// logSize is what Badger makes a log.
	logSize = 2 * memTable

	// entryCost bounds what Badger adds to a key and value in its log and in its
	// memory table (skiplist node 96, headers, version, checksum).
	entryCost = 160
)

// space is the disk as the writer sees it. It is owned by the writer, and by
// Open and Close while there is none.
type space struct {
	dir     string
	size    int64    // of the ballast
	held    bool     // the ballast is allocated
	next    string   // the log made ahead, or empty
	id      int      // number of the log in use
	used    int64    // at most this much is in it
	full    []string // logs that Badger is making tables of
	merging int64    // room that a merge under way may still take

	// free returns the free bytes of the file system: statfs, or a test.
	free func(dir string) (int64, error)
}

// avail is what is free beyond what Badger may take at any moment.
func (s *space) avail() (int64, error) {
	s.full = slices.DeleteFunc(s.full, func(name string) bool {
		_, err := os.Stat(name)
		return errors.Is(err, fs.ErrNotExist)
	})
	free, err := s.free(s.dir)
	return free - int64(len(s.full))*tableRoom - s.merging, err
}

// low is the mark under which new claims are refused.
func (s *space) low() int64 { return max(s.size, tableRoom) }

// enter makes room for Badger to open: it writes at once to a new log and turns
// each log that a crash left into a table.
func (s *space) enter() error {
	store := filepath.Join(s.dir, "badger")
	if err := removeStillborn(store); err != nil {
		return err
	}
	logs, err := filepath.Glob(filepath.Join(store, "*.mem"))
	if err != nil {
		return err
	}
	return s.want(logSize + tableRoom + int64(len(logs))*tableRoom)
}

// want makes sure of need free bytes, giving up the ballast if it must.
func (s *space) want(need int64) error {
	avail, err := s.avail()
	if err != nil {
		return err
	}
	if avail < need {
		if err := s.release(); err != nil {
			return err
		}
		if avail, err = s.avail(); err != nil {
			return err
		}
	}
	if avail < need {
		return diskFull(avail, need)
	}
	return nil
}

// spare refuses what others than Badger want to write where that would take from
// what is kept for it. It reads nothing that changes, so anyone may call it.
func (s *space) spare(need int64) error {
	free, err := s.free(s.dir)
	if err != nil {
		return err
	}
	if want := s.low() + s.size + tableRoom + need; free < want {
		return diskFull(free, want)
	}
	return nil
}

func diskFull(avail, need int64) error {
	return fmt.Errorf("%w: %d MiB can be used, want %d: make room", ErrDiskFull, max(avail, 0)>>20, need>>20)
}

// suddenlyFull is for what others than Badger wrote, when the disk filled up
// behind spare's back.
func suddenlyFull(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	}
	return err
}

// entered allocates what Badger has just made to write to: the newest log and
// the value log, which stays empty. Older logs it is making tables of already.
func (s *space) entered() error {
	store := filepath.Join(s.dir, "badger")
	logs, err := filepath.Glob(filepath.Join(store, "*.mem"))
	if err != nil {
		return err
	}
	for _, name := range logs {
		id, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".mem"))
		if err != nil {
			return fmt.Errorf("log %s has no number", name)
		}
		s.id = max(s.id, id)
	}
	s.full = slices.DeleteFunc(logs, func(name string) bool { return name == s.log(s.id) })
	values, err := filepath.Glob(filepath.Join(store, "*.vlog"))
	if err != nil {
		return err
	}
	for _, name := range append(values, s.log(s.id), filepath.Join(store, "DISCARD")) {
		if err := allocate(name); err != nil {
			return fmt.Errorf("allocate %s: %w", name, err)
		}
	}
	return syncDir(store)
}

// log is the name of a log.
func (s *space) log(id int) string {
	return filepath.Join(s.dir, "badger", fmt.Sprintf("%05d.mem", id))
}

// allocate fills the holes of a file.
func allocate(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	fi, err := f.Stat()
	if err == nil && fi.Size() > 0 {
		err = fallocate(f, 0, fi.Size())
	}
	return errors.Join(err, f.Close())
}

// fallocate allocates the first bytes of a file. A signal may interrupt it, and Go
// sends itself some.
func fallocate(f *os.File, mode uint32, size int64) error {
	for {
		if err := unix.Fallocate(int(f.Fd()), mode, 0, size); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// makeNext makes the log that Badger takes next: empty, because it refuses one
// with a size, and allocated all the same. If that fails there is none, and
// check refuses what would need it.
func (s *space) makeNext() {
	name := s.log(s.id + 1)
	if reserve(name, unix.FALLOC_FL_KEEP_SIZE, logSize) == nil && syncDir(filepath.Dir(name)) == nil {
		s.next = name
	}
}

// reserve makes a file of really allocated bytes, or leaves none.
func reserve(name string, mode uint32, size int64) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	err = fallocate(f, mode, size)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

func (s *space) ballast() string { return filepath.Join(s.dir, "ballast") }

// refill takes the ballast back.
func (s *space) refill() { s.held = reserve(s.ballast(), 0, s.size) == nil }

func (s *space) release() error {
	s.held = false
	err := os.Remove(s.ballast())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// check is asked before each group. Fresh says why new claims are refused; all
// says why nothing at all may be written, because Badger may have to make a
// table and there is no room left for one.
func (s *space) check() (fresh, all error) {
	avail, err := s.avail()
	if err != nil {
		return err, nil
	}
	if s.next == "" && avail >= s.low()+logSize {
		s.makeNext()
		avail -= logSize
	}
	if !s.held && avail >= s.low()+s.size {
		s.refill()
		avail -= s.size
	}
	if s.used >= memTable && (avail < s.low() || s.next == "") {
		if err := s.rotating(); err != nil {
			return err, err
		}
	}
	if avail < s.low() || !s.held || s.next == "" {
		return diskFull(avail, s.low()+s.size), nil
	}
	return nil, nil
}

// rotating makes sure that Badger can go to its next log and make a table of
// the old one.
func (s *space) rotating() error {
	if s.next != "" {
		return s.want(tableRoom)
	}
	if err := s.want(logSize + tableRoom); err != nil {
		return err
	}
	if s.makeNext(); s.next == "" {
		return diskFull(0, logSize)
	}
	return nil
}

// expect counts a group that is about to be written.
func (s *space) expect(entries, bytes int) { s.used += int64(bytes + entries*entryCost) }

// committed notices that Badger went to its next log.
func (s *space) committed() (rotated bool) {
	if s.next == "" {
		return false
	}
	if fi, err := os.Stat(s.next); err != nil || fi.Size() == 0 {
		return false
	}
	s.full = append(s.full, s.log(s.id))
	s.id++
	s.next, s.used = "", 0
	return true
}

// leave makes room for Badger to close, which turns its log into a table.
func (s *space) leave() error {
	if s.next != "" {
		if err := os.Remove(s.next); err != nil {
			return err
		}
		s.next = ""
	}
	return s.want(tableRoom)
}

// diskFree is what is free for us, not counting what is reserved for root.
func diskFree(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of ledger: %w", err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

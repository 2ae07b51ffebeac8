package port

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// openLocked opens a terminal for us alone: with flock, which binds all who ask
// for it, and after a look at TIOCEXCL, which binds everyone but root.
func openLocked(path string) (int, error) {
	if fi, err := os.Stat(path); err != nil {
		return 0, errors.Unwrap(err) // the caller names the path
	} else if fi.Mode()&os.ModeCharDevice == 0 { // don't even open what isn't a port
		return 0, fmt.Errorf("is not a serial port: %w", unix.ENOTTY)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == nil {
		if err = lock(fd); err == nil {
			return fd, nil
		}
		unix.Close(fd) // before the search for holders, which would find us
	}
	switch err {
	case unix.EBUSY, unix.EWOULDBLOCK:
		err = busy(path)
	case unix.EACCES:
		err = fmt.Errorf("%w, want a user in the device's group, usually dialout", err)
	}
	return 0, err
}

// lock takes the lock, or returns EBUSY or EWOULDBLOCK.
func lock(fd int) error {
	taken, err := unix.IoctlGetInt(fd, unix.TIOCGEXCL)
	if err == unix.ENOTTY {
		return fmt.Errorf("is not a serial port: %w", err)
	}
	if err != nil {
		return err
	}
	if taken != 0 { // root gets this far
		return unix.EBUSY
	}
	return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
}

// unlock gives the device free, also where closing alone doesn't: TIOCEXCL
// stays while another has the device open, and the lock stays with a child that
// is being forked until it has closed what it doesn't inherit.
func unlock(fd int) {
	unix.IoctlSetInt(fd, unix.TIOCNXCL, 0)
	unix.Flock(fd, unix.LOCK_UN)
}

// busy says who has the device open.
func busy(path string) error {
	who, err := Holders("/proc", path)
	if err != nil || len(who) == 0 {
		return fmt.Errorf("%w by a process that can't be seen from here", ErrBusy)
	}
	var names []string
	for _, h := range who {
		names = append(names, h.String())
	}
	return fmt.Errorf("%w by %s", ErrBusy, strings.Join(names, ", "))
}

// A Holder is a process that has a port open or locked.
type Holder struct {
	PID  int
	Name string
}

func (h Holder) String() string {
	if h.PID == os.Getpid() {
		return "this process"
	}
	return fmt.Sprintf("%s (pid %d)", h.Name, h.PID)
}

// Holders returns the processes that have the device at path open, as far as
// the caller may see: those of other users only if they locked it.
func Holders(proc, path string) ([]Holder, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, fmt.Errorf("stat %s: %w", path, err)
	}
	dirs, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	pids := lockers(proc, &st)
	for _, d := range dirs {
		pid, err := strconv.Atoi(d.Name())
		if err == nil && !slices.Contains(pids, pid) && hasOpen(filepath.Join(proc, d.Name(), "fd"), &st) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	var who []Holder
	for _, pid := range pids {
		who = append(who, Holder{PID: pid, Name: comm(proc, pid)})
	}
	return who, nil
}

// hasOpen reports whether one of the descriptors is the device.
func hasOpen(fds string, want *unix.Stat_t) bool {
	list, err := os.ReadDir(fds)
	if err != nil {
		return false // ended, or not ours to see
	}
	for _, f := range list {
		link := filepath.Join(fds, f.Name())
		to, err := os.Readlink(link)
		if err != nil || !strings.HasPrefix(to, "/dev/") { // never touch a file on a dead network disk
			continue
		}
		var st unix.Stat_t
		if unix.Stat(link, &st) == nil && sameDevice(&st, want) {
			return true
		}
	}
	return false
}

// sameDevice compares device numbers, except for pseudo-terminals: each
// container has its own number 0 of those.
func sameDevice(a, b *unix.Stat_t) bool {
	const firstPTS, lastPTS = 136, 143
	if a.Mode&unix.S_IFMT != unix.S_IFCHR || a.Rdev != b.Rdev {
		return false
	}
	if m := unix.Major(b.Rdev); m >= firstPTS && m <= lastPTS {
		return a.Dev == b.Dev
	}
	return true
}

// lockers reads the processes that hold a flock on the device.
func lockers(proc string, st *unix.Stat_t) (pids []int) {
	f, err := os.Open(filepath.Join(proc, "locks"))
	if err != nil {
		return nil
	}
	defer f.Close()
	want := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for s := bufio.NewScanner(f); s.Scan(); {
		// 1: FLOCK  ADVISORY  WRITE 4711 00:06:118 0 EOF
		w := strings.Fields(s.Text())
		if len(w) < 6 || w[1] != "FLOCK" || w[5] != want {
			continue
		}
		if pid, err := strconv.Atoi(w[4]); err == nil && pid > 0 && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func comm(proc string, pid int) string {
	b, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "comm"))
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(b))
}

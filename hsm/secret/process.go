package secret

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// wantLocked is what a station needs in locked memory with room to spare:
// credentials in the slots, keys, and a chunk of an import.
const wantLocked = 64 << 20

// Locked says why the memory of secrets is not locked, or could not stay so
// under load, and what to do about it; nil means that it is. It is for doctor
// and for the log of a starting daemon.
func Locked() error {
	New(1).Close() // so that there is something to look at
	memory.mu.Lock()
	err := memory.lockErr
	memory.mu.Unlock()
	if err == nil {
		err = lockLimit()
	}
	if err != nil {
		return fmt.Errorf("%w; give the service LimitMEMLOCK=%dM (systemd) or CAP_IPC_LOCK, or raise ulimit -l to %d",
			err, wantLocked>>20, wantLocked>>10)
	}
	return nil
}

// lockLimit looks ahead: a limit that is too small refuses only later, in the
// middle of an import.
func lockLimit() error {
	var lim unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &lim); err != nil {
		return fmt.Errorf("ask how much memory may be locked: %w", err)
	}
	privileged, err := canLockAll()
	if err != nil {
		return err
	}
	return enough(lim.Cur, privileged)
}

func enough(limit uint64, privileged bool) error {
	if privileged || limit >= wantLocked {
		return nil
	}
	return fmt.Errorf("%d KiB of memory may be locked, want %d KiB", limit>>10, wantLocked>>10)
}

// canLockAll says whether the limit does not apply (CAP_IPC_LOCK).
func canLockAll() (bool, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false, fmt.Errorf("ask for the capabilities: %w", err)
	}
	return data[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0, nil
}

// Harden makes this process leave no core and closes it to debuggers of the same
// user. An unprivileged process can't open its own /proc/self/fd, environ or mem
// afterwards. The children it starts are not covered by the first, but by the
// second measure.
func Harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process not dumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	return nil
}

// Swap names the swap areas that pages of this process may be written to. Slabs
// are locked, but the copies listed in docs/secrets.md are not. There is none
// when no swap is in use, or when the control group of the process may use none
// (MemorySwapMax=0 in systemd).
func Swap() ([]string, error) {
	data, err := os.ReadFile("/proc/swaps")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // a kernel without swap
	}
	if err != nil {
		return nil, err
	}
	areas := swapAreas(string(data))
	if len(areas) == 0 {
		return nil, nil
	}
	group, err := os.ReadFile("/proc/self/cgroup")
	if err == nil && swapForbidden("/sys/fs/cgroup", string(group)) {
		return nil, nil
	}
	return areas, nil
}

// swapAreas reads /proc/swaps: a heading, then one area a line, its name first.
func swapAreas(table string) []string {
	var areas []string
	lines := bufio.NewScanner(strings.NewReader(table))
	for lines.Scan() {
		if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] != "Filename" {
			areas = append(areas, f[0])
		}
	}
	return areas
}

// swapForbidden says whether the group, or one above it, has a swap limit of 0.
// It looks at cgroup v2 only, whose line starts with "0::".
func swapForbidden(root, groups string) bool {
	for line := range strings.Lines(groups) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		for dir := path.Clean(name); ok && dir != "/" && dir != "."; dir = path.Dir(dir) {
			limit, err := os.ReadFile(path.Join(root, dir, "memory.swap.max"))
			if err == nil && strings.TrimSpace(string(limit)) == "0" {
				return true
			}
		}
	}
	return false
}

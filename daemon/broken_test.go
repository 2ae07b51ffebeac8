package daemon_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/daemon/api"
	"mintmark/fixtures/factory"
	"mintmark/records"
)

// fill puts a device that is always full in the place of a file that this process
// has open for writing.
func fill(t *testing.T, path string) {
	t.Helper()
	// A hardened process can't look at its own descriptors.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	full, err := unix.Open("/dev/full", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(full)
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	replaced := 0
	for _, fd := range fds {
		if target, err := os.Readlink("/proc/self/fd/" + fd.Name()); err != nil || target != path {
			continue
		}
		var n int
		if _, err := fmt.Sscan(fd.Name(), &n); err != nil {
			t.Fatal(err)
		}
		if err := unix.Dup3(full, n, unix.O_CLOEXEC); err != nil {
			t.Fatal(err)
		}
		replaced++
	}
	if replaced == 0 {
		t.Fatalf("%s is not open in this process", path)
	}
}

func TestABrokenLedgerEndsTheProcess(t *testing.T) {
	p := run(t, factory.Options{Slots: []string{factory.Generated}})
	fill(t, filepath.Join(p.Dir, "ledger", "head"))
	_, err := p.client.OpenBatch(t.Context(), "G1", factory.Generated, 1, false)
	var e *api.Error
	if !errors.As(err, &e) {
		t.Errorf("OpenBatch on a full disk = %v, want an error of the ledger", err)
	}
	if err := p.wait(); !errors.Is(err, records.ErrBroken) || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("Run = %v, want a broken ledger and why", err)
	}
}

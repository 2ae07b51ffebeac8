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

// TestAStoreThatCantCloseEndsTheProcess puts folders in the way of the table that
// the store makes when it closes; without end, it tries the next name each second.
func TestAStoreThatCantCloseEndsTheProcess(t *testing.T) {
	p := run(t, factory.Options{Slots: []string{factory.Generated}})
	if _, err := p.client.OpenBatch(t.Context(), "G1", factory.Generated, 1, false); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(p.Dir, "ledger", "badger")
	for id := range 600 {
		name := filepath.Join(store, fmt.Sprintf("%06d.sst", id))
		if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { // it still tries, and then finds no folder
		if err := os.Rename(store, filepath.Join(p.Dir, "jammed")); err != nil {
			t.Error(err)
		}
	})
	if err := p.stop(); !errors.Is(err, records.ErrBroken) || !strings.Contains(err.Error(), "make a table of a full log: ") {
		t.Errorf("Run = %v, want a broken ledger and why", err)
	}
}

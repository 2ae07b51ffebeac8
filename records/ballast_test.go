package records

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// tmpfs mounts a small disk for the test. That needs root, as on CI.
func tmpfs(t *testing.T, mib int) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Fatalf("mount tmpfs: %v; this test needs root", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill writes a file of someone else's until the disk is full.
func fill(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for b := make([]byte, 64<<10); ; {
		if _, err := f.Write(b); errors.Is(err, syscall.ENOSPC) {
			if len(b) == 1 {
				return
			}
			b = b[:len(b)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// churn commits until it is refused or total bytes are written.
func churn(t *testing.T, commit func(context.Context, func(*txn) error) error, total int) (written int, err error) {
	t.Helper()
	for written < total {
		if err := commit(t.Context(), func(t *txn) error {
			for i := range 100 {
				t.set(counterKey(fmt.Sprint("churn", written, i)), make([]byte, 2000))
			}
			return nil
		}); err != nil {
			return written, err
		}
		written += 100 * 2000
	}
	return written, nil
}

// TestAFullDiskIsARefusal would end in SIGBUS if Badger wrote into a hole.
func TestAFullDiskIsARefusal(t *testing.T) {
	disk := tmpfs(t, 160)
	dir := filepath.Join(disk, "ledger")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Create(t.Context(), dir, newTestKeys("a"), small()); err != nil {
		t.Fatal(err)
	}
	l := open(t, dir)
	put(t, l, 1)

	other := filepath.Join(disk, "other")
	fill(t, other)
	if err := claimOne(t.Context(), l, 2); !errors.Is(err, ErrDiskFull) {
		t.Fatalf("claim on a full disk: %v, want ErrDiskFull", err)
	}
	n, err := churn(t, l.commit, 64<<20)
	if n < 8<<20 || !errors.Is(err, ErrDiskFull) {
		t.Errorf("settling wrote %d bytes, %v, want at least 8 MiB and then ErrDiskFull", n, err)
	}
	if err := l.Err(); err != nil {
		t.Errorf("ledger broke: %v", err)
	}

	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	if err := claimOne(t.Context(), l, 2); err != nil {
		t.Errorf("claim with room again: %v", err)
	}
	fill(t, other)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(other); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	if l.last.claims.n != 2 {
		t.Errorf("%d claims after reopening, want 2", l.last.claims.n)
	}
}

// TestLogsHaveNoHoles holds Badger to the names under which logs are made ahead.
func TestLogsHaveNoHoles(t *testing.T) {
	l := open(t, create(t))
	for range 3 {
		before := l.space.id
		if _, err := churn(t, l.commit, 20<<20); err != nil {
			t.Fatal(err)
		}
		if l.space.id == before {
			t.Fatalf("log %d is still in use after 20 MiB, want another", before)
		}
		var st unix.Stat_t
		name := filepath.Join(l.dir, "badger", fmt.Sprintf("%05d.mem", l.space.id))
		if err := unix.Stat(name, &st); err != nil {
			t.Fatal(err)
		}
		if st.Size != 2*memTable || st.Blocks*512 < st.Size {
			t.Errorf("%s has %d bytes of which %d are allocated, want all of %d", name, st.Size, st.Blocks*512, 2*memTable)
		}
	}
}

// TestNewClaimsWaitForRoom goes through a day of a disk that fills up, with the
// free space as a test says it.
func TestNewClaimsWaitForRoom(t *testing.T) {
	l := open(t, create(t))
	openBatch(t, l, generated(), 100)
	a := assign(t, l, sight(generated(), "SN0", "H0"), "PASSWORD-0")
	var free int64
	l.space.free = func(string) (int64, error) { return free, nil } // the writer is idle
	for n, tt := range []struct {
		what string
		free int64
		fine bool
		held bool // the ballast, afterwards
	}{
		{"plenty", 1 << 40, true, true},
		{"just enough", tableRoom, true, true},
		{"too little", tableRoom - 1, false, true},
		{"nothing", 0, false, true},
		{"enough again", tableRoom, true, true},
		{"enough but the ballast was given up", tableRoom, false, false},
		{"enough for the ballast too", tableRoom + small().Ballast, true, true},
	} {
		free = tt.free
		if !tt.held {
			if err := l.space.release(); err != nil { // the writer is idle
				t.Fatal(err)
			}
		}
		_, err := tryAssign(t, l, sight(generated(), fmt.Sprint("SN", n+1), ""), fmt.Sprint("PASSWORD-", n+1))
		if (err == nil) != tt.fine || err != nil && !errors.Is(err, ErrDiskFull) {
			t.Errorf("%s: assign: %v, want it done: %v", tt.what, err, tt.fine)
		}
		if err := l.SetMark(t.Context(), a, Injecting); err != nil {
			t.Errorf("%s: mark: %v", tt.what, err)
		}
		if _, err := os.Stat(l.space.ballast()); (err == nil) != tt.held {
			t.Errorf("%s: ballast: %v, want it there: %v", tt.what, err, tt.held)
		}
	}
}

func TestAFullDiskIsSaidAtOpen(t *testing.T) {
	disk := tmpfs(t, 160)
	if err := Create(t.Context(), disk, newTestKeys("a"), small()); err != nil {
		t.Fatal(err)
	}
	fill(t, filepath.Join(disk, "other"))
	_, err := Open(t.Context(), disk, newTestKeys("a"), nil, small())
	if !errors.Is(err, ErrDiskFull) {
		t.Errorf("open on a full disk: %v, want ErrDiskFull", err)
	}
}

// TestADiskThatWeFillIsARefusal writes what counts as new until the disk is full,
// while Badger turns logs into tables and has them merged.
func TestADiskThatWeFillIsARefusal(t *testing.T) {
	disk := tmpfs(t, 448)
	o := Options{Ballast: 32 << 20}
	if err := Create(t.Context(), disk, newTestKeys("a"), o); err != nil {
		t.Fatal(err)
	}
	l := openWith(t, disk, newTestKeys("a"), nil, o)
	written, err := churn(t, l.commitNew, 1<<30)
	if !errors.Is(err, ErrDiskFull) || written < 100<<20 {
		t.Fatalf("after %d MiB: %v, want ErrDiskFull after 100 or more", written>>20, err)
	}
	merged := func(t badger.TableInfo) bool { return t.Level > 0 }
	if !slices.ContainsFunc(l.db.Tables(), merged) {
		t.Error("no tables were merged")
	}
	put := l.last
	if written, err = churn(t, l.commit, 10<<20); err != nil { // as settling does
		t.Errorf("settling after %d bytes: %v", written, err)
	}
	if l.last.seq == put.seq {
		t.Error("settling wrote nothing")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, disk, newTestKeys("a"), nil, o)
	if c := clean(t, l); c.Groups < put.seq {
		t.Errorf("%d groups after reopening, want at least %d", c.Groups, put.seq)
	}
}

// TestTablesAreMerged leaves a new table at each close, as commands do that open
// the ledger for a moment.
func TestTablesAreMerged(t *testing.T) {
	dir := create(t)
	var l *Ledger
	for n := range mergeTables + 2 {
		l = open(t, dir)
		put(t, l, uint64(n))
		if n <= mergeTables {
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := len(l.db.Tables()); got >= mergeTables {
		t.Errorf("%d tables, want fewer than %d", got, mergeTables)
	}
	if l.last.claims.n != mergeTables+2 {
		t.Errorf("%d claims, want %d", l.last.claims.n, mergeTables+2)
	}
}

func TestTablesAreNotMergedWithoutRoom(t *testing.T) {
	l := open(t, create(t))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for range mergeTables - 1 { // and one from its creation
		l = open(t, l.dir)
		testWrite(t, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Between close and open nobody but the test has the folder.
	l, err := enter(l.dir, headName, small())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		free int64
		want bool
	}{{tableRoom, false}, {tableRoom + 1<<20, true}} {
		l.space.free = func(string) (int64, error) { return tt.free, nil }
		if l.mergeIfDue(); (l.merge != nil) != tt.want || (l.space.merging > 0) != tt.want {
			t.Errorf("with %d bytes free a merge runs: %v, want %v", tt.free, l.merge != nil, tt.want)
		}
	}
	l.awaitMerge()
	if err := l.leave(); err != nil {
		t.Fatal(err)
	}
}

// TestALogThatBadgerJustMadeATableOf stands a link that leads nowhere for a log
// that is removed between the listing and the look at it.
func TestALogThatBadgerJustMadeATableOf(t *testing.T) {
	s := space{dir: t.TempDir(), free: diskFree}
	store := filepath.Join(s.dir, "badger")
	if err := errors.Join(
		os.Mkdir(store, 0o700),
		os.WriteFile(s.log(2), []byte("x"), 0o600),
		os.WriteFile(filepath.Join(store, "DISCARD"), nil, 0o600),
		os.Symlink("nowhere", s.log(1)),
	); err != nil {
		t.Fatal(err)
	}
	if err := s.entered(); err != nil || s.id != 2 {
		t.Errorf("entered = %v, log %d is in use, want nil and 2: the other is gone, which is fine", err, s.id)
	}
}

// TestRoomIsKeptForWhatBadgerMayTake has a row for each thing that takes room from
// the next claim.
func TestRoomIsKeptForWhatBadgerMayTake(t *testing.T) {
	const low, size = tableRoom, 1 << 20
	for _, tt := range []struct {
		name string
		s    space // given; full counts logs
		full int
		free int64
		want bool // new claims
		next bool // afterwards
		held bool // the ballast
	}{
		{"nothing else", space{held: true, next: "n"}, 0, low, true, true, true},
		{"a log becomes a table", space{held: true, next: "n"}, 1, low + tableRoom - 1, false, true, true},
		{"a log becomes a table, with room for it", space{held: true, next: "n"}, 1, low + tableRoom, true, true, true},
		{"two do", space{held: true, next: "n"}, 2, low + 2*tableRoom - 1, false, true, true},
		{"a merge", space{held: true, next: "n", merging: 1000}, 0, low + 999, false, true, true},
		{"a merge, with room for it", space{held: true, next: "n", merging: 1000}, 0, low + 1000, true, true, true},
		{"no next log", space{held: true}, 0, low + logSize - 1, false, false, true},
		{"no next log, with room for it", space{held: true}, 0, low + logSize, true, true, true},
		{"no ballast", space{next: "n"}, 0, low + size - 1, false, true, false},
		{"no ballast, with room for it", space{next: "n"}, 0, low + size, true, true, true},
		{"neither", space{}, 0, low + logSize + size - 1, false, true, false},
		{"neither, with room for both", space{}, 0, low + logSize + size, true, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.s
			s.dir, s.size, s.free = t.TempDir(), size, func(string) (int64, error) { return tt.free, nil }
			if err := os.Mkdir(filepath.Join(s.dir, "badger"), 0o700); err != nil {
				t.Fatal(err)
			}
			for n := range tt.full {
				s.full = append(s.full, s.log(n))
				if err := os.WriteFile(s.log(n), []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			s.full = append(s.full, s.log(99)) // a table by now
			fresh, all := s.check()
			if (fresh == nil) != tt.want || all != nil || (s.next != "") != tt.next || s.held != tt.held {
				t.Errorf("check says %v, %v, next log %q, ballast %v, want new claims: %v, next log: %v, ballast: %v", fresh, all, s.next, s.held, tt.want, tt.next, tt.held)
			}
		})
	}
}

func TestCloseWaitsForAMerge(t *testing.T) {
	l := open(t, create(t))
	testWrite(t, l)
	merge := make(chan error)
	l.merge = merge // the writer is idle
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }() // waited for below
	select {
	case merge <- nil:
	case err := <-closed:
		t.Fatalf("closed, %v, while tables are merged", err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

package records

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// rewriteHead changes the head of a closed ledger in both slots.
func rewriteHead(t *testing.T, dir string, f func(h *head)) {
	t.Helper()
	h, err := openHead(dir, headName)
	if err != nil {
		t.Fatal(err)
	}
	n := h.head
	f(&n)
	if err := errors.Join(h.put(n), h.put(n), h.file.Close()); err != nil {
		t.Fatal(err)
	}
}

// rewriteStore changes the store of a closed ledger behind its back.
func rewriteStore(t *testing.T, dir string, f func(txn *badger.Txn) error) {
	t.Helper()
	db, err := openBadger(dir, storeLog{log: small().withDefaults().Log})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Update(f), db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestOpenRefuses has one row for each way in which a folder isn't the ledger
// that it must be.
func TestOpenRefuses(t *testing.T) {
	store := func(f func(txn *badger.Txn) error) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { rewriteStore(t, dir, f) }
	}
	headTo := func(f func(h *head)) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { rewriteHead(t, dir, f) }
	}
	for _, tt := range []struct {
		name  string
		spoil func(t *testing.T, dir string)
		is    error
		want  string
	}{
		{"head missing", func(t *testing.T, dir string) { os.Remove(filepath.Join(dir, "head")) }, ErrBehind, "its head file is missing: restore it from the newest backup"},
		{"head empty", func(t *testing.T, dir string) { os.Truncate(filepath.Join(dir, "head"), 0) }, ErrBehind, "both slots"},
		{"head ahead: the store lost groups", headTo(func(h *head) { h.seq += 2 }), ErrBehind, "it ends at group 4, its head file says 6"},
		{"head an old copy", headTo(func(h *head) { h.seq = 2; h.anchor = 2 }), ErrBehind, "isn't the one that its head file names"},
		{"head of another history", headTo(func(h *head) { h.hash[0]++ }), ErrBehind, "isn't the one that its head file names"},
		{"head of another ledger", headTo(func(h *head) { h.ledger[0]++ }), ErrBehind, "another ledger"},
		{"head of another epoch", headTo(func(h *head) { h.epoch++ }), ErrBehind, "before a restore"},
		{"head of a newer schema", headTo(func(h *head) { h.schema++ }), ErrNewer, "schema 3, want at most 2"},
		{"store missing", func(t *testing.T, dir string) { os.RemoveAll(filepath.Join(dir, "badger")) }, ErrBehind, "its first record is missing"},
		{"group lost", store(func(txn *badger.Txn) error { return txn.Delete(groupKey(3)) }), ErrBehind, "group 4 doesn't follow group 2"},
		{"last group lost", store(func(txn *badger.Txn) error { return txn.Delete(groupKey(4)) }), ErrBehind, "it ends at group 3, its head file says 4"},
		{"group changed", store(func(txn *badger.Txn) error { return txn.Set(groupKey(3), make([]byte, groupSize)) }), ErrBehind, "doesn't have the hash"},
		{"claim lost", store(func(txn *badger.Txn) error { return txn.Delete(claimsKey(3)) }), ErrBehind, "it has 0 claims, group 4 says 1"},
		{"claim exchanged", store(func(txn *badger.Txn) error {
			return txn.Set(claimsKey(3), encodeClaims(map[Index]ownerRef{index(2): {}}))
		}), ErrBehind, "aren't those that group 4 adds up"},
		{"meta lost", store(func(txn *badger.Txn) error { return txn.Delete([]byte{keyMeta}) }), ErrBehind, "its first record is missing"},
		{"store of a newer schema", store(func(txn *badger.Txn) error {
			val, _, err := lookup(txn, []byte{keyMeta})
			if err != nil {
				return err
			}
			m, err := decode[meta](val)
			m.Schema++
			return errors.Join(err, txn.Set([]byte{keyMeta}, encode(m)))
		}), ErrNewer, "schema 3, want at most 2"},
		{"a file", func(t *testing.T, dir string) {
			if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
				t.Fatal(err)
			}
		}, nil, "is a file, want a folder"},
		{"an empty folder", func(t *testing.T, dir string) {
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o700)); err != nil {
				t.Fatal(err)
			}
		}, nil, "make one with mintmark init"},
		{"no folder", func(t *testing.T, dir string) { os.RemoveAll(dir) }, nil, "no ledger in"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := create(t)
			l := open(t, dir)
			put(t, l, 1) // groups 2 and 3
			testBatch(t, l)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			rewriteHead(t, dir, func(h *head) { h.anchor = 0 }) // as after a crash
			tt.spoil(t, dir)
			for range 2 { // and it stays so
				l, err := Open(t.Context(), dir, newTestKeys("a"), nil, small())
				if err == nil {
					l.Close()
					t.Fatalf("open: no error, want %q", tt.want)
				}
				if !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is) {
					t.Fatalf("open: %v, want %q", err, tt.want)
				}
			}
		})
	}
}

func TestOpenWantsTheKey(t *testing.T) {
	dir := create(t)
	for _, tt := range []struct {
		keys Keys
		want string
	}{
		{newTestKeys("b"), "index key is not this ledger's: this is test:b, it was made with test:a"},
		{newTestKeys("a", 2), "test:a has no version 1, which test:a has"},
		{&testKeys{seed: "a"}, "test:a has no version"},
	} {
		_, err := Open(t.Context(), dir, tt.keys, nil, small())
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("open: %v, want %q", err, tt.want)
		}
	}
	l, err := Open(t.Context(), dir, newTestKeys("a", 1, 2), nil, small()) // a new version is bound
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, newTestKeys("a"), nil, small()); !errors.Is(err, ErrWrongKey) {
		t.Errorf("open without a version that was bound: %v, want ErrWrongKey", err)
	}
}

// TestTheHeadSurvivesATornWrite damages each slot in turn, as a power cut during
// its write does.
func TestTheHeadSurvivesATornWrite(t *testing.T) {
	for slot := range 2 {
		dir := create(t)
		l := open(t, dir)
		openBatch(t, l, generated(), 10)
		seal(t, l, sight(generated(), "SN1", "H1"), "PASSWORD")
		newest := l.head.slot
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(dir, "head"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(make([]byte, 50), int64(slot)*headSector+40); err != nil {
			t.Fatal(err)
		}
		f.Close()
		l = open(t, dir)
		if c := clean(t, l); c.Claims != 1 {
			t.Errorf("slot %d torn, newest is %d: %d claims, want 1", slot, newest, c.Claims)
		}
	}
}

func TestALedgerIsHeldByOne(t *testing.T) {
	l := open(t, create(t))
	_, err := Open(t.Context(), l.dir, newTestKeys("a"), nil, small())
	if want := fmt.Sprintf("process %d", os.Getpid()); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), want) {
		t.Errorf("open again: %v, want ErrHeld and %q", err, want)
	}
}

func TestCreateWantsAnEmptyFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "notes"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(t.Context(), dir, newTestKeys("a"), small()); err == nil || !strings.Contains(err.Error(), "want an empty one") {
		t.Errorf("create: %v, want a refusal", err)
	}
}

func TestALedgerThatWasNeverFinishedIsNone(t *testing.T) {
	dir := create(t)
	if err := os.Rename(filepath.Join(dir, headName), filepath.Join(dir, unfinishedHead)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, newTestKeys("a"), nil, small()); err == nil || !strings.Contains(err.Error(), "never finished") {
		t.Errorf("open: %v, want that it was never finished", err)
	}
}

// TestAnUnwritableFolderIsSaid needs a file system that root can't write.
func TestAnUnwritableFolderIsSaid(t *testing.T) {
	dir := create(t)
	if out, err := exec.Command("mount", "--bind", "-o", "ro", dir, dir).CombinedOutput(); err != nil {
		t.Fatalf("mount: %v: %s; this test needs root", err, bytes.TrimSpace(out))
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	if _, err := Open(t.Context(), dir, newTestKeys("a"), nil, small()); err == nil || !strings.Contains(err.Error(), "can't be written") {
		t.Errorf("open: %v, want that it can't be written", err)
	}
}

func TestAClockSetBackStopsNewClaimsOnly(t *testing.T) {
	dir := create(t)
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	o := small()
	o.Now = func() time.Time { return now }
	l, err := Open(t.Context(), dir, newTestKeys("a"), nil, small())
	if err != nil {
		t.Fatal(err)
	}
	openBatch(t, l, generated(), 10)
	real := l.last.time
	a := assign(t, l, sight(generated(), "SN1", "H1"), "PASSWORD-1")
	mark(t, l, a, Injecting)
	l.opts.Now = func() time.Time { return real.Add(-time.Hour) } // nobody else is using l now
	for range 2 {                                                 // also after a group was written meanwhile
		if _, err := tryAssign(t, l, sight(generated(), "SN2", "H2"), "PASSWORD-2"); !errors.Is(err, ErrClock) {
			t.Errorf("assign: %v, want ErrClock", err)
		}
		mark(t, l, a, Labelling)
		testWrite(t, l)
	}
	if got := settle(t, l, a, true); got != Sealed {
		t.Errorf("settled as %s, want sealed", got)
	}
	l.opts.Now = func() time.Time { return l.last.time.Add(-time.Second) } // time servers do that
	if _, err := tryAssign(t, l, sight(generated(), "SN2", "H2"), "PASSWORD-2"); err != nil {
		t.Errorf("assign a second behind: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func testWrite(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.commit(t.Context(), func(t *txn) error { t.set(counterKey("other"), []byte("1")); return nil }); err != nil {
		t.Fatal(err)
	}
}

package records

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// small is a ledger for tests: the ballast is as small as it gets.
func small() Options { return Options{Ballast: 1 << 20} }

// create makes a ledger in a folder of the test's own.
func create(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := Create(t.Context(), dir, newTestKeys("a"), small()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// open opens a ledger and closes it at the end of the test.
func open(t testing.TB, dir string) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), dir, newTestKeys("a"), nil, small())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func index(n uint64) (i Index) {
	binary.BigEndian.PutUint64(i[:], n*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(i[8:], n)
	return i
}

func TestWhatWasAnsweredIsThereAfterReopening(t *testing.T) {
	dir := create(t)
	l := open(t, dir)
	put(t, l, 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	if err := l.view(func(r reader) error {
		o, found, err := r.claimOwner(index(1))
		if !found || o.Serial != "S1" {
			t.Errorf("claim 1 is %+v, %v, want S1's", o, found)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if got := l.last.claims.n; got != 1 {
		t.Errorf("%d claims, want 1", got)
	}
}

func testBatch(t testing.TB, l *Ledger) {
	t.Helper()
	if err := l.commit(t.Context(), func(t *txn) error {
		putBatch(t, &batchRecord{Number: 1, Name: "B1", Product: "p", Kind: GeneratedBatch, State: Opened, Names: []string{"admin"}})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, l *Ledger, n uint64) {
	t.Helper()
	testBatch(t, l)
	if err := claimOne(t.Context(), l, n); err != nil {
		t.Fatal(err)
	}
}

func claimOne(ctx context.Context, l *Ledger, n uint64) error {
	return l.commitNew(ctx, func(t *txn) error {
		return t.claim(index(n), ownerRef{Batch: 1, KeyVersion: 1, Attempt: 1, Serial: fmt.Sprintf("S%d", n)})
	})
}

func TestGroupCommitGrantsAnIndexOnce(t *testing.T) {
	l := open(t, create(t))
	testBatch(t, l)
	const askers, indexes = 32, 50
	var granted [indexes]atomic.Int32
	var wg sync.WaitGroup
	for range askers {
		wg.Go(func() {
			for n := range indexes {
				switch err := claimOne(t.Context(), l, uint64(n)); {
				case err == nil:
					granted[n].Add(1)
				case !errors.Is(err, ErrReused):
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for n := range granted {
		if got := granted[n].Load(); got != 1 {
			t.Errorf("index %d was granted %d times, want once", n, got)
		}
	}
	t.Logf("%d groups for %d claims", l.last.seq, askers*indexes)
}

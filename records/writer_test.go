package records

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// stall holds the writer in the commit of a group until release is called.
func stall(t *testing.T, l *Ledger) (release func()) {
	t.Helper()
	started, goOn := make(chan struct{}), make(chan struct{})
	l.commitTxn = func(txn *badger.Txn) error {
		close(started)
		<-goOn
		l.commitTxn = (*badger.Txn).Commit // only the writer reads it
		return txn.Commit()
	}
	done := make(chan error, 1)
	go func() {
		done <- l.commit(context.WithoutCancel(t.Context()), func(t *txn) error { t.set(counterKey("stall"), nil); return nil })
	}() // waited for by release
	<-started
	return func() {
		close(goOn)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestACancelledOperationIsNotStarted(t *testing.T) {
	l := open(t, create(t))
	release := stall(t, l)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the operator went home")
	cancel(why)
	var ran atomic.Bool
	if err := l.commit(ctx, func(*txn) error { ran.Store(true); return nil }); !errors.Is(err, why) {
		t.Errorf("commit: %v, want the cause of the cancelling", err)
	}
	release()
	testWrite(t, l) // whatever was waiting has run
	if ran.Load() {
		t.Error("a cancelled operation was run")
	}
}

// TestAnOperationCancelledInTheQueueIsNotStarted hands the writer what was
// cancelled after it had been taken.
func TestAnOperationCancelledInTheQueueIsNotStarted(t *testing.T) {
	l := open(t, create(t))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := &op{ctx: ctx, f: func(*txn) error { t.Error("a cancelled operation was run"); return nil }, done: make(chan error, 1)}
	l.ops <- o
	if err := <-o.done; !errors.Is(err, context.Canceled) {
		t.Errorf("answer %v, want that it was cancelled", err)
	}
}

func TestAStartedOperationIsWaitedFor(t *testing.T) {
	l := open(t, create(t))
	ctx, cancel := context.WithCancel(t.Context())
	if err := l.commit(ctx, func(t *txn) error {
		cancel() // while it runs
		t.set(counterKey("x"), []byte("1"))
		return nil
	}); err != nil {
		t.Fatalf("commit: %v, want the answer", err)
	}
	if err := l.view(func(r reader) error {
		_, found, err := r.get(counterKey("x"))
		if !found {
			t.Error("what was answered as done is not there")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestAnOperationThatFailsLeavesNothing(t *testing.T) {
	l := open(t, create(t))
	put(t, l, 1)
	before := l.last
	why := errors.New("no")
	if err := l.commit(t.Context(), func(t *txn) error {
		t.set(counterKey("x"), []byte("1"))
		t.del(claimsKey(1))
		if err := t.claim(index(2), ownerRef{Batch: 1}); err != nil {
			return err
		}
		return why
	}); !errors.Is(err, why) {
		t.Fatalf("commit: %v, want the operation's own error", err)
	}
	if l.last != before {
		t.Errorf("group %d was written for nothing", l.last.seq)
	}
	testWrite(t, l)
	if got := l.last.claims; got != before.claims {
		t.Errorf("claims are %+v, want %+v as before", got, before.claims)
	}
}

// TestOperationsOfAGroupSeeEachOther runs many counters through one group.
func TestOperationsOfAGroupSeeEachOther(t *testing.T) {
	l := open(t, create(t))
	release := stall(t, l)
	groups := l.last.seq
	var wg sync.WaitGroup
	const n = 50
	for range n {
		wg.Go(func() {
			if err := l.commit(t.Context(), func(t *txn) error { _, err := nextNumber(t, counterKey("x")); return err }); err != nil {
				t.Error(err)
			}
		})
	}
	release()
	wg.Wait()
	if err := l.commit(t.Context(), func(tx *txn) error {
		if got, err := nextNumber(tx, counterKey("x")); got != n+1 || err != nil {
			t.Errorf("next number is %d, %v, want %d", got, err, n+1)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if made := l.last.seq - groups; made > n/2 {
		t.Errorf("%d groups for %d operations that were waiting, want fewer", made, n)
	}
}

func TestAnOperationHasASize(t *testing.T) {
	l := open(t, create(t))
	for name, f := range map[string]func(*txn){
		"writes": func(t *txn) {
			for n := range maxWrites + 1 {
				t.set(counterKey(fmt.Sprint(n)), nil)
			}
		},
		"bytes": func(t *txn) { t.set(counterKey("x"), make([]byte, maxBytes)) },
	} {
		if err := l.commit(t.Context(), func(t *txn) error { f(t); return nil }); err == nil {
			t.Errorf("an operation with too many %s was taken", name)
		}
	}
	if err := l.Err(); err != nil {
		t.Errorf("ledger broke: %v", err)
	}
}

// TestAFullGroupFitsBadger lets a group close as late as it can.
func TestAFullGroupFitsBadger(t *testing.T) {
	l := open(t, create(t))
	for name, f := range map[string]func(*txn, int){
		"many small writes": func(t *txn, n int) {
			for i := range maxWrites - 1 {
				t.set(counterKey(fmt.Sprint(n, i)), nil)
			}
		},
		"few large ones": func(t *txn, n int) {
			for i := range 3 {
				t.set(counterKey(fmt.Sprint(n, i)), make([]byte, maxBytes/3-100))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			release := stall(t, l)
			var wg sync.WaitGroup
			for n := range 6 {
				wg.Go(func() {
					if err := l.commit(t.Context(), func(t *txn) error { f(t, n); return nil }); err != nil {
						t.Error(err)
					}
				})
			}
			release()
			wg.Wait()
		})
	}
}

func TestAClosedLedgerSaysSo(t *testing.T) {
	l := open(t, create(t))
	for range 2 { // closing again is fine
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.commit(t.Context(), func(*txn) error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("commit: %v, want %v", err, errClosed)
	}
	if err := l.view(func(reader) error { return nil }); !errors.Is(err, errClosed) {
		t.Errorf("view: %v, want %v", err, errClosed)
	}
}

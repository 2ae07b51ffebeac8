package records

import (
	"errors"
	"os"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

var errDisk = errors.New("disk on fire")

// faults are the ways in which a write can fail. After each of them nobody
// knows what is on disk; kept says what is.
var faults = []struct {
	name string
	set  func(l *Ledger)
	kept bool
}{
	{"commit lost", func(l *Ledger) {
		l.commitTxn = func(txn *badger.Txn) error { txn.Discard(); return errDisk }
	}, false},
	{"commit kept but reported lost", func(l *Ledger) {
		l.commitTxn = func(txn *badger.Txn) error { return errors.Join(txn.Commit(), errDisk) }
	}, true},
	{"head lost", func(l *Ledger) {
		l.head.write = func(*os.File, []byte, int64) error { return errDisk }
	}, true},
	{"head torn", func(l *Ledger) {
		l.head.write = func(f *os.File, b []byte, at int64) error {
			return errors.Join(writeSynced(f, b[:len(b)/2], at), errDisk)
		}
	}, true},
	{"head kept but reported lost", func(l *Ledger) {
		l.head.write = func(f *os.File, b []byte, at int64) error { return errors.Join(writeSynced(f, b, at), errDisk) }
	}, true},
}

// TestFaults breaks the commit of every kind of write in every way, and lets an
// independent reader judge what a restart finds.
func TestFaults(t *testing.T) {
	p := generated()
	s := sight(p, "SN1", "H1")
	// Each write has what stands before it, itself, and what a restart finds if
	// it was lost and if it was kept.
	for _, op := range []struct {
		name       string
		before     func(t *testing.T, l *Ledger) *Assignment
		write      func(t *testing.T, l *Ledger, a *Assignment) error
		lost, kept DeviceState
	}{
		{
			"assign",
			func(*testing.T, *Ledger) *Assignment { return nil },
			func(t *testing.T, l *Ledger, _ *Assignment) error {
				_, err := tryAssign(t, l, s, "PASSWORD")
				return err
			},
			"", Burned,
		},
		{
			"mark",
			func(t *testing.T, l *Ledger) *Assignment {
				a := assign(t, l, s, "PASSWORD")
				mark(t, l, a, Injecting, Labelling)
				return a
			},
			func(t *testing.T, l *Ledger, a *Assignment) error { return l.SetMark(t.Context(), a, Locking) },
			Burned, Doubtful,
		},
		{
			"probed",
			func(t *testing.T, l *Ledger) *Assignment {
				a := assign(t, l, s, "PASSWORD")
				mark(t, l, a, Injecting)
				return a
			},
			func(t *testing.T, l *Ledger, a *Assignment) error { return l.SetProbed(t.Context(), a) },
			Burned, Burned,
		},
		{
			"settle",
			func(t *testing.T, l *Ledger) *Assignment {
				a := assign(t, l, s, "PASSWORD")
				mark(t, l, a, Injecting, Labelling, Locking)
				return a
			},
			func(t *testing.T, l *Ledger, a *Assignment) error {
				_, err := l.Settle(t.Context(), a, Settlement{Sealed: true, Proof: "login"})
				return err
			},
			Doubtful, Sealed,
		},
		{
			"seen",
			func(t *testing.T, l *Ledger) *Assignment {
				a := assign(t, l, s, "PASSWORD")
				mark(t, l, a, Injecting, Labelling, Locking)
				settle(t, l, a, false)
				return a
			},
			func(t *testing.T, l *Ledger, a *Assignment) error {
				_, err := l.Seen(t.Context(), p, "SN1", "login", Where{})
				return err
			},
			Doubtful, Sealed,
		},
		{
			"relabel mark",
			func(t *testing.T, l *Ledger) *Assignment {
				a := seal(t, l, s, "PASSWORD")
				order(t, l, "SN1", Relabel)
				return a
			},
			func(t *testing.T, l *Ledger, a *Assignment) error {
				_, err := l.SetRelabelMark(t.Context(), p, "SN1")
				return err
			},
			Sealed, Sealed,
		},
	} {
		for _, fault := range faults {
			t.Run(op.name+"/"+fault.name, func(t *testing.T) {
				dir := create(t)
				l := open(t, dir)
				openBatch(t, l, p, 10)
				a := op.before(t, l)
				fault.set(l)
				if err := op.write(t, l, a); !errors.Is(err, ErrBroken) || !errors.Is(err, errDisk) {
					t.Fatalf("%s: %v, want ErrBroken and its cause", op.name, err)
				}
				stopped(t, l)
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}

				l = open(t, dir)
				want, claims := op.lost, 1
				if fault.kept {
					want = op.kept
				}
				if want == "" {
					claims = 0
				}
				d, err := l.Device(t.Context(), p.ID, "SN1")
				if d.State != want || err != nil && want != "" {
					t.Errorf("device is %q, %v, want %q", d.State, err, want)
				}
				if c := clean(t, l); c.Claims != int64(claims) {
					t.Errorf("%d claims, want %d", c.Claims, claims)
				}
				if _, err := tryAssign(t, l, sight(p, "SN2", "H2"), "PASSWORD"); errors.Is(err, ErrReused) != (claims == 1) {
					t.Errorf("the same value for another device: %v, but it is claimed: %v", err, claims == 1)
				}
			})
		}
	}
}

// stopped checks that a broken ledger does nothing more and says why.
func stopped(t *testing.T, l *Ledger) {
	t.Helper()
	select {
	case <-l.Broken():
	default:
		t.Error("Broken is not closed")
	}
	if !errors.Is(l.Err(), errDisk) {
		t.Errorf("Err says %v, want the cause", l.Err())
	}
	for name, f := range map[string]func() error{
		"commit":    func() error { return l.commit(t.Context(), func(*txn) error { return nil }) },
		"commitNew": func() error { return l.commitNew(t.Context(), func(*txn) error { return nil }) },
		"view":      func() error { return l.view(func(reader) error { return nil }) },
		"Interlock": func() error { _, err := l.Interlock(t.Context(), sight(generated(), "SN1", "")); return err },
		"Verify":    func() error { _, err := l.Verify(t.Context(), nil); return err },
	} {
		if err := f(); !errors.Is(err, ErrBroken) {
			t.Errorf("%s on a broken ledger: %v, want ErrBroken", name, err)
		}
	}
}

// TestNobodyInAGroupIsAnsweredAsDone breaks a group of many operations.
func TestNobodyInAGroupIsAnsweredAsDone(t *testing.T) {
	l := open(t, create(t))
	testBatch(t, l)
	started, goOn := make(chan struct{}), make(chan struct{})
	l.commitTxn = func(txn *badger.Txn) error { close(started); <-goOn; return txn.Commit() }
	first := make(chan error, 1)
	go func() { first <- claimOne(t.Context(), l, 0) }() // waited for below
	<-started
	answers := make(chan error, 20)
	for n := range cap(answers) {
		go func() { answers <- claimOne(t.Context(), l, uint64(n+1)) }() // waited for below
	}
	l.commitTxn = func(txn *badger.Txn) error { txn.Discard(); return errDisk }
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("first group: %v", err)
	}
	for range cap(answers) {
		if err := <-answers; !errors.Is(err, ErrBroken) {
			t.Errorf("answer %v, want ErrBroken", err)
		}
	}
}

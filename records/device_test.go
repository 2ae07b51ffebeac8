package records

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"mintmark/hsm/secret"
)

// generated is a product whose one credential is made in the slot.
func generated() Product {
	return Product{ID: "cam", Profile: [32]byte{1}, Credentials: []Spec{
		{Name: "admin", Kind: LoginPassword, Origin: Generated, Bits: 64},
	}}
}

// addBatch puts a batch into the ledger as an import or the opening of a
// generated one leaves it.
func addBatch(t testing.TB, l *Ledger, b batchRecord) {
	t.Helper()
	b.Created = l.now()
	if b.Names == nil {
		b.Names = []string{"admin"}
	}
	if err := l.commit(t.Context(), func(t *txn) error {
		putBatch(t, &b)
		t.set(nameKey(b.Name), batchKey(b.Number)[1:])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func openBatch(t testing.TB, l *Ledger, p Product, quota int) {
	t.Helper()
	addBatch(t, l, batchRecord{Number: 1, Name: "B1", Product: p.ID, Profile: p.Profile, State: Opened, Kind: GeneratedBatch, Quota: quota})
}

func value(s string) map[string]*secret.Value {
	return map[string]*secret.Value{"admin": secret.From([]byte(s))}
}

// assign takes a device through interlock and assign.
func assign(t testing.TB, l *Ledger, s Sight, password string) *Assignment {
	t.Helper()
	a, err := tryAssign(t, l, s, password)
	if err != nil {
		t.Fatalf("assign: %v", err)
	}
	return a
}

func tryAssign(t testing.TB, l *Ledger, s Sight, password string) (*Assignment, error) {
	t.Helper()
	c, err := l.Interlock(t.Context(), s)
	if err != nil {
		return nil, err
	}
	if c.Do != DoProvision {
		return nil, fmt.Errorf("interlock says %s", c.Do)
	}
	v := value(password)
	defer v["admin"].Close()
	return l.Assign(t.Context(), AssignRequest{Sight: s, Clearance: c, Generated: v, Authority: "test"})
}

func mark(t testing.TB, l *Ledger, a *Assignment, marks ...Mark) {
	t.Helper()
	for _, m := range marks {
		if err := l.SetMark(t.Context(), a, m); err != nil {
			t.Fatal(err)
		}
	}
}

func settle(t testing.TB, l *Ledger, a *Assignment, ok bool) DeviceState {
	t.Helper()
	s := Settlement{Sealed: ok, Reason: "test", Proof: "login"}
	state, err := l.Settle(t.Context(), a, s)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// seal takes a device all the way.
func seal(t testing.TB, l *Ledger, s Sight, password string) *Assignment {
	t.Helper()
	a, err := trySeal(t, l, s, password)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func trySeal(t testing.TB, l *Ledger, s Sight, password string) (*Assignment, error) {
	t.Helper()
	a, err := tryAssign(t, l, s, password)
	if err != nil {
		return nil, err
	}
	for _, m := range []Mark{Injecting, Labelling, Locking} {
		if err := l.SetMark(t.Context(), a, m); err != nil {
			return a, err
		}
	}
	state, err := l.Settle(t.Context(), a, Settlement{Sealed: true, Proof: "login"})
	if err == nil && state != Sealed {
		err = fmt.Errorf("device is %s, want sealed", state)
	}
	return a, err
}

func sight(p Product, serial, hardwareID string) Sight {
	return Sight{Product: p, Serial: serial, HardwareID: hardwareID}
}

func TestADeviceIsSealedAndKnownAgain(t *testing.T) {
	dir := create(t)
	l := open(t, dir)
	p := generated()
	openBatch(t, l, p, 10)
	seal(t, l, sight(p, "SN1", "H1"), "PASSWORD-1")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	d, err := l.Device(t.Context(), "", "SN1")
	if err != nil {
		t.Fatal(err)
	}
	if d.State != Sealed || d.HardwareID != "H1" || len(d.Attempts) != 1 || d.Attempts[0].Credentials[0].State != sealed {
		t.Errorf("device is %+v, want sealed by its first attempt", d)
	}
	c, err := l.Interlock(t.Context(), sight(p, "", "H1"))
	if err != nil || c.Do != DoProve || c.Serial != "SN1" {
		t.Errorf("interlock says %+v, %v, want to prove SN1", c, err)
	}
	if _, err := tryAssign(t, l, sight(p, "SN2", "H2"), "password 1"); !errors.Is(err, ErrReused) {
		t.Errorf("the same value for another device: %v, want ErrReused", err)
	}
}

func TestQuotaHoldsForParallelSlots(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 5)
	var mu sync.Mutex
	var made []string
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			s := Sight{Product: p, Counter: "AC%04d", HardwareID: fmt.Sprint("H", n)}
			a, err := tryAssign(t, l, s, fmt.Sprint("PASSWORD-", n))
			if err != nil {
				if !errors.Is(err, ErrRefused) {
					t.Error(err)
				}
				return
			}
			mu.Lock()
			defer mu.Unlock()
			made = append(made, a.Serial)
		})
	}
	wg.Wait()
	slices.Sort(made)
	if want := []string{"AC0001", "AC0002", "AC0003", "AC0004", "AC0005"}; !slices.Equal(made, want) {
		t.Errorf("made %v, want %v", made, want)
	}
}

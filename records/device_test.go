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

// TestTwoSlotsCannotShareWhatTheyWereClearedFor clears twice before it assigns.
func TestTwoSlotsCannotShareWhatTheyWereClearedFor(t *testing.T) {
	one := generated()
	for _, tt := range []struct {
		name   string
		quota  int
		first  Sight
		second Sight
	}{
		{"a device", 10, sight(one, "SN1", "H1"), sight(one, "SN1", "H1")},
		{"a serial", 10, sight(one, "SN1", "H1"), sight(one, "SN1", "H2")},
		{"a hardware id", 10, sight(one, "SN1", "H1"), sight(one, "SN2", "H1")},
		{"the last of a quota", 1, sight(one, "SN1", "H1"), sight(one, "SN2", "H2")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, create(t))
			openBatch(t, l, one, tt.quota)
			c, err := l.Interlock(t.Context(), tt.second)
			if err != nil {
				t.Fatal(err)
			}
			assign(t, l, tt.first, "PASSWORD-1")
			v := value("PASSWORD-2")
			defer v["admin"].Close()
			if _, err := l.Assign(t.Context(), AssignRequest{Sight: tt.second, Clearance: c, Generated: v}); !errors.Is(err, ErrRefused) {
				t.Errorf("the second: %v, want a refusal", err)
			}
			if c := clean(t, l); c.Claims != 1 {
				t.Errorf("%d claims, want only the first's", c.Claims)
			}
		})
	}
}

// TestWhatChangedSinceTheClearanceIsRefused settles a device in between.
func TestWhatChangedSinceTheClearanceIsRefused(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 10)
	s := sight(p, "SN1", "H1")
	c, err := l.Interlock(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	seal(t, l, s, "PASSWORD-1")
	v := value("PASSWORD-2")
	defer v["admin"].Close()
	if _, err := l.Assign(t.Context(), AssignRequest{Sight: s, Clearance: c, Generated: v}); !errors.Is(err, ErrRefused) {
		t.Errorf("assign to a device sealed since: %v, want a refusal", err)
	}
	c.Batch = "B2"
	if _, err := l.Assign(t.Context(), AssignRequest{Sight: sight(p, "SN3", "H3"), Clearance: c, Generated: v}); err == nil {
		t.Error("assign in a batch that isn't there: no error")
	}
}

func TestEqualValuesOfOneDeviceAreReuse(t *testing.T) {
	l := admitted(t)
	s := sight(camera(), "SN1", "H1")
	c, err := l.Interlock(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, wifi := range []string{"AAAAAA", "aaa-aaa", "DDDDDD"} { // its own admin password, in two spellings, and another's
		v := map[string]*secret.Value{"wifi": secret.From([]byte(wifi))}
		defer v["wifi"].Close()
		if _, err := l.Assign(t.Context(), AssignRequest{Sight: s, Clearance: c, Generated: v}); !errors.Is(err, ErrReused) {
			t.Errorf("wifi password that is used already: %v, want ErrReused", err)
		}
	}
	if _, err := l.Assign(t.Context(), AssignRequest{Sight: s, Clearance: c}); err == nil {
		t.Error("assign without the generated value: no error")
	}
	if d := device(t, l, "SN1"); d.State != Waiting || len(d.Attempts) != 0 {
		t.Errorf("device is %+v, want it waiting, untouched", d)
	}
}

// TestEqualValuesOfTwoClassesAreReuseToo has no index in common.
func TestEqualValuesOfTwoClassesAreReuseToo(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	p.Credentials = append(p.Credentials, Spec{Name: "pin", Kind: PIN, Origin: Generated, Bits: 26, ProductScope: true})
	addBatch(t, l, batchRecord{
		Number: 1, Name: "B1", Product: p.ID, Profile: p.Profile, State: Opened, Kind: GeneratedBatch, Quota: 10, Names: []string{"admin", "pin"},
	})
	s := sight(p, "SN1", "H1")
	c, err := l.Interlock(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		pin  string
		want error
	}{{"12345678", ErrReused}, {"87654321", nil}} {
		v := map[string]*secret.Value{"admin": secret.From([]byte("12345678")), "pin": secret.From([]byte(tt.pin))}
		defer v["admin"].Close()
		defer v["pin"].Close()
		if _, err := l.Assign(t.Context(), AssignRequest{Sight: s, Clearance: c, Generated: v}); !errors.Is(err, tt.want) {
			t.Errorf("password 12345678 and pin %s: %v, want %v", tt.pin, err, tt.want)
		}
	}
	clean(t, l)
}

func TestADeviceIsFoundByProductAndSerial(t *testing.T) {
	l := open(t, create(t))
	for n, id := range []string{"cam", "lock", "lamp"} {
		p := generated()
		p.ID = id
		addBatch(t, l, batchRecord{Number: uint32(n + 1), Name: "B-" + id, Product: id, Profile: p.Profile, State: Opened, Kind: GeneratedBatch, Quota: 10})
		seal(t, l, sight(p, "SN1", "H1"), "PASSWORD OF "+id)
		if n == 1 {
			seal(t, l, sight(p, "SN2", "H2"), "SECOND PASSWORD OF "+id)
		}
	}
	if d, err := l.Device(t.Context(), "lock", "SN1"); err != nil || d.Product != "lock" {
		t.Errorf("by product and serial: %+v, %v", d, err)
	}
	if d, err := l.Device(t.Context(), "", "SN2"); err != nil || d.Product != "lock" {
		t.Errorf("by serial alone: %+v, %v", d, err)
	}
	if _, err := l.Device(t.Context(), "", "SN1"); !errors.Is(err, ErrRefused) {
		t.Errorf("a serial of three products: %v, want a refusal", err)
	}
	if _, err := l.Device(t.Context(), "", "SN9"); !errors.Is(err, ErrNotFound) {
		t.Errorf("an unknown serial: %v, want ErrNotFound", err)
	}
	for batch, want := range map[string]int{"": 4, "B-lock": 2, "B-none": 0} {
		n := 0
		if err := l.Devices(t.Context(), batch, func(d Device) bool { n++; return true }); err != nil || n != want {
			t.Errorf("batch %q has %d devices, %v, want %d", batch, n, err, want)
		}
	}
	n := 0
	if err := l.Devices(t.Context(), "", func(Device) bool { n++; return n < 2 }); err != nil || n != 2 {
		t.Errorf("stopped after %d devices, %v, want 2", n, err)
	}
}

// TestARowThatHoldsWhatWasNotAdmittedIsAFault looks for the claim of one row under
// the name of another.
func TestARowThatHoldsWhatWasNotAdmittedIsAFault(t *testing.T) {
	l := admitted(t)
	admin := secret.From([]byte("AAAAAA")) // of row 1
	defer admin.Close()
	set, err := l.indexesOf(t.Context(), camera().ID, camera().Credentials[1], admin)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		want ownerRef
		fine bool
	}{
		{"its own", ownerRef{Batch: 1, Row: 1, Position: 1}, true},
		{"another row", ownerRef{Batch: 1, Row: 2, Position: 1}, false},
		{"another credential", ownerRef{Batch: 1, Row: 1, Position: 2}, false},
		{"another batch", ownerRef{Batch: 2, Row: 1, Position: 1}, false},
	} {
		if err := l.commit(t.Context(), func(t *txn) error { _, _, err := t.claimed(set, tt.want); return err }); (err == nil) != tt.fine {
			t.Errorf("%s: %v, want it found: %v", tt.name, err, tt.fine)
		}
	}
}

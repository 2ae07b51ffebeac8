package records

import (
	"errors"
	"fmt"
	"testing"

	"mintmark/hsm/secret"
)

// admitted is a ledger with the imported batch B1 of three devices, opened.
func admitted(t testing.TB) *Ledger {
	t.Helper()
	l := importer(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	if _, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "B1"}); err != nil {
		t.Fatal(err)
	}
	return l
}

// try runs an attempt up to a mark, and fails it or not.
func try(t testing.TB, l *Ledger, serial, hardwareID string, sealed bool, marks ...Mark) DeviceState {
	t.Helper()
	a := begin(t, l, serial, hardwareID)
	defer a.close()
	mark(t, l, a, marks...)
	return settle(t, l, a, sealed)
}

// cannot checks that the interlock refuses.
func cannot(t testing.TB, l *Ledger, serial, hardwareID, why string) {
	t.Helper()
	_, err := l.Interlock(t.Context(), sight(camera(), serial, hardwareID))
	refused(t, err, why)
}

func TestAnImportedRowIsTriedThreeTimesByTheSameHardware(t *testing.T) {
	l := admitted(t)
	for n, want := range []DeviceState{Kept, Kept, Burned} {
		if got := try(t, l, "SN1", "H1", false); got != Kept { // untouched: this one is free
			t.Errorf("untouched in try %d: %s, want kept", n+1, got)
		}
		cannot(t, l, "SN1", "H2", "serial is bound to another hardware id")
		if got := try(t, l, "SN1", "H1", false, Injecting); got != want {
			t.Errorf("try %d: %s, want %s", n+1, got, want)
		}
	}
	cannot(t, l, "SN1", "H1", "its imported credentials are used up, it waits for batch replace")
	d, err := l.Device(t.Context(), "", "SN1")
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range d.Attempts {
		for _, c := range at.Credentials {
			if c.State != burned {
				t.Errorf("%s of attempt %d is %s, want burned", c.Name, at.Number, c.State)
			}
		}
	}
	clean(t, l)
}

// TestWhatIsKeptIsTheImportedPart looks at the fate of each credential.
func TestWhatIsKeptIsTheImportedPart(t *testing.T) {
	l := admitted(t)
	try(t, l, "SN1", "H1", false, Injecting)
	try(t, l, "SN1", "H1", true, Injecting, Labelling, Locking)
	d, err := l.Device(t.Context(), "", "SN1")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, at := range d.Attempts {
		for _, c := range at.Credentials {
			got = append(got, fmt.Sprint(at.Number, " ", c.Name, " ", c.State))
		}
	}
	want := "[1 wifi burned 1 admin sealed 1 service sealed 2 wifi sealed 2 admin sealed 2 service sealed]"
	if fmt.Sprint(got) != want {
		t.Errorf("credentials are %v, want %v", got, want)
	}
	if c := clean(t, l); c.Claims != 8 {
		t.Errorf("%d claims, want 6 imported and 2 generated", c.Claims)
	}
}

func TestATrialBatchBurnsWhatWasProved(t *testing.T) {
	l := importer(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	if _, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "B1", Trial: true}); err != nil {
		t.Fatal(err)
	}
	a := begin(t, l, "SN1", "H1")
	defer a.close()
	mark(t, l, a, Injecting)
	for _, m := range []Mark{Labelling, Locking} {
		refused(t, l.SetMark(t.Context(), a, m), "a golden device is neither labelled nor locked")
	}
	if got := settle(t, l, a, true); got != Burned {
		t.Errorf("golden device is %s, want burned", got)
	}
	if got := try(t, l, "SN2", "H2", false); got != Burned {
		t.Errorf("untouched golden device is %s, want burned", got)
	}
	clean(t, l)
}

func TestADoubtfulDeviceIsSealedByItsProof(t *testing.T) {
	l := admitted(t)
	if got := try(t, l, "SN1", "H1", false, Injecting, Locking); got != Doubtful {
		t.Fatalf("device is %s, want doubtful", got)
	}
	for _, tt := range []struct {
		proof string
		want  DeviceState
		creds string
	}{{"", Doubtful, claimed}, {"login", Sealed, sealed}, {"", Sealed, sealed}} {
		got, err := l.Seen(t.Context(), camera(), "SN1", tt.proof, Where{Slot: "1"})
		if err != nil || got != tt.want {
			t.Errorf("seen with proof %q: %s, %v, want %s", tt.proof, got, err, tt.want)
		}
		d, err := l.Device(t.Context(), "", "SN1")
		if err != nil {
			t.Fatal(err)
		}
		if d.Seen.Proof != tt.proof || d.Seen.Where.Slot != "1" || d.Attempts[0].Credentials[1].State != tt.creds || d.Proved.IsZero() != (tt.want == Doubtful) {
			t.Errorf("seen with proof %q: record is %+v, %+v", tt.proof, d.Seen, d.Attempts[0])
		}
	}
	clean(t, l)
}

func TestAScannedValueIsRecognised(t *testing.T) {
	l := admitted(t)
	a := begin(t, l, "SN1", "H1")
	mark(t, l, a, Injecting)
	settle(t, l, a, true)
	right := a.Values["admin"]
	defer a.close()
	wrong := secret.From([]byte("NOT IT"))
	defer wrong.Close()
	for _, tt := range []struct {
		name   string
		serial string
		cred   string
		v      *secret.Value
		want   bool
	}{
		{"its own", "SN1", "admin", right, true},
		{"another value", "SN1", "admin", wrong, false},
		{"its own under another name", "SN1", "service", right, false},
		{"of a device that holds none", "SN2", "admin", right, false},
	} {
		got, err := l.Recognise(t.Context(), camera(), tt.serial, tt.cred, tt.v, Actor{Name: "op", UID: 7})
		if got != tt.want || err != nil {
			t.Errorf("%s: %v, %v, want %v", tt.name, got, err, tt.want)
		}
	}
	if _, err := l.Recognise(t.Context(), camera(), "SN9", "admin", right, Actor{UID: 7}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown device: %v, want ErrNotFound", err)
	}
	if _, err := l.Recognise(t.Context(), camera(), "SN1", "pin", right, Actor{UID: 7}); err == nil {
		t.Error("unknown credential: no error")
	}
}

func TestWhoAsksTooOftenLearnsNothing(t *testing.T) {
	l := admitted(t)
	l.opts.ChecksPerHour = 1 // nobody else is using l now
	a := begin(t, l, "SN1", "H1")
	defer a.close()
	mark(t, l, a, Injecting)
	settle(t, l, a, true)
	wrong := secret.From([]byte("GUESSED"))
	defer wrong.Close()
	own := a.Values["admin"]
	for i, tt := range []struct {
		v    *secret.Value
		got  bool
		want error
	}{{own, true, nil}, {own, true, nil}, {wrong, false, nil}, {wrong, false, ErrLimited}, {own, true, nil}} {
		got, err := l.Recognise(t.Context(), camera(), "SN1", "admin", tt.v, Actor{Name: "eve", UID: 7})
		if !errors.Is(err, tt.want) || got != tt.got {
			t.Errorf("scan %d: %v, %v, want %v, %v: only a value that isn't the record's counts", i+1, got, err, tt.got, tt.want)
		}
	}
}

func TestImportedValuesAreRecalledUntilTheBatchIsClosed(t *testing.T) {
	l := admitted(t)
	if _, err := l.Recall(t.Context(), camera(), "SN1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("recall for a device that holds nothing: %v, want ErrNotFound", err)
	}
	a := begin(t, l, "SN1", "H1")
	defer a.close()
	mark(t, l, a, Injecting)
	settle(t, l, a, true)
	v, err := l.Recall(t.Context(), camera(), "SN1")
	if err != nil {
		t.Fatal(err)
	}
	if len(v) != 2 || !v["admin"].Equal(a.Values["admin"]) || !v["service"].Equal(a.Values["service"]) {
		t.Error("recalled values are not those that were assigned")
	}
	for _, v := range v {
		v.Close()
	}
	if _, err := l.CloseBatch(t.Context(), "B1", Actor{}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Recall(t.Context(), camera(), "SN1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("recall after closing: %v, want ErrNotFound", err)
	}
}

func TestReworkIsASupervisorsOrder(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 10)
	seal(t, l, sight(p, "SN1", "H1"), "PASSWORD-1")
	settle(t, l, assign(t, l, sight(p, "SN2", "H2"), "PASSWORD-2"), false)
	boss := Actor{Name: "ann", Supervisor: true}
	for _, tt := range []struct {
		name   string
		serial string
		r      Rework
		by     Actor
		want   error
	}{
		{"by an operator", "SN1", Rework{Kind: Relabel, Reason: "torn"}, Actor{Name: "bob", Quality: true}, ErrRefused},
		{"without a reason", "SN1", Rework{Kind: Relabel}, boss, ErrRefused},
		{"of an unknown kind", "SN1", Rework{Kind: "polish", Reason: "dull"}, boss, ErrRefused},
		{"of a device that isn't there", "SN9", Rework{Kind: Relabel, Reason: "torn"}, boss, ErrNotFound},
		{"of a burned one", "SN2", Rework{Kind: Reprovision, Reason: "lost"}, boss, ErrRefused},
		{"board swap of a burned one", "SN2", Rework{Kind: BoardSwap, Reason: "dead"}, boss, nil},
		{"relabel", "SN1", Rework{Kind: Relabel, Reason: "torn"}, boss, nil},
		{"another order instead", "SN1", Rework{Kind: Refurbish, Reason: "returned"}, boss, nil},
	} {
		d, err := l.OrderRework(t.Context(), "", tt.serial, tt.r, tt.by)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if err == nil && (d.Rework == nil || d.Rework.Kind != tt.r.Kind || d.Rework.By != "ann" || d.Rework.At.IsZero()) {
			t.Errorf("%s: order is %+v", tt.name, d.Rework)
		}
	}
	clean(t, l)
}

// TestReworkOfGeneratedCredentials supersedes them once the device may have
// taken new ones.
func TestReworkOfGeneratedCredentials(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 1) // rework in its own batch doesn't count again
	s := sight(p, "SN1", "H1")
	seal(t, l, s, "PASSWORD-1")
	order(t, l, "SN1", Reprovision)

	settle(t, l, assign(t, l, s, "PASSWORD-2"), false) // untouched
	if d := device(t, l, "SN1"); d.State != Sealed || d.Rework == nil || d.Attempts[0].Credentials[0].State != sealed || d.Attempts[1].Credentials[0].State != burned {
		t.Errorf("after an untouched rework: %+v, want it sealed as before and the order standing", d)
	}
	seal(t, l, s, "PASSWORD-3")
	d := device(t, l, "SN1")
	if d.State != Sealed || d.Rework != nil || d.Attempts[0].Credentials[0].State != superseded || d.Attempts[2].Credentials[0].State != sealed || d.Attempts[2].Rework.Kind != Reprovision {
		t.Errorf("after rework: %+v, want the first credential superseded", d)
	}
	if _, err := tryAssign(t, l, sight(p, "SN1", "H1"), "PASSWORD-1"); err == nil {
		t.Error("a sealed device was assigned again")
	}
	order(t, l, "SN1", Refurbish)
	if _, err := tryAssign(t, l, s, "PASSWORD-1"); !errors.Is(err, ErrReused) {
		t.Errorf("a superseded credential: %v, want ErrReused", err)
	}

	order(t, l, "SN1", BoardSwap)
	if got := settle(t, l, assign(t, l, sight(p, "SN1", "H2"), "PASSWORD-5"), false); got != Burned {
		t.Errorf("an untouched new board is %s, want burned: it never held anything", got)
	}
	if d := device(t, l, "SN1"); d.Attempts[2].Credentials[0].State != superseded || d.Rework != nil {
		t.Errorf("after a board swap: %+v, want what the old board holds superseded", d)
	}
	seal(t, l, sight(p, "SN1", "H2"), "PASSWORD-4")
	if d := device(t, l, "SN1"); d.HardwareID != "H2" || d.Attempts[2].HardwareID != "H1" {
		t.Errorf("after a board swap: %+v, want H2, and H1 in the old attempt", d)
	}
	if _, err := l.Interlock(t.Context(), sight(p, "SN1", "H1")); !errors.Is(err, ErrRefused) {
		t.Errorf("the old board: %v, want a refusal", err)
	}
	clean(t, l)
}

// TestReworkOfImportedCredentials needs a new row each time.
func TestReworkOfImportedCredentials(t *testing.T) {
	const usedUp = "its imported credentials are used up, it waits for batch replace"
	l := admitted(t)
	try(t, l, "SN1", "H1", true, Injecting, Labelling, Locking)
	order(t, l, "SN1", Reprovision)
	cannot(t, l, "SN1", "H1", usedUp)
	admit(t, l, replacing(), "serial,admin,service\nSN1,QQQQQQ,RRRRRR\n")
	if d := device(t, l, "SN1"); d.State != Sealed || d.Row != 4 {
		t.Errorf("with a new row: %s, row %d, want sealed still, row 4", d.State, d.Row)
	}
	if got := try(t, l, "SN1", "H1", false); got != Sealed {
		t.Errorf("untouched: %s, want sealed as before", got)
	}
	if got := try(t, l, "SN1", "H1", true, Injecting, Locking); got != Sealed {
		t.Errorf("reworked: %s, want sealed", got)
	}
	d := device(t, l, "SN1")
	if d.Attempts[0].Credentials[1].State != superseded || d.Attempts[2].Credentials[1].State != sealed {
		t.Errorf("after rework: %+v, want the first row superseded", d.Attempts)
	}

	try(t, l, "SN2", "H2", false, Injecting) // kept for H2
	order(t, l, "SN2", BoardSwap)            // H2 is dead
	cannot(t, l, "SN2", "H3", usedUp)
	replace := replacing()
	admit(t, l, replace, "serial,admin,service\nSN2,SSSSSS,TTTTTT\n")
	if got := try(t, l, "SN2", "H3", true, Injecting, Locking); got != Sealed {
		t.Errorf("after the swap: %s, want sealed", got)
	}
	if c := clean(t, l); c.Claims != 6+4+5 {
		t.Errorf("%d claims, want 15", c.Claims)
	}
}

// TestAProofLaterLeavesTheSealAsItWas proves a sealed device again, and one that
// is known from a list only.
func TestAProofLaterLeavesTheSealAsItWas(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 10)
	seal(t, l, sight(p, "SN1", "H1"), "PASSWORD-1")
	if _, _, err := l.Thaw(t.Context(), p.ID, []string{"SN2"}, Actor{Supervisor: true}); err != nil {
		t.Fatal(err)
	}
	for _, serial := range []string{"SN1", "SN2"} {
		if got, err := l.Seen(t.Context(), p, serial, "signature", Where{}); got != Sealed || err != nil {
			t.Errorf("%s: %s, %v, want sealed", serial, got, err)
		}
	}
	if d := device(t, l, "SN1"); d.Attempts[0].Proof != "login" || d.Seen.Proof != "signature" {
		t.Errorf("proofs are %q then %q, want login then signature", d.Attempts[0].Proof, d.Seen.Proof)
	}
	clean(t, l)
}

func order(t testing.TB, l *Ledger, serial string, k ReworkKind) {
	t.Helper()
	if _, err := l.OrderRework(t.Context(), "", serial, Rework{Kind: k, Reason: "test"}, Actor{Name: "ann", Supervisor: true}); err != nil {
		t.Fatal(err)
	}
}

func device(t testing.TB, l *Ledger, serial string) Device {
	t.Helper()
	d, err := l.Device(t.Context(), "", serial)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

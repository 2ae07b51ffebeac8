package records

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// A plain is a ledger as a plain map: what must be so, in the simplest words.
type plain struct {
	used    map[string]bool         // passwords
	partner map[string]string       // hardware id to serial
	devices map[string]*plainDevice // by serial
	rows    map[string]bool         // serials that were imported and wait
	started int
}

type plainDevice struct {
	hard   string
	state  DeviceState
	from   DeviceState // before the open attempt
	mark   Mark
	rework ReworkKind
	marked bool // the label of a relabel
	swap   bool // the open attempt is for another board
}

const modelQuota = 4

// assign returns the error class that the ledger must answer with, or nil.
func (m *plain) assign(serial, hard, password string) error {
	d := m.devices[serial]
	switch {
	case m.partner[hard] != "" && m.partner[hard] != serial:
		return ErrRefused
	case d == nil && m.started == modelQuota:
		return ErrRefused
	case d != nil && d.hard != hard && d.rework != BoardSwap:
		return ErrRefused
	case d != nil && d.state == Assigned:
		return ErrRefused
	case d != nil && (d.state == Sealed || d.state == Doubtful) && (d.rework == "" || d.rework == Relabel):
		return errNotProvision
	case m.used[password]:
		return ErrReused
	}
	if d == nil {
		d = &plainDevice{}
		m.devices[serial] = d
		m.started++
	}
	m.used[password], m.partner[hard] = true, serial
	d.from, d.mark, d.swap = d.state, NotMarked, d.rework == BoardSwap
	d.hard, d.state = hard, Assigned
	return nil
}

func (m *plain) settle(serial string, sealed bool) {
	d := m.devices[serial]
	switch {
	case sealed:
		d.state, d.rework = Sealed, ""
	case d.mark == Locking:
		d.state, d.rework = Doubtful, ""
	case d.mark == NotMarked && !d.swap && (d.from == Sealed || d.from == Doubtful):
		d.state = d.from
	default:
		d.state, d.rework = Burned, ""
	}
}

var errNotProvision = errors.New("not to be provisioned")

// admits says whether a file is to be admitted, and takes it in if it is.
func (m *plain) admits(serials, passwords []string) bool {
	rows, used := map[string]bool{}, map[string]bool{}
	for i := range serials {
		if m.rows[serials[i]] || rows[serials[i]] || m.used[passwords[i]] || used[passwords[i]] {
			return false
		}
		rows[serials[i]], used[passwords[i]] = true, true
	}
	maps.Copy(m.rows, rows)
	maps.Copy(m.used, used)
	return true
}

// A machine drives a ledger and a plain map side by side.
type machine struct {
	dir  string
	rows *testRows
	l    *Ledger
	p    Product
	m    plain
	open map[string]*Assignment

	imports int
}

// box has the credential of generated, imported.
func box() Product {
	return Product{ID: "box", Profile: [32]byte{2}, Credentials: []Spec{
		{Name: "admin", Kind: LoginPassword, Origin: Imported, Bits: 64},
	}}
}

// modelOptions fold and merge beside everything else.
func modelOptions() Options {
	o := small()
	o.FoldClaims, o.ChecksPerHour = 4, 1<<20
	return o
}

func modelPassword(t *rapid.T) string {
	return "PASSWORD-" + rapid.StringMatching("[A-J][0-3]").Draw(t, "password")
}

func (x *machine) imported(t *rapid.T) {
	var serials, passwords []string
	file := "serial,admin\n"
	for i := range rapid.IntRange(1, 3).Draw(t, "rows") {
		serials = append(serials, "B"+rapid.StringMatching("[0-9][0-3]").Draw(t, "serial"))
		passwords = append(passwords, modelPassword(t))
		file += serials[i] + "," + passwords[i] + "\n"
	}
	x.imports++
	_, err := x.l.Import(t.Context(), batchOf(box(), fmt.Sprint("I", x.imports)), strings.NewReader(file))
	if fine := x.m.admits(serials, passwords); (err == nil) != fine || !fine && !errors.Is(err, ErrRejected) {
		t.Fatalf("import of %q: %v, want it admitted: %v", file, err, fine)
	}
}

// alone runs f while nothing is imported, folded or merged.
func (x *machine) alone(t *rapid.T, f func(*Ledger) error) {
	x.l.imports.writing <- struct{}{}
	err := f(x.l)
	<-x.l.imports.writing
	if err != nil {
		t.Fatal(err)
	}
}

func (x *machine) fold(t *rapid.T) {
	x.alone(t, func(l *Ledger) error { return l.fold(t.Context()) })
}

// merge merges all segments, or what is due.
func (x *machine) merge(t *rapid.T) {
	all := rapid.Bool().Draw(t, "all")
	x.alone(t, func(l *Ledger) error {
		if group := l.claims().segments; all && len(group) > 1 {
			return l.mergeSegments(t.Context(), group)
		}
		_, err := l.tidyOnce(t.Context())
		return err
	})
}

func (x *machine) assign(t *rapid.T) {
	serial := "SN" + rapid.StringMatching("[0-5]").Draw(t, "serial")
	hard := "H" + rapid.StringMatching("[0-5]").Draw(t, "hardware id")
	password := modelPassword(t)
	c, err := x.l.Interlock(t.Context(), sight(x.p, serial, hard))
	var a *Assignment
	switch {
	case err == nil && c.Do != DoProvision:
		err = errNotProvision
	case err == nil:
		v := value(password)
		defer v["admin"].Close()
		a, err = x.l.Assign(t.Context(), AssignRequest{Sight: sight(x.p, serial, hard), Clearance: c, Generated: v})
	}
	if want := x.m.assign(serial, hard, password); !errors.Is(err, want) {
		t.Fatalf("assign %s to %s with %s: %v, want %v", password, serial, hard, err, want)
	}
	if err == nil {
		x.open[serial] = a
	}
}

// attempt draws one of the open attempts, or skips.
func (x *machine) attempt(t *rapid.T) (string, *Assignment) {
	if len(x.open) == 0 {
		t.Skip("no attempt is open")
	}
	serial := rapid.SampledFrom(slices.Sorted(maps.Keys(x.open))).Draw(t, "open")
	return serial, x.open[serial]
}

func (x *machine) mark(t *rapid.T) {
	serial, a := x.attempt(t)
	m := rapid.SampledFrom([]Mark{Injecting, Labelling, Locking}).Draw(t, "mark")
	d := x.m.devices[serial]
	order := map[Mark]int{NotMarked: 0, Injecting: 1, Labelling: 2, Locking: 3}
	fine := order[m] >= order[d.mark] && (d.mark != NotMarked || m == Injecting)
	if err := x.l.SetMark(t.Context(), a, m); (err == nil) != fine {
		t.Fatalf("mark %s after %q: %v", m, d.mark, err)
	}
	if fine {
		d.mark = m
	}
}

func (x *machine) settle(t *rapid.T) {
	serial, a := x.attempt(t)
	sealed := rapid.Bool().Draw(t, "sealed") && x.m.devices[serial].mark != NotMarked
	state, err := x.l.Settle(t.Context(), a, Settlement{Sealed: sealed, Proof: "login"})
	x.m.settle(serial, sealed)
	if want := x.m.devices[serial].state; err != nil || state != want {
		t.Fatalf("settle %s: %s, %v, want %s", serial, state, err, want)
	}
	delete(x.open, serial)
}

func (x *machine) seen(t *rapid.T) {
	serial := "SN" + rapid.StringMatching("[0-5]").Draw(t, "serial")
	proof := rapid.SampledFrom([]string{"", "login"}).Draw(t, "proof")
	d := x.m.devices[serial]
	fine := d != nil && (d.state == Sealed || d.state == Doubtful)
	_, err := x.l.Seen(t.Context(), x.p, serial, proof, Where{})
	if (err == nil) != fine {
		t.Fatalf("seen %s: %v", serial, err)
	}
	if fine && proof != "" {
		d.state = Sealed
		if d.marked {
			d.rework, d.marked = "", false
		}
	}
}

func (x *machine) rework(t *rapid.T) {
	serial := "SN" + rapid.StringMatching("[0-5]").Draw(t, "serial")
	kind := rapid.SampledFrom([]ReworkKind{Relabel, Reprovision, BoardSwap, Refurbish}).Draw(t, "kind")
	d := x.m.devices[serial]
	held := d != nil && (d.state == Sealed || d.state == Doubtful)
	fine := held || d != nil && kind == BoardSwap && d.state == Burned
	_, err := x.l.OrderRework(t.Context(), x.p.ID, serial, Rework{Kind: kind, Reason: "model"}, Actor{Supervisor: true})
	if (err == nil) != fine {
		t.Fatalf("order %s of %s: %v", kind, serial, err)
	}
	if fine {
		d.rework, d.marked = kind, false
	}
}

func (x *machine) relabel(t *rapid.T) {
	serial := "SN" + rapid.StringMatching("[0-5]").Draw(t, "serial")
	d := x.m.devices[serial]
	fine := d != nil && d.rework == Relabel
	if _, err := x.l.SetRelabelMark(t.Context(), x.p, serial); (err == nil) != fine {
		t.Fatalf("mark relabel of %s: %v", serial, err)
	}
	if fine {
		d.marked = true
	}
}

// reopen closes and opens, which settles what is open.
func (x *machine) reopen(t *rapid.T) {
	if err := x.l.Close(); err != nil {
		t.Fatal(err)
	}
	for serial := range x.open {
		x.m.settle(serial, false)
	}
	x.open = map[string]*Assignment{}
	x.begin(t)
}

func (x *machine) begin(t *rapid.T) {
	l, err := Open(t.Context(), x.dir, newTestKeys("a"), x.rows, modelOptions())
	if err != nil {
		t.Fatal(err)
	}
	x.l = l
}

// check compares every device and the number of claims.
func (x *machine) check(t *rapid.T) {
	have := map[string]DeviceState{}
	if err := x.l.Devices(t.Context(), "", func(d Device) bool { have[d.Serial] = d.State; return true }); err != nil {
		t.Fatal(err)
	}
	want := map[string]DeviceState{}
	for serial, d := range x.m.devices {
		want[serial] = d.state
	}
	for serial := range x.m.rows {
		want[serial] = Waiting
	}
	if !maps.Equal(have, want) {
		t.Fatalf("devices are %v, want %v", have, want)
	}
}

// TestTheLedgerIsAPlainMap runs random operations, with reopening in between,
// against a plain map.
func TestTheLedgerIsAPlainMap(t *testing.T) {
	if !*torture {
		if err := flag.Set("rapid.checks", "15"); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		x := &machine{dir: create(t), rows: newTestRows(), p: generated(), open: map[string]*Assignment{}}
		x.m = plain{used: map[string]bool{}, partner: map[string]string{}, devices: map[string]*plainDevice{}, rows: map[string]bool{}}
		x.begin(rt)
		defer func() { x.l.Close() }() // also after a failure
		openBatch(t, x.l, x.p, modelQuota)
		rt.Repeat(map[string]func(*rapid.T){
			"assign": x.assign, "mark": x.mark, "settle": x.settle, "seen": x.seen, "rework": x.rework, "relabel": x.relabel,
			"reopen": x.reopen,
			"import": x.imported, "fold": x.fold, "merge": x.merge, "": x.check,
		})
		if c := clean(t, x.l); c.Claims != int64(len(x.m.used)) {
			rt.Errorf("%d claims, want %d", c.Claims, len(x.m.used))
		}
	})
}

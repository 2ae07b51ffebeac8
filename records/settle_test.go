package records

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestOutcomes(t *testing.T) {
	imported := func(m Mark, tries int) ending {
		return ending{mark: m, row: true, hard: true, tries: tries, limit: 3}
	}
	for _, tt := range []struct {
		name string
		e    ending
		want DeviceState
	}{
		{"sealed", ending{sealed: true, mark: Locking}, Sealed},
		{"sealed without a lock", ending{sealed: true, mark: Injecting}, Sealed},
		{"sealed, imported, at the last try", ending{sealed: true, mark: Locking, row: true, hard: true, tries: 3, limit: 3}, Sealed},
		{"trial, sealed", ending{trial: true, sealed: true, mark: Locking}, Burned},
		{"trial, in doubt", ending{trial: true, mark: Locking}, Burned},
		{"trial, imported, untouched", ending{trial: true, row: true, hard: true, limit: 3}, Burned},
		{"in doubt, generated", ending{mark: Locking}, Doubtful},
		{"in doubt, imported", imported(Locking, 1), Doubtful},
		{"in doubt, imported, at the last try", imported(Locking, 3), Doubtful},
		{"generated, untouched", ending{}, Burned},
		{"generated, injecting", ending{mark: Injecting}, Burned},
		{"generated, labelling", ending{mark: Labelling}, Burned},
		{"imported, untouched", imported(NotMarked, 0), Kept},
		{"imported, injecting, strayed", ending{stray: true, mark: Injecting, row: true, hard: true, tries: 1, limit: 3}, Burned},
		{"imported, untouched, strayed", ending{stray: true, row: true, hard: true, limit: 3}, Kept},
		{"imported, untouched, no hardware id", ending{row: true, limit: 3}, Kept},
		{"imported, untouched after three tries", imported(NotMarked, 3), Kept},
		{"imported, injecting, first try", imported(Injecting, 1), Kept},
		{"imported, labelling, second try", imported(Labelling, 2), Kept},
		{"imported, injecting, third try", imported(Injecting, 3), Burned},
		{"imported, injecting, no hardware id", ending{mark: Injecting, row: true, tries: 1, limit: 3}, Burned},
		{"rework, untouched, was sealed", ending{from: Sealed}, Sealed},
		{"rework, untouched, was in doubt, imported", ending{from: Doubtful, row: true, hard: true, limit: 3}, Doubtful},
		{"rework, injecting, was sealed", ending{from: Sealed, mark: Injecting}, Burned},
		{"rework, locking, was sealed", ending{from: Sealed, mark: Locking}, Doubtful},
		{"rework, sealed", ending{from: Sealed, sealed: true, mark: Locking}, Sealed},
		{"rework in a trial batch, untouched", ending{from: Sealed, trial: true}, Sealed},
		{"rework in a trial batch, injecting", ending{from: Sealed, trial: true, mark: Injecting}, Burned},
	} {
		if got := outcomeOf(tt.e); got != tt.want {
			t.Errorf("%s: outcomeOf(%+v) = %s, want %s", tt.name, tt.e, got, tt.want)
		}
	}
}

func TestMarksGoForward(t *testing.T) {
	l := open(t, create(t))
	openBatch(t, l, generated(), 10)
	for n, tt := range []struct {
		name  string
		marks []Mark // the last one is refused
	}{
		{"labelling first", []Mark{Labelling}},
		{"locking first", []Mark{Locking}},
		{"back", []Mark{Injecting, Locking, Labelling}},
		{"back to none", []Mark{Injecting, NotMarked}},
		{"unknown", []Mark{Injecting, "boiling"}},
		{"the same twice is fine, then back", []Mark{Injecting, Injecting, Labelling, Labelling, Injecting}},
		{"labelling may be left out", []Mark{Injecting, Locking, Injecting}},
	} {
		a := assign(t, l, sight(generated(), fmt.Sprint("SN", n), ""), "PASSWORD "+tt.name)
		last := len(tt.marks) - 1
		mark(t, l, a, tt.marks[:last]...)
		if err := l.SetMark(t.Context(), a, tt.marks[last]); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: SetMark(%s) = %v, want a refusal", tt.name, tt.marks[last], err)
		}
		settle(t, l, a, false)
	}
	clean(t, l)
}

func TestSettlingIsForOnce(t *testing.T) {
	l := open(t, create(t))
	openBatch(t, l, generated(), 10)
	a := seal(t, l, sight(generated(), "SN1", "H1"), "PASSWORD")
	if _, err := l.Settle(t.Context(), a, Settlement{}); !errors.Is(err, ErrRefused) {
		t.Errorf("settle again: %v, want a refusal", err)
	}
	if err := l.SetMark(t.Context(), a, Locking); !errors.Is(err, ErrRefused) {
		t.Errorf("mark after settling: %v, want a refusal", err)
	}
	if d, err := l.Device(t.Context(), "cam", "SN1"); err != nil || d.State != Sealed {
		t.Errorf("device is %s, %v, want sealed", d.State, err)
	}
}

func TestAnOldAssignmentSettlesNothingNew(t *testing.T) {
	l := open(t, create(t))
	openBatch(t, l, generated(), 10)
	s := sight(generated(), "SN1", "H1")
	old := assign(t, l, s, "PASSWORD-1")
	settle(t, l, old, false)
	a := assign(t, l, s, "PASSWORD-2")
	if err := l.SetMark(t.Context(), old, Injecting); !errors.Is(err, ErrRefused) {
		t.Errorf("mark by the old assignment: %v, want a refusal", err)
	}
	if _, err := l.Settle(t.Context(), old, Settlement{}); !errors.Is(err, ErrRefused) {
		t.Errorf("settle by the old assignment: %v, want a refusal", err)
	}
	settle(t, l, a, false)
}

func TestADeviceIsNotSealedUnproved(t *testing.T) {
	l := open(t, create(t))
	openBatch(t, l, generated(), 10)
	a := assign(t, l, sight(generated(), "SN1", "H1"), "PASSWORD")
	if _, err := l.Settle(t.Context(), a, Settlement{Sealed: true, Proof: "login"}); !errors.Is(err, ErrRefused) {
		t.Errorf("sealed without injecting: %v, want a refusal", err)
	}
	mark(t, l, a, Injecting)
	if _, err := l.Settle(t.Context(), a, Settlement{Sealed: true}); !errors.Is(err, ErrRefused) {
		t.Errorf("sealed without proof: %v, want a refusal", err)
	}
}

// TestWhatACrashLeftIsSettledAtOpen leaves an attempt open at each mark.
func TestWhatACrashLeftIsSettledAtOpen(t *testing.T) {
	for _, tt := range []struct {
		name  string
		marks []Mark
		want  DeviceState
		do    Do // afterwards
	}{
		{"after assign", nil, Burned, DoProvision},
		{"after injecting", []Mark{Injecting}, Burned, DoProvision},
		{"after labelling", []Mark{Injecting, Labelling}, Burned, DoProvision},
		{"after locking", []Mark{Injecting, Labelling, Locking}, Doubtful, DoProve},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := create(t)
			l := open(t, dir)
			p := generated()
			openBatch(t, l, p, 1)
			a := assign(t, l, sight(p, "SN1", "H1"), "PASSWORD")
			mark(t, l, a, tt.marks...)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = open(t, dir)
			d, err := l.Device(t.Context(), p.ID, "SN1")
			if err != nil || d.State != tt.want || d.Attempts[0].Outcome != tt.want {
				t.Errorf("device is %s, attempt %s, %v, want %s", d.State, d.Attempts[0].Outcome, err, tt.want)
			}
			if c, err := l.Interlock(t.Context(), sight(p, "SN1", "H1")); err != nil || c.Do != tt.do {
				t.Errorf("interlock says %s, %v, want %s", c.Do, err, tt.do)
			}
			if check := clean(t, l); check.Open != 0 {
				t.Errorf("%d attempts are open, want none", check.Open)
			}
			if _, err := l.Settle(t.Context(), a, Settlement{}); !errors.Is(err, ErrRefused) {
				t.Errorf("settle what was settled at open: %v, want a refusal", err)
			}
		})
	}
}

func TestTextsFromOutsideAreBounded(t *testing.T) {
	l := open(t, create(t))
	openBatch(t, l, generated(), 10)
	long := strings.Repeat("é", 4000) + "\xff"
	steps := make([]Step, 200)
	for i := range steps {
		steps[i] = Step{Name: long, Err: long}
	}
	a := assign(t, l, Sight{Product: generated(), Serial: "SN1"}, "PASSWORD")
	if _, err := l.Settle(t.Context(), a, Settlement{Reason: long, Firmware: long, Proof: long, Steps: steps}); err != nil {
		t.Fatal(err)
	}
	d, err := l.Device(t.Context(), "cam", "SN1")
	if err != nil {
		t.Fatal(err)
	}
	at := d.Attempts[0]
	if len(at.Steps) != maxSteps || len(at.Steps[0].Err) > maxText || len(at.Reason) > maxText || len(at.Firmware) > maxText {
		t.Errorf("%d steps, texts of %d, %d and %d bytes, want at most %d and %d", len(at.Steps), len(at.Steps[0].Err), len(at.Reason), len(at.Firmware), maxSteps, maxText)
	}
}

func TestADeviceHasOnlySoManyAttempts(t *testing.T) {
	l := open(t, create(t))
	openBatch(t, l, generated(), 10)
	s := sight(generated(), "SN1", "H1")
	steps := make([]Step, maxSteps)
	for i := range steps {
		steps[i] = Step{Name: strings.Repeat("n", maxText), Err: strings.Repeat("e", maxText)}
	}
	for n := range maxAttempts {
		a := assign(t, l, s, "PASSWORD "+strings.Repeat("x", n))
		if _, err := l.Settle(t.Context(), a, Settlement{Steps: steps}); err != nil {
			t.Fatal(err) // the record must fit to the end
		}
	}
	if _, err := l.Interlock(t.Context(), s); !errors.Is(err, ErrRefused) {
		t.Errorf("attempt %d: %v, want a refusal", maxAttempts+1, err)
	}
	clean(t, l)
}

// TestWhatACrashLeftOfAnImportedDevice leaves an attempt at a row open at each
// mark, with a hardware id and without.
func TestWhatACrashLeftOfAnImportedDevice(t *testing.T) {
	for _, tt := range []struct {
		name  string
		hard  string
		marks []Mark
		want  DeviceState
		do    Do // for the same hardware id afterwards
	}{
		{"after assign", "H1", nil, Kept, DoProvision},
		{"after injecting", "H1", []Mark{Injecting}, Kept, DoProvision},
		{"after labelling", "H1", []Mark{Injecting, Labelling}, Kept, DoProvision},
		{"after locking", "H1", []Mark{Injecting, Labelling, Locking}, Doubtful, DoProve},
		{"after assign, no hardware id", "", nil, Kept, DoProvision},
		{"after injecting, no hardware id", "", []Mark{Injecting}, Burned, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, rows := create(t), newTestRows()
			l := openWith(t, dir, newTestKeys("a"), rows, small())
			admit(t, l, batchOf(camera(), "B1"), threeRows)
			if _, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "B1"}); err != nil {
				t.Fatal(err)
			}
			a := begin(t, l, "SN1", tt.hard)
			defer a.close()
			mark(t, l, a, tt.marks...)
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = openWith(t, dir, newTestKeys("a"), rows, small())
			if d := device(t, l, "SN1"); d.State != tt.want {
				t.Errorf("device is %s, want %s", d.State, tt.want)
			}
			c, err := l.Interlock(t.Context(), sight(camera(), "SN1", tt.hard))
			if c.Do != tt.do || (err == nil) != (tt.do != "") {
				t.Errorf("interlock says %q, %v, want %q", c.Do, err, tt.do)
			}
			if _, err := l.Interlock(t.Context(), sight(camera(), "SN1", "H2")); !errors.Is(err, ErrRefused) {
				t.Errorf("interlock of another hardware id: %v, want a refusal", err)
			}
			clean(t, l)
		})
	}
}

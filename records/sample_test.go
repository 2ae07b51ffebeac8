package records

import (
	"errors"
	"testing"
)

// TestEachSealIsCountedOnceWithItsProbe takes devices to a seal in each way there
// is, and to other ends.
func TestEachSealIsCountedOnceWithItsProbe(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 10)
	for _, tt := range []struct {
		name          string
		do            func()
		seals, probed int
	}{
		{"sealed, not probed", func() { seal(t, l, sight(p, "SN1", "H1"), "PASSWORD-1") }, 1, 0},
		{"sealed, probed", func() { settle(t, l, probed(t, l, sight(p, "SN2", "H2"), "PASSWORD-2"), true) }, 2, 1},
		{"probed, then failed", func() { settle(t, l, probed(t, l, sight(p, "SN3", "H3"), "PASSWORD-3"), false) }, 2, 1},
		{"probed, then in doubt", func() {
			a := probed(t, l, sight(p, "SN4", "H4"), "PASSWORD-4")
			mark(t, l, a, Locking)
			settle(t, l, a, false)
		}, 2, 1},
		{"the same, proved", func() { see(t, l, p, "SN4") }, 3, 2},
		{"the same, proved again", func() { see(t, l, p, "SN4") }, 3, 2},
		{"rework ordered", func() { order(t, l, "SN2", Reprovision) }, 3, 2},
		{"rework untouched", func() { settle(t, l, assign(t, l, sight(p, "SN2", "H2"), "PASSWORD-5"), false) }, 3, 2},
		{"rework sealed", func() { seal(t, l, sight(p, "SN2", "H2"), "PASSWORD-6") }, 4, 2},
	} {
		tt.do()
		b, err := l.Batch(t.Context(), "B1")
		if err != nil || b.Seals != tt.seals || b.Probed != tt.probed {
			t.Errorf("%s: %d of %d seals are probed, %v, want %d of %d", tt.name, b.Probed, b.Seals, err, tt.probed, tt.seals)
		}
		clean(t, l)
	}
}

// TestASampleCountsWhatMayStillBeSealed looks at what an assignment tells a slot.
func TestASampleCountsWhatMayStillBeSealed(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 10)
	settle(t, l, probed(t, l, sight(p, "SN1", "H1"), "PASSWORD-1"), true)
	doubtful := assign(t, l, sight(p, "SN2", "H2"), "PASSWORD-2")
	mark(t, l, doubtful, Injecting, Locking)
	settle(t, l, doubtful, false)
	other := probed(t, l, sight(p, "SN3", "H3"), "PASSWORD-3")
	a := assign(t, l, sight(p, "SN4", "H4"), "PASSWORD-4")
	if want := (Sample{Probed: 1, Seals: 4}); a.Sample != want {
		t.Errorf("sample is %+v, want %+v: one sealed, one in doubt, two open", a.Sample, want)
	}
	settle(t, l, other, false)
	settle(t, l, a, false)
	if err := l.SetProbed(t.Context(), a); !errors.Is(err, ErrRefused) {
		t.Errorf("probed after it was settled: %v, want a refusal", err)
	}
}

// probed begins an attempt at a device that was probed.
func probed(t testing.TB, l *Ledger, s Sight, password string) *Assignment {
	t.Helper()
	a := assign(t, l, s, password)
	mark(t, l, a, Injecting)
	if err := l.SetProbed(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	return a
}

func see(t testing.TB, l *Ledger, p Product, serial string) {
	t.Helper()
	if got, err := l.Seen(t.Context(), p, serial, "login", Where{}); err != nil || got != Sealed {
		t.Fatalf("seen: %s, %v, want sealed", got, err)
	}
}

package records

import (
	"errors"
	"slices"
	"testing"
)

// relabelling is a ledger with a sealed device, label 1, that is to be relabelled.
func relabelling(t testing.TB) (*Ledger, Product) {
	t.Helper()
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 10)
	seal(t, l, sight(p, "SN1", "H1"), "PASSWORD-1")
	order(t, l, "SN1", Relabel)
	return l, p
}

func relabel(t testing.TB, l *Ledger, want string) {
	t.Helper()
	if got, err := l.SetRelabelMark(t.Context(), generated(), "SN1"); err != nil || got != want {
		t.Fatalf("relabel: label %s, %v, want %s", got, err, want)
	}
}

func labels(t testing.TB, l *Ledger, want ...string) {
	t.Helper()
	d := device(t, l, "SN1")
	if got := d.Labels(); !slices.Equal(got, want) {
		t.Errorf("labels that may exist are %v, want %v", got, want)
	}
}

// TestARelabelIsDoneOnceItsLabelWasMarkedAndTheDeviceProved also when the device
// is only proved, because the order came when it was in the slot already.
func TestARelabelIsDoneOnceItsLabelWasMarkedAndTheDeviceProved(t *testing.T) {
	l, p := relabelling(t)
	see(t, l, p, "SN1")
	if c, err := l.Interlock(t.Context(), sight(p, "SN1", "H1")); err != nil || c.Do != DoRelabel {
		t.Errorf("proved, no label marked: %s, %v, want to relabel still", c.Do, err)
	}
	relabel(t, l, "2")
	if _, err := l.Seen(t.Context(), p, "SN1", "", Where{}); err != nil {
		t.Fatal(err)
	}
	if c, err := l.Interlock(t.Context(), sight(p, "SN1", "H1")); err != nil || c.Do != DoRelabel || c.Device.Rework.Mark != Labelling {
		t.Errorf("marked, not proved: %s, %v, want to relabel still", c.Do, err)
	}
	see(t, l, p, "SN1")
	c, err := l.Interlock(t.Context(), sight(p, "SN1", "H1"))
	if err != nil || c.Do != DoProve || len(c.Device.Relabelled) != 1 {
		t.Fatalf("both: %s, %v, want it done and remembered", c.Do, err)
	}
	if r := c.Device.Relabelled[0]; r.Label != "2" || r.Attempt != 1 || r.Done.IsZero() {
		t.Errorf("remembered is %+v, want label 2 of attempt 1, done", r)
	}
	clean(t, l)
}

// TestEveryLabelOfARelabelThatMayExistIsNamed until a label was printed for sure,
// whatever becomes of the order.
func TestEveryLabelOfARelabelThatMayExistIsNamed(t *testing.T) {
	l, p := relabelling(t)
	labels(t, l, "1")
	relabel(t, l, "2")
	labels(t, l, "1", "2")
	relabel(t, l, "3") // 2 was cut off
	labels(t, l, "1", "2", "3")
	order(t, l, "SN1", Relabel)
	labels(t, l, "1", "2", "3")
	see(t, l, p, "SN1")
	labels(t, l, "1", "2", "3")
	relabel(t, l, "4")
	see(t, l, p, "SN1")
	labels(t, l, "4")

	order(t, l, "SN1", Relabel)
	relabel(t, l, "5")
	order(t, l, "SN1", Reprovision) // instead
	labels(t, l, "4", "5")
	a := assign(t, l, sight(p, "SN1", "H1"), "PASSWORD-2") // label 6
	mark(t, l, a, Injecting, Labelling)
	settle(t, l, a, false)
	labels(t, l, "4", "5", "6")
	seal(t, l, sight(p, "SN1", "H1"), "PASSWORD-3")
	labels(t, l, "7")
	clean(t, l)
}

func TestARestoreForgetsNoLabelOfARelabel(t *testing.T) {
	l, _ := relabelling(t)
	relabel(t, l, "2")
	if err := l.eachDevice(t.Context(), "", freeze); err != nil {
		t.Fatal(err)
	}
	if d := device(t, l, "SN1"); d.Rework != nil {
		t.Errorf("order is %+v, want none: it may have been carried out", d.Rework)
	}
	labels(t, l, "1", "2")
}

func TestALabelIsMarkedOnlyUnderAnOrder(t *testing.T) {
	l, p := relabelling(t)
	seal(t, l, sight(p, "SN2", "H2"), "PASSWORD-2")
	order(t, l, "SN2", Refurbish)
	for _, serial := range []string{"SN2", "SN9"} {
		if _, err := l.SetRelabelMark(t.Context(), p, serial); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: %v, want a refusal", serial, err)
		}
	}
}

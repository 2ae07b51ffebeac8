package records

import (
	"errors"
	"testing"
)

func TestReworkOfADeviceThatWasNeverMadeHintsAtANewBatch(t *testing.T) {
	l := admitted(t)
	order := func() error {
		_, err := l.OrderRework(t.Context(), "", "SN1", Rework{Kind: Relabel, Reason: "test"}, Actor{Name: "ann", Supervisor: true})
		return err
	}
	refused(t, order(), "device is waiting, want sealed or doubtful")
	if _, err := l.CloseBatch(t.Context(), "B1", Actor{Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	err := order()
	refused(t, err, "device was never made, and can't be any more: batch B1 is closed")
	var r *Refusal
	if !errors.As(err, &r) || r.Hint != "import a new batch, with new values and another serial" {
		t.Errorf("hint of %v is wrong", err)
	}
}

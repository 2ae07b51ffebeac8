package station

import (
	"context"
	"errors"
	"math"
	"slices"
)

// planReset decides whether this device is probed by a factory reset (R-PW-08).
func (j *job) planReset() {
	if j.product().ResetShare == 0 {
		return
	}
	if !due(j.product().ResetShare, j.assigned.Ordinal) && j.s.owed != j.clear.Batch {
		return
	}
	// A device that fails before its probe leaves it to the next one in the slot.
	j.s.owed = j.clear.Batch
	j.plan = slices.Insert(j.plan, slices.Index(j.plan, stepProve)+1, stepReset)
}

// due spreads exactly share of a batch over it, beginning with its first device.
func due(share float64, ordinal int) bool {
	if ordinal < 0 {
		return false
	}
	const whole = 1_000_000 // in whole numbers, so that no rounding adds up
	part := int64(math.Round(share * whole))
	upTo := func(n int) int64 { return (int64(n)*part + whole - 1) / whole }
	return upTo(ordinal+1) > upTo(ordinal)
}

// proveReset repeats the proof after a factory reset, with the whole dictionary.
// A device that fails it is not alone: it stops the line for the product.
func (j *job) proveReset(ctx context.Context) error {
	err := j.prove(ctx)
	if err == nil {
		err = j.refuseOld(ctx)
	}
	if err == nil {
		err = j.refuseAll(ctx, "universal", j.product().Universal)
	}
	if err == nil {
		j.s.owed, j.probed = "", true
		return nil
	}
	if j.link.lost() || errors.Is(err, ErrAnother) {
		return err // it says nothing about the product
	}
	j.s.owed = ""
	return errors.Join(
		Faultf("stop the line for this product and call quality: a factory reset undoes its credentials; its batch is held",
			"C-RESET: after a factory reset: %w", err),
		j.hold(ctx, "C-RESET: a factory reset undoes the credentials"))
}

package station

import (
	"context"
	"errors"
	"math"
	"slices"

	"mintmark/records"
)

// planReset decides whether this device is probed by a factory reset (R-PW-08): it
// is if without it fewer of the batch's seals than the share would be probed. The
// ledger counts, so restarts and other slots change nothing; a device that fails
// leaves its probe to the next one, wherever that is. Nothing of a trial is ever
// sealed, so there each device is probed.
func (j *job) planReset() {
	if short(j.product().ResetShare, j.assigned.Sample) {
		j.plan = slices.Insert(j.plan, slices.Index(j.plan, stepProve)+1, stepReset)
	}
}

// short reports whether less than share of a sample is probed.
func short(share float64, s records.Sample) bool {
	const whole = 1_000_000 // in whole numbers, so that no rounding adds up
	return int64(s.Probed)*whole < int64(math.Round(share*whole))*int64(s.Seals)
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
	if err == nil || j.link.lost() || errors.Is(err, ErrAnother) {
		return err // what another device does, or none, says nothing about the product
	}
	return errors.Join(
		Faultf("stop the line for this product and call quality: a factory reset undoes its credentials; its batch is held",
			"C-RESET: after a factory reset: %w", err),
		j.hold(ctx, "C-RESET: a factory reset undoes the credentials"))
}

// setProbed makes the probe a durable fact.
func (j *job) setProbed(ctx context.Context) error {
	return j.s.ledger("set probed", func() error { return j.s.cfg.Ledger.SetProbed(ctx, j.assigned) })
}

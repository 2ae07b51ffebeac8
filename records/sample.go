package records

import "context"

// SetProbed makes the durable fact that the attempt's device was probed by a
// factory reset, which a crash after it must not undo: nobody could probe the
// device again once it is locked.
func (l *Ledger) SetProbed(ctx context.Context, a *Assignment) error {
	return l.commit(ctx, func(t *txn) error {
		d, at, err := openAttempt(t, a)
		if err != nil {
			return err
		}
		at.Probed = true
		return putDevice(t, d.standing(), d)
	})
}

// sampleOf is the sample of a batch in which a slot decides whether to probe.
func sampleOf(g getter, batch string) (Sample, error) {
	b, err := batchNamed(g, batch)
	if err != nil {
		return Sample{}, err
	}
	return Sample{Probed: b.Probed, Seals: b.Seals + b.Doubtful + b.Assigned}, nil
}

// countSeal counts an attempt that just ended, if it ended in a seal.
func countSeal(t *txn, at *Attempt) error {
	if at.Outcome != Sealed {
		return nil
	}
	at.Counted = true
	return recount(t, at.Batch, func(b *batchRecord) { b.countSeal(at) })
}

func (b *batchRecord) countSeal(at *Attempt) {
	b.Seals++
	if at.Probed {
		b.Probed++
	}
}

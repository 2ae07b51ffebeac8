package records

import "context"

// SetRelabelMark makes the durable mark before a device in relabelling gets its
// label printed, and returns the number to print on it. Each print has a number of
// its own: whatever happens next, the record names the label that may exist.
func (l *Ledger) SetRelabelMark(ctx context.Context, p Product, serial string) (label string, err error) {
	err = l.commit(ctx, func(t *txn) error {
		d, err := getDevice(t, p.ID, serial)
		if err != nil {
			return err
		}
		if d == nil || d.Rework == nil || d.Rework.Kind != Relabel || d.holds() == nil {
			return refuse("put the device in again", "no relabel of the device is ordered any more")
		}
		if label, err = nextLabel(t); err != nil {
			return err
		}
		d.keepLabel()
		d.Rework.Mark, d.Rework.Label, d.Rework.Attempt = Labelling, label, d.holds().Number
		return putDevice(t, d.standing(), d)
	})
	return label, err
}

// maxRelabelled is how many labels of relabelling a record remembers.
const maxRelabelled = 20

// keepLabel remembers the label of a relabel that is done, is tried again, or
// gives way to another order.
func (d *Device) keepLabel() {
	if d.Rework == nil || d.Rework.Mark != Labelling {
		return
	}
	d.Relabelled = append(d.Relabelled, *d.Rework)
	d.Relabelled = d.Relabelled[max(0, len(d.Relabelled)-maxRelabelled):]
}

// Labels returns the printed numbers of the labels that exist or may exist of the
// device, oldest first. Those before its last seal or relabel are left out: they
// were named for destruction then.
func (d *Device) Labels() (all []string) {
	reprints := d.Relabelled
	if d.Rework != nil && d.Rework.Mark == Labelling {
		reprints = append(reprints[:len(reprints):len(reprints)], *d.Rework)
	}
	for _, a := range d.Attempts {
		switch {
		case a.Outcome == Sealed:
			all = []string{a.Label}
		case a.Mark == Labelling || a.Mark == Locking:
			all = append(all, a.Label)
		}
		for _, r := range reprints {
			switch {
			case r.Attempt != a.Number || r.Mark != Labelling:
			case !r.Done.IsZero():
				all = []string{r.Label}
			default:
				all = append(all, r.Label)
			}
		}
	}
	return all
}

package records

import (
	"bytes"
	"context"
	"errors"
	"slices"
)

// frozenCounter stands before the number of a serial counter that must not be
// used, because devices may have been numbered since the backup.
var frozenCounter = []byte("!")

// newEpoch takes back what a restored ledger can't know to be still so.
func (l *Ledger) newEpoch(ctx context.Context) error {
	if err := l.commit(ctx, func(t *txn) error {
		t.set([]byte{keyMeta}, encode(t.g.l.meta))
		return nil
	}); err != nil {
		return err
	}
	if err := l.eachDevice(ctx, "", freeze); err != nil {
		return err
	}
	if err := l.eachBatch(ctx, "", (*batchRecord).freeze); err != nil {
		return err
	}
	return l.freezeCounters(ctx)
}

// freezeCounters stops the serial counter of every product, also of one that had
// not begun to count.
func (l *Ledger) freezeCounters(ctx context.Context) error {
	counters := map[string][]byte{}
	if err := l.view(func(r reader) error {
		if err := r.scan([]byte{keyBatch}, func(_, val []byte) error {
			b, err := decode[batchRecord](val)
			if err == nil {
				counters[string(counterKey(b.Product))] = []byte("0")
			}
			return err
		}); err != nil {
			return err
		}
		return r.scan([]byte{keyCounter}, func(key, val []byte) error {
			counters[string(key)] = bytes.TrimPrefix(bytes.Clone(val), frozenCounter)
			return nil
		})
	}); err != nil {
		return err
	}
	return l.commit(ctx, func(t *txn) error {
		for key, n := range counters {
			t.set([]byte(key), slices.Concat(frozenCounter, n))
		}
		return nil
	})
}

// freeze holds back the rows of a batch whose devices have no record: those of
// devices that have one are frozen with them, before.
func (b *batchRecord) freeze() {
	if b.Waiting > 0 {
		b.RowsFrozen = true
		b.Frozen, b.Waiting = b.Frozen+b.Waiting, 0
	}
}

// thaw is freeze, back.
func (b *batchRecord) thaw() {
	if b.RowsFrozen {
		b.RowsFrozen = false
		b.Frozen, b.Waiting = 0, b.Waiting+b.Frozen
	}
}

// eachBatch changes every batch of a product, or of all, in one operation each.
func (l *Ledger) eachBatch(ctx context.Context, product string, f func(*batchRecord)) error {
	batches, err := l.batchRecords()
	if err != nil {
		return err
	}
	for _, b := range batches {
		if product != "" && b.Product != product {
			continue
		}
		if err := l.commit(ctx, func(t *txn) error {
			b, err := getBatch(t, b.Number)
			if err == nil {
				f(b)
				putBatch(t, b)
			}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// freeze burns an open attempt and holds back a row that waits. An order of
// rework may have been carried out, so it is to be given again, with a new row
// where it needs one.
func freeze(t *txn, d *Device) error {
	was := d.standing()
	switch d.State {
	case Sealed, Doubtful:
		if d.Rework == nil {
			return nil
		}
		d.keepLabel()
		d.Rework = nil
		if at := d.holds(); at != nil && at.Batch == d.Batch {
			d.Row = at.Row
		}
	case Waiting, Kept:
		d.State, d.Rework = Frozen, nil
	case Assigned:
		d.Rework = nil
		at := d.open()
		at.End, at.Outcome, at.Reason = t.now(), Burned, "the ledger was restored during the attempt"
		d.State = Burned
		d.fate(at, true)
	default:
		if d.Rework == nil {
			return nil
		}
		d.Rework = nil
	}
	return putDevice(t, was, d)
}

// Thaw frees frozen rows and the serial counter of a product after a restore.
// Provisioned lists its serials that were provisioned since the backup, from the
// MES, labels or the log of a witness: their rows are burned, the others wait
// again. One that the ledger doesn't know is recorded as sealed, so that it is
// never taken for a new device. Thawing again with a longer list is fine for
// rows that are still frozen.
func (l *Ledger) Thaw(ctx context.Context, product string, provisioned []string, by Actor) (freed, burned int, err error) {
	if !by.Supervisor {
		return 0, 0, refuse("ask a supervisor", "freeing rows needs a supervisor")
	}
	gone := map[string]bool{}
	for _, s := range provisioned {
		if _, err := ParseSerial(s); err != nil {
			return 0, 0, refuse("correct the list", "%v", err)
		}
		gone[s] = true
	}
	if burned, err = l.burnGone(ctx, product, provisioned); err != nil {
		return 0, burned, err
	}
	err = l.eachDevice(ctx, product, func(t *txn, d *Device) error {
		if d.State != Frozen {
			return nil
		}
		was := d.standing()
		d.State = Waiting
		if len(d.ofRow()) > 0 {
			d.State = Kept
		}
		freed++
		return putDevice(t, was, d)
	})
	if err != nil {
		return freed, burned, err
	}
	if err := l.eachBatch(ctx, product, func(b *batchRecord) {
		if b.RowsFrozen {
			freed += b.Frozen
		}
		b.thaw()
	}); err != nil {
		return freed, burned, err
	}
	return freed, burned, l.commit(ctx, func(t *txn) error {
		val, found, err := t.get(counterKey(product))
		if !found {
			val = []byte("0") // the product is newer than the backup
		}
		t.set(counterKey(product), bytes.TrimPrefix(val, frozenCounter))
		return err
	})
}

// burnGone burns what was provisioned since the backup, before anything is freed.
func (l *Ledger) burnGone(ctx context.Context, product string, serials []string) (burned int, err error) {
	for part := range slices.Chunk(serials, 100) {
		n := 0
		if err := l.commit(ctx, func(t *txn) error {
			n = 0
			for _, s := range part {
				d, err := getDevice(t, product, s)
				if err != nil {
					return err
				}
				if d == nil {
					d = &Device{Product: product, Serial: s, State: Sealed}
					if err := putDevice(t, standing{}, d); err != nil {
						return err
					}
				}
				was := d.standing()
				if d.State == Burned && d.Row == 0 { // sealed since, with values that nobody knows here
					d.State = Sealed
					if err := putDevice(t, was, d); err != nil {
						return err
					}
				}
				if d.State != Frozen {
					continue
				}
				d.State = Burned
				for _, at := range d.ofRow() {
					at.Outcome = Burned
					d.fate(at, false)
				}
				n++
				if err := putDevice(t, was, d); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return burned, err
		}
		burned += n
	}
	return burned, nil
}

// eachDevice runs f on every device of a product, or of all, many to an
// operation.
func (l *Ledger) eachDevice(ctx context.Context, product string, f func(*txn, *Device) error) error {
	prefix := []byte{keyDevice}
	if product != "" {
		prefix = deviceKey(product, "")
	}
	for from := prefix; ; {
		var keys [][]byte
		size := 0
		if err := l.view(func(r reader) error {
			return r.scanFrom(prefix, from, func(key, val []byte) error {
				keys = append(keys, bytes.Clone(key))
				if size += len(val); size > maxBytes/4 || len(keys) == 100 {
					return errStop
				}
				return nil
			})
		}); err != nil && !errors.Is(err, errStop) {
			return err
		}
		if len(keys) == 0 {
			return nil
		}
		if err := l.commit(ctx, func(t *txn) error { return runEach(t, keys, f) }); err != nil {
			return err
		}
		from = append(keys[len(keys)-1], 0)
	}
}

func runEach(t *txn, keys [][]byte, f func(*txn, *Device) error) error {
	for _, key := range keys {
		val, found, err := t.get(key)
		if err != nil || !found {
			return err
		}
		d, err := decode[Device](val)
		if err != nil {
			return err
		}
		if err := f(t, d); err != nil {
			return err
		}
	}
	return nil
}

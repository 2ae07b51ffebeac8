package records

import (
	"context"
	"errors"
	"fmt"
)

// CloseBatch ends a batch: it waits in state closing until no attempt is open,
// then destroys the key of its waiting rows as far as the authority can. Closing
// again goes on with a closing that was cut off.
func (l *Ledger) CloseBatch(ctx context.Context, name string, by Actor) (Batch, error) {
	b, err := l.changeBatch(ctx, func(t *txn) (*batchRecord, error) {
		b, err := batchNamed(t, name)
		if err != nil {
			return nil, err
		}
		switch b.State {
		case Checking, Rejected:
			return nil, refuse("", "batch %s is %s", name, b.State)
		case Admitted, Opened, Held:
			b.State, b.Reason = Closing, "closed by "+by.Name
		}
		return b, nil
	})
	if err != nil {
		return Batch{}, err
	}
	if err := l.finishClosing(ctx, b.Number); err != nil {
		return Batch{}, err
	}
	return l.Batch(ctx, name)
}

// finishClosing destroys the row keys of a closing batch that has no open
// attempt, then its row files, and only then says that it is closed. It may be
// cut off anywhere and done again, also by two at once.
func (l *Ledger) finishClosing(ctx context.Context, number uint32) error {
	var b *batchRecord
	if err := l.view(func(r reader) (err error) { b, err = getBatch(r, number); return err }); err != nil {
		return err
	}
	if b.State != Closing || b.Assigned > 0 {
		return nil
	}
	shredded, err := l.shred(ctx, b)
	if err != nil {
		return fmt.Errorf("close batch %s: %w", b.Name, err)
	}
	return l.commit(ctx, func(t *txn) error {
		b, err := getBatch(t, number)
		if err != nil || b.State != Closing {
			return err
		}
		for i := range b.Imports {
			b.Imports[i].Object, b.Imports[i].Key = "", nil
		}
		b.State, b.Shredded = Closed, shredded
		putBatch(t, b)
		return nil
	})
}

// shred destroys the row keys of a batch, then its row files. It says whether
// the rows are beyond recovery, or nil if there were none.
func (l *Ledger) shred(ctx context.Context, b *batchRecord) (shredded *bool, err error) {
	for _, rec := range b.Imports {
		if rec.Object == "" {
			continue
		}
		if l.rows == nil {
			return nil, errNoRowKeys
		}
		if err := l.durable("destroy row key", func() error {
			gone, err := l.rows.Shred(ctx, rec.Object)
			gone = gone && (shredded == nil || *shredded)
			shredded = &gone
			return err
		}); err != nil {
			return nil, err
		}
	}
	for _, rec := range b.Imports {
		if rec.Object != "" {
			err = errors.Join(err, l.removeRows(l.rowPath(b.Number, rec.First)))
		}
	}
	return shredded, err
}

// closeIdle goes on with the closing of a batch whose last open attempt was
// settled.
func (l *Ledger) closeIdle(ctx context.Context, batch string) {
	var b *batchRecord
	if err := l.view(func(r reader) (err error) { b, err = batchNamed(r, batch); return err }); err == nil && b.State == Closing {
		l.tryClosing(ctx, b.Number)
	}
}

// tryClosing is finishClosing where nobody waits for it. A closing that fails is
// tried again by the next CloseBatch or Open.
func (l *Ledger) tryClosing(ctx context.Context, number uint32) {
	if err := l.finishClosing(ctx, number); err != nil {
		l.opts.Log.WarnContext(ctx, "batch not closed yet", "batch_number", number, "err", err)
	}
}

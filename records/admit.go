package records

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// writeChunk is how many claims or devices an import writes in one operation:
// few enough that a live claim waits for milliseconds only.
const writeChunk = 2000

// admit makes the import real: its claims and devices are written in chunks
// while it doesn't count yet, and one last commit makes it count. After an error
// nothing of it is left, or the ledger is broken and the next open sweeps it. An
// error that matches ErrReused means that someone was faster.
func (im *importing) admit(ctx context.Context) error {
	if err := im.l.space.spare(im.room()); err != nil {
		return err
	}
	if im.in.rows != nil && im.rec.Object == "" {
		if err := im.in.rows.finish(&im.rec); err != nil {
			return err
		}
	}
	err := im.write(ctx)
	if err == nil {
		im.in.rows = nil // they are the batch's now
		return im.applyReplacement(ctx)
	}
	if uerr := im.l.abandon(context.WithoutCancel(ctx), im.number, im.rec.First, err); uerr != nil {
		im.in.rows = nil // it may have been admitted all the same: only the next open can tell
		return errors.Join(err, uerr)
	}
	return err
}

// entrySize is about what a claim takes in a table.
const entrySize = 60

// room is what the ledger may grow by until the import is admitted or, the other
// way, taken back.
func (im *importing) room() int64 {
	entries := len(im.in.claims) + len(im.in.wide) + 2*im.rec.Rows // devices are about twice as large
	return int64(2*entries*entrySize) + logSize + tableRoom
}

func (im *importing) write(ctx context.Context) error {
	if err := im.l.commitNew(ctx, im.begin); err != nil {
		return err
	}
	for part := range slices.Chunk(im.in.claims, im.l.imports.chunk) {
		if err := im.l.commitNew(ctx, func(t *txn) error { return im.claim(t, part) }); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(im.in.wide, im.l.imports.chunk) {
		if err := im.l.commitNew(ctx, func(t *txn) error {
			for _, e := range part {
				t.noteWide(e.index, im.owner(e))
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if !im.r.History && !im.r.Replace {
		for first := 1; first <= im.rec.Rows; first += im.l.imports.chunk {
			last := min(first+im.l.imports.chunk-1, im.rec.Rows)
			if err := im.l.commitNew(ctx, func(t *txn) error { return im.devices(t, first, last) }); err != nil {
				return err
			}
		}
	}
	return im.l.commitNew(ctx, im.finish)
}

// begin puts the batch, or the replacement of a batch, into the ledger as one
// that doesn't count.
func (im *importing) begin(t *txn) error {
	if err := t.pinScopes(im.r.Product); err != nil {
		return err
	}
	if !im.r.Replace {
		b := im.batch(t, Checking)
		b.Imports = []importRecord{im.rec}
		putBatch(t, b)
		t.name(b)
		return nil
	}
	b, err := getBatch(t, im.number)
	if err != nil {
		return err
	}
	if err := b.mayReplace(im.r.Product); err != nil {
		return err
	}
	if slices.ContainsFunc(b.Imports, func(rec importRecord) bool { return rec.First == im.rec.First }) {
		return refuse("import it again", "batch %s has an import from row %d already", b.Name, im.rec.First)
	}
	b.Imports = append(b.Imports, im.rec)
	putBatch(t, b)
	return nil
}

func (im *importing) owner(e entry) ownerRef {
	return ownerRef{Batch: im.number, Row: uint32(im.rec.First) - 1 + e.row, Position: e.place, KeyVersion: im.in.version()}
}

func (im *importing) claim(t *txn, part []entry) error {
	for _, e := range part {
		if err := t.claim(e.index, im.owner(e)); err != nil {
			return err
		}
	}
	return nil
}

// devices writes a device that waits for each of some rows.
func (im *importing) devices(t *txn, from, to int) error {
	for row := from; row <= to; row++ {
		d := Device{
			Product: im.r.Product.ID, Serial: string(im.in.serials.at(uint32(row))),
			State: Waiting, Batch: im.r.Batch, Row: row,
		}
		key := deviceKey(d.Product, d.Serial)
		if _, found, err := t.get(key); err != nil {
			return err
		} else if found {
			return fmt.Errorf("serial of row %d: %w", row, ErrReused)
		}
		t.set(key, encode(d))
	}
	return nil
}

// finish makes the import count.
func (im *importing) finish(t *txn) error {
	b, err := getBatch(t, im.number)
	if err != nil {
		return err
	}
	rec := &b.Imports[len(b.Imports)-1]
	rec.Admitted, rec.Applied = true, !im.r.Replace
	b.Rows += rec.Rows
	b.Claims += rec.Rows * len(rec.Columns)
	switch {
	case im.r.History:
		b.State = Closed // nothing will be made of it
	case !im.r.Replace:
		b.State, b.Waiting, b.Quota = Admitted, rec.Rows, rec.Rows
	}
	putBatch(t, b)
	return t.answer(im.asked, im.rec.Rows, 0)
}

// abandon takes back an import that was not admitted: claims, ledger-wide
// indexes, devices, and last its record. It finds them by reading the whole
// ledger, whoever wrote them and however far they came.
func (l *Ledger) abandon(ctx context.Context, batch uint32, first int, why error) error {
	var b *batchRecord
	if err := l.view(func(r reader) (err error) { b, err = getBatch(r, batch); return err }); errors.Is(err, ErrNotFound) {
		return nil // not even begun
	} else if err != nil {
		return err
	}
	if !slices.ContainsFunc(b.Imports, func(rec importRecord) bool { return rec.First == first && !rec.Admitted }) {
		return nil // a replacement that was not begun
	}
	ours := func(val []byte) (ownerRef, bool) {
		o, err := decodeOwner(val)
		return o, err == nil && o.Batch == batch && int(o.Row) >= first
	}
	if err := l.undo(ctx, []byte{keyClaim}, func(key, val []byte) func(*txn) error {
		if o, ok := ours(val); ok {
			i := Index(key[1:])
			return func(t *txn) error { return t.unclaim(i, o) }
		}
		return nil
	}); err != nil {
		return err
	}
	if err := l.undo(ctx, []byte{keyWide}, func(key, val []byte) func(*txn) error {
		if _, ok := ours(val); ok {
			k := slices.Clone(key)
			return func(t *txn) error { t.del(k); return nil }
		}
		return nil
	}); err != nil {
		return err
	}
	if first == 1 {
		if err := l.undo(ctx, deviceKey(b.Product, ""), func(key, val []byte) func(*txn) error {
			if d, err := decode[Device](val); err == nil && d.Batch == b.Name {
				k := slices.Clone(key)
				return func(t *txn) error { t.del(k); return nil }
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return l.commit(ctx, func(t *txn) error { return forgetImport(t, batch, first, why) })
}

// takeBack abandons what an earlier import into the batch of this name could not
// take back itself, for want of disk. The name is the caller's, so that no import
// under way has it.
func (l *Ledger) takeBack(ctx context.Context, name string) error {
	var b *batchRecord
	err := l.view(func(r reader) (err error) { b, err = batchNamed(r, name); return err })
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, rec := range b.Imports {
		if rec.Admitted {
			continue
		}
		if err := l.abandon(ctx, b.Number, rec.First, errCutOff); err != nil {
			return fmt.Errorf("take back what was left of batch %s: %w", name, err)
		}
		if err := l.discardRows(ctx, l.rowPath(b.Number, rec.First)); err != nil {
			return err
		}
	}
	return nil
}

var errCutOff = errors.New("it was cut off")

// forgetImport takes an import off its batch; a batch that was to begin with it
// is rejected.
func forgetImport(t *txn, batch uint32, first int, why error) error {
	b, err := getBatch(t, batch)
	if err != nil {
		return err
	}
	b.Imports = slices.DeleteFunc(b.Imports, func(rec importRecord) bool { return rec.First == first })
	if first == 1 {
		b.State, b.Reason = Rejected, bound("import did not finish: "+why.Error())
	}
	putBatch(t, b)
	return nil
}

// undo carries out what f returns for the keys with a prefix, in chunks.
func (l *Ledger) undo(ctx context.Context, prefix []byte, f func(key, val []byte) func(*txn) error) error {
	var todo []func(*txn) error
	if err := l.view(func(r reader) error {
		return r.scan(prefix, func(key, val []byte) error {
			if do := f(key, val); do != nil {
				todo = append(todo, do)
			}
			return nil
		})
	}); err != nil {
		return err
	}
	for part := range slices.Chunk(todo, l.imports.chunk) {
		if err := l.commit(ctx, func(t *txn) error {
			for _, do := range part {
				if err := do(t); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// replaceChunk is how many device records are changed in one operation: they may
// be large.
const replaceChunk = 10

func (im *importing) applyReplacement(ctx context.Context) error {
	if !im.r.Replace {
		return nil
	}
	return im.l.applyRows(context.WithoutCancel(ctx), im.number, im.rec)
}

// applyRows gives the burned devices of an admitted replacement their new rows.
// It may be cut off and done again, and ends quietly where the batch does: then
// nothing will be made of them.
func (l *Ledger) applyRows(ctx context.Context, batch uint32, rec importRecord) error {
	b, serials, err := l.rowSerials(batch, rec)
	if ended, verr := l.ended(batch); verr != nil || ended {
		return verr // and with it went its row files
	}
	if err != nil {
		return err
	}
	row := rec.First
	for part := range slices.Chunk(serials, replaceChunk) {
		if err := l.commit(ctx, func(t *txn) error {
			if b, err := getBatch(t, batch); err != nil || b.ended() {
				return err
			}
			for i, serial := range part {
				if err := applyRow(t, b.Product, serial, rec.First, row+i); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
		row += len(part)
	}
	return l.commit(ctx, func(t *txn) error {
		b, err := getBatch(t, batch)
		if err != nil || b.ended() {
			return err
		}
		for i := range b.Imports {
			if b.Imports[i].First == rec.First {
				b.Imports[i].Applied = true
			}
		}
		putBatch(t, b)
		return nil
	})
}

func (b *batchRecord) ended() bool { return b.State == Closing || b.State == Closed }

func (l *Ledger) ended(batch uint32) (ended bool, err error) {
	err = l.view(func(r reader) error {
		b, err := getBatch(r, batch)
		ended = err == nil && b.ended()
		return err
	})
	return ended, err
}

func applyRow(t *txn, product, serial string, first, row int) error {
	d, err := getDevice(t, product, serial)
	if err != nil || d == nil || !d.wantsRow() || d.Row >= first {
		return err // done already
	}
	was := d.standing()
	d.giveRow(row)
	return putDevice(t, was, d)
}

// rowSerials reads the serials of a row file.
func (l *Ledger) rowSerials(batch uint32, rec importRecord) (b *batchRecord, serials []string, err error) {
	if err := l.view(func(r reader) (err error) { b, err = getBatch(r, batch); return err }); err != nil {
		return nil, nil, err
	}
	for row := rec.First; row < rec.First+rec.Rows; row++ {
		serial, _, err := l.readRow(batch, &rec, row)
		if err != nil {
			return nil, nil, fmt.Errorf("row %d of batch %s: %w", row, b.Name, err)
		}
		serials = append(serials, string(serial))
	}
	return b, serials, nil
}

var errInterrupted = errors.New("the station stopped")

// sweep ends what a crash left of imports and closings. What needs the authority
// is tried; if it is away, the next open tries again.
func (l *Ledger) sweep(ctx context.Context) error {
	batches, err := l.batchRecords()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, b := range batches {
		for _, rec := range b.Imports {
			switch {
			case !rec.Admitted:
				if err := l.abandon(ctx, b.Number, rec.First, errInterrupted); err != nil {
					return err
				}
				continue
			case !rec.Applied:
				if err := l.applyRows(ctx, b.Number, rec); err != nil {
					l.opts.Log.WarnContext(ctx, "new rows not given out yet", "batch", b.Name, "err", err)
				}
			}
			if rec.Object != "" {
				keep[l.rowPath(b.Number, rec.First)] = true
			}
		}
	}
	if err := l.sweepRows(ctx, keep); err != nil {
		return err
	}
	for _, b := range batches {
		if b.State == Closing {
			l.tryClosing(ctx, b.Number)
		}
	}
	return nil
}

// sweepRows destroys the row files that no admitted import has.
func (l *Ledger) sweepRows(ctx context.Context, keep map[string]bool) error {
	dir := filepath.Join(l.dir, "rows")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if keep[path] || !strings.Contains(e.Name(), ".rows") {
			continue
		}
		if err := l.discardRows(ctx, path); err != nil {
			l.opts.Log.WarnContext(ctx, "row file kept", "file", e.Name(), "err", err)
		}
	}
	return nil
}

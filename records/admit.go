package records

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"mintmark/records/segment"
)

// admit makes the import real: its claims and serials are written as a segment,
// and one commit makes that count. After an error nothing of it is left, or the
// ledger is broken and the next open sweeps it. An error that matches ErrReused
// means that someone was faster; it is among the objections then.
func (im *importing) admit(ctx context.Context) error {
	if im.in.rows != nil && im.rec.Object == "" {
		if err := im.in.rows.finish(&im.rec); err != nil {
			return err
		}
	}
	if err := im.l.space.spare(im.room()); err != nil {
		return err
	}
	g, rec, err := im.l.makeSegment(im.writeSegment)
	if err != nil {
		return fmt.Errorf("write claims: %w", err)
	}
	g.pending = im.r.Batch
	err = im.enter(ctx, g, rec)
	if err == nil {
		im.in.rows = nil // they are the batch's now
		return im.applyReplacement(ctx)
	}
	if im.l.Err() != nil {
		im.in.rows = nil // it may have been admitted all the same: only the next open can tell
		return err
	}
	return errors.Join(err, im.l.withdraw(ctx), im.l.dropSegment(g))
}

// entrySize is about what a claim with its serial takes in a segment.
const entrySize = 64

// room is what the ledger grows by.
func (im *importing) room() int64 {
	return int64((len(im.in.claims)+len(im.in.wide))*entrySize) + logSize + tableRoom
}

// enter lets the segment compete with claims that are made meanwhile, and makes it
// real if it was first with all of its own.
func (im *importing) enter(ctx context.Context, g *numbered, rec segmentRecord) error {
	if err := im.l.addToFilter(ctx, g, im.in.claims); err != nil {
		return err
	}
	if err := im.compete(ctx, g); err != nil {
		return err
	}
	return im.l.commitNew(ctx, func(t *txn) error {
		if err := im.record(t); err != nil {
			return err
		}
		t.putSegment(g, rec)
		t.count.plus(g.count())
		t.next = t.known().withPending(nil).with(g)
		return nil
	})
}

// compete makes the segment refuse every later claim of its values and every new
// device of its serials, and then looks whether one was made before, since judge
// looked.
func (im *importing) compete(ctx context.Context, g *numbered) error {
	var layers []*layer
	lost := func(e entry) { im.in.objections.add(e.claimed()) }
	if err := im.l.commitNew(ctx, func(t *txn) error {
		for i := range t.g.claims { // of operations just before, in no layer yet
			inEntries(im.in.claims, i, lost)
		}
		t.seal()
		t.next = t.known().withPending(g)
		layers = t.next.sealed()
		return nil
	}); err != nil {
		return err
	}
	for _, layer := range layers {
		if slices.Contains(im.in.judged, layer) {
			continue
		}
		if err := layer.among(ctx, im.in.claims, lost); err != nil {
			return err
		}
	}
	if im.devices() {
		if err := im.l.known(ctx, im.in); err != nil {
			return err
		}
	}
	if im.in.objections.any() {
		return ErrReused
	}
	return nil
}

// devices says whether the import brings devices.
func (im *importing) devices() bool { return !im.r.History && !im.r.Replace }

// addToFilter makes the filter know the indexes of a new segment, before anybody
// may look for them. One that has no room for them is replaced by a larger one.
// It is for the holder of imports.writing.
func (l *Ledger) addToFilter(ctx context.Context, g *numbered, claims []entry) error {
	set, n := l.claims(), g.claims()
	for _, have := range set.segments {
		n += have.claims()
	}
	if n > set.filter.room {
		return l.growFilter(ctx, n, append(slices.Clip(set.segments), g))
	}
	return inParts(claims, func(claims []entry) error {
		for part := range slices.Chunk(claims, yieldEvery) {
			for i := range part {
				set.filter.add(&part[i].index)
			}
			runtime.Gosched()
		}
		return context.Cause(ctx)
	})
}

// growFilter makes a filter for n indexes and half as many again, aside, from the
// segments that it is to know, and then changes to it.
func (l *Ledger) growFilter(ctx context.Context, n int, segments []*numbered) error {
	f, want := newFilter(roomFor(n)), claimCount{}
	for _, g := range segments {
		want.plus(g.count())
	}
	if have, err := fillFilter(ctx, f, segments); err != nil {
		return err
	} else if have != want {
		return fmt.Errorf("filter has %d indexes, want the %d of all segments", have.n, want.n)
	}
	return l.commit(ctx, func(t *txn) error {
		t.next = t.known().copy()
		t.next.filter = f
		return nil
	})
}

// writeSegment writes the claims and the serials of the import.
func (im *importing) writeSegment(path string) (m segment.Manifest, err error) {
	w, err := segment.Create(path)
	if err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Discard())
		}
	}()
	place := im.ranks()
	if err := writeEntries(im.in.claims, place, w.Claims); err != nil {
		return m, err
	}
	sortEntries(im.in.wide)
	if err := writeEntries(im.in.wide, place, w.Wide); err != nil {
		return m, err
	}
	if err := w.Run(im.segmentRun()); err != nil {
		return m, err
	}
	for _, row := range im.in.order {
		if err := w.Owner(im.in.serials.at(row), uint32(im.rec.First)-1+row, 0); err != nil {
			return m, err
		}
	}
	return w.Finish()
}

func (im *importing) segmentRun() segment.Run {
	run := segment.Run{
		Batch: im.number, FirstRow: uint32(im.rec.First), KeyVersion: im.in.version(), Product: im.r.Product.ID,
		Devices: im.devices(),
	}
	for place, spec := range im.r.Product.Credentials {
		if spec.ProductScope {
			run.Narrow = append(run.Narrow, uint8(place))
		}
	}
	return run
}

// ranks returns the place of each row, from 1, in the order of serials.
func (im *importing) ranks() []uint32 {
	if im.in.order == nil {
		im.in.order = im.in.serials.sorted()
	}
	ranks := make([]uint32, 1+len(im.in.order))
	for n, row := range im.in.order {
		ranks[row] = uint32(n)
	}
	return ranks
}

// writeEntries passes entries to a segment, some at a time.
func writeEntries(entries []entry, rank []uint32, write func([]segment.Entry) error) error {
	buf := make([]segment.Entry, 0, yieldEvery)
	for part := range slices.Chunk(entries, yieldEvery) {
		buf = buf[:0]
		for _, e := range part {
			buf = append(buf, segment.Entry{Index: e.index, Owner: rank[e.row], Place: e.place})
		}
		if err := write(buf); err != nil {
			return err
		}
		runtime.Gosched()
	}
	return nil
}

// record is the import as a fact: its batch, or one replacement more of a batch.
func (im *importing) record(t *txn) error {
	if err := t.pinScopes(im.r.Product); err != nil {
		return err
	}
	b := im.batch(t, Admitted)
	if im.r.Replace {
		var err error
		if b, err = getBatch(t, im.number); err != nil {
			return err
		}
		if err := b.mayReplace(im.r.Product); err != nil {
			return err
		}
		if b.Rows+1 != im.rec.First {
			return refuse("import it again", "batch %s got other rows meanwhile", b.Name)
		}
	}
	im.rec.Admitted, im.rec.Applied = true, !im.r.Replace
	b.Imports = append(b.Imports, im.rec)
	b.Rows += im.rec.Rows
	b.Claims += im.rec.Rows * len(im.rec.Columns)
	switch {
	case im.r.History:
		b.State = Closed // nothing will be made of it
	case !im.r.Replace:
		b.Waiting, b.Quota = im.rec.Rows, im.rec.Rows
	}
	putBatch(t, b)
	if !im.r.Replace {
		t.name(b)
	}
	return t.answer(im.asked, im.rec.Rows, 0)
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

// sweep ends what a crash left of imports and closings. What needs the authority
// is tried; if it is away, the next open tries again.
func (l *Ledger) sweep(ctx context.Context) error {
	if err := l.sweepFolded(ctx); err != nil {
		return err
	}
	batches, err := l.batchRecords()
	if err != nil {
		return err
	}
	keep := map[string]bool{}
	for _, b := range batches {
		for _, rec := range b.Imports {
			if !rec.Applied {
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

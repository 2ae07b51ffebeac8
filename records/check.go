package records

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sync/errgroup"

	"mintmark/records/segment"
)

// judge holds an import to itself and to the ledger and adds what it finds to
// its objections. Burned names the batch whose burned devices are to get new rows, for
// a replacement. Claims that are made meanwhile are found by compete.
func (l *Ledger) judge(ctx context.Context, in *intake, history bool, burned string) error {
	if err := l.commit(ctx, func(t *txn) error { t.seal(); return nil }); err != nil {
		return err
	}
	in.judged = l.claims().sealed()
	sortEntries(in.claims)
	sortEntries(in.older)
	in.duplicates()
	for _, entries := range [][]entry{in.claims, in.older} {
		if err := inParts(entries, func(part []entry) error { return l.claimedBefore(ctx, part, in.objections.add) }); err != nil {
			return err
		}
	}
	if history {
		return nil
	}
	return l.judgeSerials(ctx, in, burned)
}

// duplicates finds the values that the file has more than once.
func (in *intake) duplicates() {
	first := 0
	for i, e := range in.claims {
		if f := in.claims[first]; i == 0 || e.index != f.index {
			first = i
		} else {
			in.objections.add(hit{row: e.row, place: int16(e.place), kind: sameFile, first: f.row, other: f.place})
		}
	}
}

// inParts calls f with parts of items, one per processor.
func inParts[T any](items []T, f func(part []T) error) error {
	parts := runtime.GOMAXPROCS(0)
	var g errgroup.Group
	for i := range parts {
		g.Go(func() error { return f(items[len(items)*i/parts : len(items)*(i+1)/parts]) })
	}
	return g.Wait()
}

// claimedBefore finds the entries that the ledger has. They are in the order of
// their indexes.
func (l *Ledger) claimedBefore(ctx context.Context, entries []entry, found func(hit)) error {
	return l.view(func(r reader) error {
		maybe, err := r.set.maybe(ctx, entries)
		if err != nil {
			return err
		}
		for _, g := range slices.Backward(r.set.segments) {
			if maybe, err = g.without(ctx, maybe, found); err != nil {
				return err
			}
		}
		for _, layer := range r.set.sealed() {
			if err := layer.among(ctx, entries, func(e entry) { found(e.claimed()) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// without finds the entries that a segment has, and returns the others in their
// place: nothing is in two segments, so they alone are looked for in the next.
func (g *numbered) without(ctx context.Context, entries []entry, found func(hit)) ([]entry, error) {
	others, from := entries[:0], 0
	err := g.FindSorted(ctx, len(entries), func(i int) [16]byte { return entries[i].index }, func(i int, _ segment.Entry) error {
		found(entries[i].claimed())
		others = append(others, entries[from:i]...)
		from = i + 1
		return nil
	})
	return append(others, entries[from:]...), err
}

func (e entry) claimed() hit {
	return hit{row: e.row, place: int16(e.place), kind: inLedger, index: e.index}
}

// yieldEvery is after how many indexes an import lets others have the processor.
const yieldEvery = 4096

// maybe returns the entries that may be in a segment.
func (s *claimSet) maybe(ctx context.Context, entries []entry) (maybe []entry, err error) {
	for part := range slices.Chunk(entries, yieldEvery) {
		if err := context.Cause(ctx); err != nil {
			return nil, err
		}
		for i := range part {
			if s.filter.maybe(&part[i].index) {
				maybe = append(maybe, part[i])
			}
		}
		runtime.Gosched()
	}
	return maybe, nil
}

// among calls f for the entries, which are in order, that a layer below the top
// has.
func (l *layer) among(ctx context.Context, entries []entry, f func(entry)) error {
	turn := 0
	for i := range l.claims {
		if turn++; turn%yieldEvery == 0 {
			runtime.Gosched()
		}
		if err := sometimes(ctx, turn); err != nil {
			return err
		}
		inEntries(entries, i, f)
	}
	return nil
}

// inEntries calls f for the entries, which are in order, that have an index.
func inEntries(entries []entry, i Index, f func(entry)) {
	n, found := slices.BinarySearchFunc(entries, i, func(e entry, i Index) int { return compareIndexes(e.index, i) })
	for ; found && n < len(entries) && entries[n].index == i; n++ {
		f(entries[n])
	}
}

// sometimes returns why ctx is done, in every thousandth turn of a loop.
func sometimes(ctx context.Context, turn int) error {
	if turn%1000 != 0 {
		return nil
	}
	return context.Cause(ctx)
}

// judgeSerials finds serials that are there twice and those that a device of the
// product has, or, for a replacement, those whose device is not burned.
func (l *Ledger) judgeSerials(ctx context.Context, in *intake, burned string) error {
	rows, first := in.serials.sorted(), 0
	for i, row := range rows {
		serial := in.serials.at(row)
		if i == 0 || len(serial) == 0 || !bytes.Equal(serial, in.serials.at(rows[first])) {
			first = i
		} else {
			in.objections.add(hit{row: row, place: noPlace, kind: serialTwice, first: rows[first]})
		}
	}
	in.order = rows
	if burned != "" {
		return inParts(rows, func(part []uint32) error { return l.judgeBurned(ctx, in, part, burned) })
	}
	return l.known(ctx, in)
}

// known finds the serials that a device of the product has.
func (l *Ledger) known(ctx context.Context, in *intake) error {
	return inParts(in.order, func(part []uint32) error {
		found := func(row uint32) { in.objections.add(hit{row: row, place: noPlace, kind: serialKnown}) }
		return l.view(func(r reader) error {
			for _, run := range r.set.deviceRuns(in.product.ID) {
				if err := run.imported(ctx, part, in.serials.at, found); err != nil {
					return err
				}
			}
			return r.recorded(ctx, in.product.ID, part, in.serials.at, found)
		})
	})
}

// judgeBurned finds the serials whose device needs no new row.
func (l *Ledger) judgeBurned(ctx context.Context, in *intake, rows []uint32, batch string) error {
	return l.view(func(r reader) error {
		for i, row := range rows {
			if err := sometimes(ctx, i); err != nil {
				return err
			}
			d, err := getDevice(r, in.product.ID, string(in.serials.at(row)))
			if err != nil {
				return err
			}
			if d == nil || d.Batch != batch || !d.wantsRow() {
				in.objections.add(hit{row: row, place: noPlace, kind: notBurned})
			}
		}
		return nil
	})
}

// elsewhere counts the product-scope values that the ledger knows in another
// scope. They are reported, never refused.
func (l *Ledger) elsewhere(ctx context.Context, in *intake) (int, error) {
	entries := slices.Concat(in.wide, in.wider)
	sortEntries(entries)
	known := objections{product: in.product}
	if err := l.claimedBefore(ctx, entries, known.add); err != nil {
		return 0, err
	}
	wide := func(e entry) { known.add(hit{row: e.row, place: int16(e.place)}) }
	err := l.view(func(r reader) error {
		for _, g := range r.set.segments {
			if err := g.FindWideSorted(ctx, len(entries), func(i int) [16]byte { return entries[i].index }, func(i int, _ segment.Entry) error {
				wide(entries[i])
				return nil
			}); err != nil {
				return err
			}
		}
		return r.liveWide(ctx, entries, wide)
	})
	return known.total, err
}

// liveWide calls f for the entries, which are in order, that are ledger-wide
// indexes in the store. Where few of them are, most are never looked at.
func (r reader) liveWide(ctx context.Context, entries []entry, f func(entry)) error {
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = []byte{keyWide}, false
	it := r.txn.NewIterator(o)
	defer it.Close()
	for turn := 0; len(entries) > 0; turn++ {
		if err := sometimes(ctx, turn); err != nil {
			return err
		}
		it.Seek(append([]byte{keyWide}, entries[0].index[:]...))
		if !it.Valid() {
			return nil
		}
		key := it.Item().Key()
		if len(key) < 1+len(Index{}) {
			return fmt.Errorf("a ledger-wide index has a key of %d bytes, want at least %d", len(key), 1+len(Index{}))
		}
		have := Index(key[1:])
		n, _ := slices.BinarySearchFunc(entries, have, func(e entry, i Index) int { return compareIndexes(e.index, i) })
		for entries = entries[n:]; len(entries) > 0 && entries[0].index == have; entries = entries[1:] {
			f(entries[0])
		}
	}
	return nil
}

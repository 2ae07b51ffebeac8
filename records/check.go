package records

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sync/errgroup"
)

// A hitKind is one way for a row to be wrong. Of several at the same value that
// break the same rule, the first is told.
type hitKind uint8

const (
	inLedger    hitKind = iota // claimed before
	sameRow                    // equal to another credential of its row
	sameFile                   // equal to a value of an earlier row
	badFormat                  // not what the profile asks for
	badSerial                  // malformed
	serialTwice                // there in an earlier row
	serialKnown                // a device of the product has it
	notBurned                  // a replacement for a device that needs none
)

func (k hitKind) rule() string {
	switch {
	case k <= sameFile:
		return "C-UNIQ"
	case k == badFormat:
		return "C-FORMAT"
	default:
		return "SERIAL"
	}
}

// noPlace is the place of a hit that is about the serial.
const noPlace = -1

// A hit is a violation found, small enough to keep a million of them.
type hit struct {
	row   uint32
	first uint32 // row of the file that it repeats
	index Index  // that is claimed
	text  uint16 // in findings.texts
	place int16  // in Product.Credentials, or noPlace
	kind  hitKind
	other uint8 // place in row first
}

func compareHits(a, b hit) int {
	return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.place, b.place), cmp.Compare(a.kind, b.kind))
}

// same says whether two hits are one violation.
func (h hit) same(o hit) bool {
	return h.row == o.row && h.place == o.place && h.kind.rule() == o.kind.rule()
}

// A verdict is what the ledger says to an import.
type verdict struct {
	hits      []hit // in the order of rows
	total     int   // violations
	elsewhere int
}

// judge holds an import to itself and to the ledger. Burned names the batch
// whose burned devices are to get new rows, for a replacement. Claims that are
// made meanwhile are found when its own are written.
func (l *Ledger) judge(ctx context.Context, in *intake, history bool, burned string) (v verdict, err error) {
	slices.SortFunc(in.claims, compareEntries)
	slices.SortFunc(in.older, compareEntries)
	v.hits = append(slices.Clone(in.hits), in.duplicates()...)
	for _, entries := range [][]entry{in.claims, in.older} {
		hits, err := inParts(entries, func(part []entry) ([]hit, error) { return l.claimedBefore(ctx, part) })
		if err != nil {
			return v, err
		}
		v.hits = append(v.hits, hits...)
	}
	if !history {
		hits, err := l.judgeSerials(ctx, in, burned)
		if err != nil {
			return v, err
		}
		v.hits = append(v.hits, hits...)
	}
	slices.SortFunc(v.hits, compareHits)
	for i, h := range v.hits {
		if i == 0 || !h.same(v.hits[i-1]) {
			v.total++
		}
	}
	v.elsewhere, err = l.elsewhere(ctx, in)
	return v, err
}

// duplicates finds the values that the file has more than once.
func (in *intake) duplicates() (hits []hit) {
	first := 0
	for i, e := range in.claims {
		if f := in.claims[first]; i == 0 || e.index != f.index {
			first = i
		} else {
			hits = append(hits, hit{row: e.row, place: int16(e.place), kind: sameFile, first: f.row, other: f.place})
		}
	}
	return hits
}

// inParts calls f with parts of items, one per processor, and joins the answers.
func inParts[T any](items []T, f func(part []T) ([]hit, error)) ([]hit, error) {
	parts := make([][]hit, runtime.GOMAXPROCS(0))
	var g errgroup.Group
	for i := range parts {
		part := items[len(items)*i/len(parts) : len(items)*(i+1)/len(parts)]
		g.Go(func() (err error) {
			parts[i], err = f(part)
			return err
		})
	}
	err := g.Wait()
	return slices.Concat(parts...), err
}

// claimedBefore finds the entries that the ledger has.
func (l *Ledger) claimedBefore(ctx context.Context, entries []entry) (hits []hit, err error) {
	err = l.view(func(r reader) error {
		for i, e := range entries {
			if err := sometimes(ctx, i); err != nil {
				return err
			}
			if found, err := r.has(claimKey(e.index)); err != nil {
				return err
			} else if found {
				hits = append(hits, hit{row: e.row, place: int16(e.place), kind: inLedger, index: e.index})
			}
		}
		return nil
	})
	return hits, err
}

// sometimes returns why ctx is done, in every thousandth turn of a loop.
func sometimes(ctx context.Context, turn int) error {
	if turn%1000 != 0 {
		return nil
	}
	return context.Cause(ctx)
}

// has is get without the value.
func (r reader) has(key []byte) (bool, error) {
	_, err := r.txn.Get(key)
	if err == badger.ErrKeyNotFound {
		return false, nil
	}
	return err == nil, err
}

// judgeSerials finds serials that are there twice and those that a device of the
// product has, or, for a replacement, those whose device is not burned.
func (l *Ledger) judgeSerials(ctx context.Context, in *intake, burned string) (hits []hit, err error) {
	rows := in.serials.sorted()
	for i, row := range rows {
		if i > 0 && bytes.Equal(in.serials.at(row), in.serials.at(rows[i-1])) && len(in.serials.at(row)) > 0 {
			first := rows[i-1]
			if n := len(hits); n > 0 && hits[n-1].row == first {
				first = hits[n-1].first
			}
			hits = append(hits, hit{row: row, place: noPlace, kind: serialTwice, first: first})
		}
	}
	known, err := inParts(rows, func(part []uint32) (hits []hit, err error) {
		err = l.view(func(r reader) error {
			for i, row := range part {
				if err := sometimes(ctx, i); err != nil {
					return err
				}
				kind, wrong, err := judgeSerial(r, in.product.ID, string(in.serials.at(row)), burned)
				if err != nil {
					return err
				}
				if wrong {
					hits = append(hits, hit{row: row, place: noPlace, kind: kind})
				}
			}
			return nil
		})
		return hits, err
	})
	return append(hits, known...), err
}

func judgeSerial(r reader, product, serial, burned string) (kind hitKind, wrong bool, err error) {
	if burned == "" {
		wrong, err = r.has(deviceKey(product, serial))
		return serialKnown, wrong, err
	}
	d, err := getDevice(r, product, serial)
	return notBurned, d == nil || d.State != Burned || d.Batch != burned || d.Row == 0, err
}

// elsewhere counts the product-scope values that the ledger knows in another
// scope. They are reported, never refused.
func (l *Ledger) elsewhere(ctx context.Context, in *intake) (int, error) {
	entries := slices.Concat(in.wide, in.wider)
	slices.SortFunc(entries, compareEntries)
	hits, err := l.claimedBefore(ctx, entries)
	if err != nil {
		return 0, err
	}
	if err := l.view(func(r reader) error {
		o := badger.DefaultIteratorOptions
		o.Prefix, o.PrefetchValues = []byte{keyWide}, false
		it := r.txn.NewIterator(o)
		defer it.Close()
		for i, e := range entries {
			if err := sometimes(ctx, i); err != nil {
				return err
			}
			key := append([]byte{keyWide}, e.index[:]...)
			if it.Seek(key); it.ValidForPrefix(key) {
				hits = append(hits, hit{row: e.row, place: int16(e.place)})
			}
		}
		return nil
	}); err != nil {
		return 0, err
	}
	slices.SortFunc(hits, compareHits)
	return len(slices.CompactFunc(hits, hit.same)), nil
}

// maxViolations is how many violations an answer names.
const maxViolations = 1000

// sparingBits is the size of a space below which an answer about the ledger
// would be an oracle: only quality is told which values it has.
const sparingBits = 60

// violations names the first ones of a verdict, as far as by may know them.
func (l *Ledger) violations(in *intake, v verdict, by Actor) (list []Violation, err error) {
	err = l.view(func(r reader) error {
		told := hit{row: 0}
		for _, h := range v.hits {
			if len(list) == maxViolations {
				return nil
			}
			if told.row > 0 && h.same(told) || h.kind == inLedger && in.product.Credentials[h.place].Bits < sparingBits && !by.Quality {
				continue
			}
			w, err := in.violation(r, h)
			if err != nil {
				return err
			}
			list, told = append(list, w), h
		}
		return nil
	})
	return list, err
}

// violation puts a hit into words. A row with a malformed cell may have its
// columns mixed up, so its serial isn't repeated.
func (in *intake) violation(r reader, h hit) (Violation, error) {
	v := Violation{Row: int(h.row), Rule: h.kind.rule(), Text: in.text(h)}
	if h.place != noPlace {
		v.Credential = in.product.Credentials[h.place].Name
	}
	if h.kind != badFormat && h.kind != badSerial {
		v.Serial = string(in.serials.at(h.row))
	}
	switch h.kind {
	case inLedger:
		o, found, err := claimOwner(r, h.index)
		if err != nil || !found {
			return v, cmp.Or(err, fmt.Errorf("a claim vanished"))
		}
		w, err := o.owner(r)
		v.First = &w
		return v, err
	case sameRow, sameFile:
		v.First = &Owner{Row: int(h.first), Credential: in.product.Credentials[h.other].Name}
	case serialTwice:
		v.First = &Owner{Row: int(h.first)}
	case serialKnown, notBurned:
		d, err := getDevice(r, in.product.ID, v.Serial)
		if err != nil || d == nil {
			v.Text = "no device of the batch has this serial"
			return v, err
		}
		v.First = &Owner{Batch: d.Batch, Row: d.Row, Serial: d.Serial}
		v.Text = fmt.Sprintf("device is %s", d.State)
	}
	return v, nil
}

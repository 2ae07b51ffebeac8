package records

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTheFirstObjectionsAreKept adds far more hits than are told, each twice and
// in no order.
func TestTheFirstObjectionsAreKept(t *testing.T) {
	const rows = 20_000
	o := objections{product: single(), by: Actor{Quality: true}}
	var all []hit
	for row := range uint32(rows) {
		all = append(all,
			hit{row: row + 1, place: noPlace, kind: serialKnown}, hit{row: row + 1, kind: inLedger}, hit{row: row + 1, kind: sameFile})
	}
	want := all[:tallied]
	all = append(slices.Clone(all), all...)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, h := range all {
		o.add(h)
		if len(o.hits) >= 4*tallied {
			t.Fatalf("%d hits are kept", len(o.hits))
		}
	}
	o.trim()
	if !slices.Equal(o.hits, want) {
		t.Errorf("%d hits from row %d to %d, want the first %d", len(o.hits), o.hits[0].row, o.hits[len(o.hits)-1].row, tallied)
	}
	if o.total != 2*rows {
		t.Errorf("%d violations, want %d", o.total, 2*rows)
	}
}

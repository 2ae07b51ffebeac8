package records

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestEntriesAreSortedAsByComparing sorts indexes of every kind of likeness.
func TestEntriesAreSortedAsByComparing(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	for name, index := range map[string]func(i int) (x Index){
		"random":             func(int) (x Index) { random.Read(x[:]); return x },
		"few values":         func(i int) (x Index) { x[3], x[15] = byte(i%7), byte(i%3); return x },
		"all equal":          func(int) (x Index) { x[0] = 7; return x },
		"alike but the last": func(int) (x Index) { random.Read(x[15:]); return x },
		"ascending":          func(i int) (x Index) { x[1], x[2] = byte(i>>8), byte(i); return x },
		"descending":         func(i int) (x Index) { x[1], x[2] = ^byte(i>>8), ^byte(i); return x },
	} {
		for _, n := range []int{0, 1, 2, fewEntries, fewEntries + 1, 300, 20_000} {
			got := make([]entry, n)
			for i := range got {
				got[i] = entry{index: index(i), row: uint32(random.Uint64() % 100), place: uint8(i % 2)}
			}
			want := slices.Clone(got)
			slices.SortFunc(want, compareEntries)
			sortEntries(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %d entries are in another order", name, n)
			}
		}
	}
}

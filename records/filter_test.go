package records

import (
	"encoding/binary"
	"math/bits"
	"math/rand/v2"
	"testing"
)

func randomIndexes(seed uint64, n int) []Index {
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	list := make([]Index, n)
	for i := range list {
		r.Read(list[i][:]) // never fails
	}
	return list
}

// A full filter forgets nothing, and takes few for what they are not.
func TestFilterForgetsNothingAndIsSeldomWrong(t *testing.T) {
	const n = 200_000
	f := newFilter(n)
	in, out := randomIndexes(1, n), randomIndexes(2, n)
	if err := inParts(in, func(part []Index) error {
		for i := range part {
			f.add(&part[i])
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for i := range in {
		if !f.maybe(&in[i]) {
			t.Fatalf("index %d was added and is certainly not there", i)
		}
	}
	wrong := 0
	for i := range out {
		if f.maybe(&out[i]) {
			wrong++
		}
	}
	if share := 100 * float64(wrong) / n; share > 0.6 {
		t.Errorf("%.2f %% of others may be there, want about 0.42 %%", share)
	}
}

// Every index is in the range of one part, and added by that part only.
func TestThePartsOfAFilterHaveEachIndexOnce(t *testing.T) {
	for _, size := range []int{1, 100, 10_000, 1_000_000} {
		f := newFilter(size)
		list := randomIndexes(3, 20_000)
		list[0], list[1] = Index{}, Index{0: 0xff}
		for i := range list[1] {
			list[1][i] = 0xff
		}
		for b := range min(f.blocks, 1000) { // and those at the borders of blocks
			first, rest := bits.Div64(b, 0, f.blocks)
			if rest > 0 {
				first++
			}
			var at, below Index
			binary.BigEndian.PutUint64(at[:8], first)
			binary.BigEndian.PutUint64(below[:8], first-1)
			list = append(list, at, below)
		}
		for _, i := range list {
			added := 0
			for _, p := range f.parts(filterParts) {
				lo, hi := p.indexes()
				in := compareIndexes(i, lo) >= 0 && (hi == Index{} || compareIndexes(i, hi) < 0)
				if p.add(&i) {
					added++
					if !in {
						t.Errorf("size %d: %x is added outside of %x to %x", size, i, lo, hi)
					}
				}
			}
			if added != 1 || !f.maybe(&i) {
				t.Errorf("size %d: %x was added by %d parts", size, i, added)
			}
		}
	}
}

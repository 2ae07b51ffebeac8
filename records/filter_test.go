package records

import (
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

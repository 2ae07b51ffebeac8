package records

import (
	"encoding/binary"
	"math/bits"
	"sync/atomic"
)

// A filter says of an index that it is certainly in no segment, or that it may
// be: of those that are in none, about one in 240 (0.42 % when it is full). It never
// decides; every "maybe" is looked up.
//
// It is a split-block Bloom filter of 12 bits an index. An index is the output of
// a keyed digest, so its own bits are the hashes: the upper half addresses a
// block of 64 bytes, which keeps sorted indexes in order, and six bits of the lower half a
// bit in each of the block's words.
//
// Any number of goroutines may add and ask at once.
type filter struct {
	words  []uint64 // eight to a block
	blocks uint64
	room   int // indexes that it is made for
}

const (
	filterBits = 12
	blockWords = 8

	// leastFilter is the least number of indexes that a filter is made for (12 MiB).
	leastFilter = 8 << 20
)

// newFilter returns an empty filter for n indexes.
func newFilter(n int) *filter {
	blocks := uint64(max(n, 1))*filterBits/(64*blockWords) + 1
	return &filter{words: make([]uint64, blocks*blockWords), blocks: blocks, room: n}
}

// block returns the first word of an index's block and the index's lower half.
func (f *filter) block(i *Index) (words []uint64, low uint64) {
	at, _ := bits.Mul64(binary.BigEndian.Uint64(i[:8]), f.blocks)
	return f.words[at*blockWords:][:blockWords], binary.BigEndian.Uint64(i[8:])
}

func (f *filter) add(i *Index) {
	words, low := f.block(i)
	for w := range words {
		if bit := uint64(1) << (low & 63); atomic.LoadUint64(&words[w])&bit == 0 {
			atomic.OrUint64(&words[w], bit)
		}
		low >>= 6
	}
}

// A filterPart is some of a filter's blocks. While nobody asks the filter yet,
// several goroutines may add to it, each to a part of its own.
type filterPart struct {
	*filter
	from, to uint64 // blocks
}

// parts cuts a filter into n parts.
func (f *filter) parts(n int) (parts []filterPart) {
	for i := range uint64(n) {
		parts = append(parts, filterPart{f, f.blocks * i / uint64(n), f.blocks * (i + 1) / uint64(n)})
	}
	return parts
}

// indexes returns a range, from lo on and below hi, that holds every index of the part;
// the zero hi means no limit.
func (p filterPart) indexes() (lo, hi Index) {
	first, _ := bits.Div64(p.from, 0, p.blocks)
	binary.BigEndian.PutUint64(lo[:8], first)
	if p.to < p.blocks {
		last, _ := bits.Div64(p.to, 0, p.blocks) // begins the next part, or is just below
		binary.BigEndian.PutUint64(hi[:8], last+1)
	}
	return lo, hi
}

// add adds an index if it is in the part, and says whether it is.
func (p filterPart) add(i *Index) bool {
	at, _ := bits.Mul64(binary.BigEndian.Uint64(i[:8]), p.blocks)
	if at < p.from || at >= p.to {
		return false
	}
	words, low := p.words[at*blockWords:][:blockWords], binary.BigEndian.Uint64(i[8:])
	for w := range words {
		words[w] |= 1 << (low & 63)
		low >>= 6
	}
	return true
}

func (f *filter) maybe(i *Index) bool {
	words, low := f.block(i)
	for w := range words {
		if atomic.LoadUint64(&words[w])&(1<<(low&63)) == 0 {
			return false
		}
		low >>= 6
	}
	return true
}

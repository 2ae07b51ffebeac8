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

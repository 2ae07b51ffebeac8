package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math/bits"
)

const (
	blockSize = 32 << 10
	entrySize = 16 + 4 + 1
	perBlock  = 1560 // entries of a full block

	countAt    = blockSize - 6 // number of entries (2)
	checksumAt = blockSize - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Kinds of blocks.
const (
	claimKind = 'c'
	wideKind  = 'w'
	ownerKind = 'o'
)

// checksum is over the block's kind and number too, so that a good block in a
// wrong place is found.
func checksum(kind byte, number uint32, b []byte) uint32 {
	place := [5]byte{kind}
	binary.BigEndian.PutUint32(place[1:], number)
	return crc32.Update(crc32.Checksum(place[:], castagnoli), castagnoli, b)
}

// Causes of damage.
var (
	errChecksum = errors.New("checksum doesn't match")
	errOrder    = errors.New("not in order")
)

// Entries are the entries of a block as they are on disk.
type Entries []byte

// Len returns how many there are.
func (e Entries) Len() int { return len(e) / entrySize }

// Top returns the first eight bytes of an index, as a number.
func (e Entries) Top(i int) uint64 { return binary.BigEndian.Uint64(e[i*entrySize:]) }

// low returns the last eight.
func (e Entries) low(i int) uint64 { return binary.BigEndian.Uint64(e[i*entrySize+8:]) }

func (e Entries) owner(i int) uint32 { return binary.BigEndian.Uint32(e[i*entrySize+16:]) }

// highest returns the highest number of an owner.
func (e Entries) highest() uint32 {
	var n uint32
	for i := range e.Len() {
		n = max(n, e.owner(i))
	}
	return n
}

// Entry returns an entry.
func (e Entries) Entry(i int) Entry {
	b := e[i*entrySize : (i+1)*entrySize]
	return Entry{[16]byte(b), binary.BigEndian.Uint32(b[16:]), b[20]}
}

// from returns the first entry at or after i whose index is not below hi, lo. It
// is fast when that is near, and never slow.
func (e Entries) from(i int, hi, lo uint64) int {
	below := func(i int) bool { t := e.Top(i); return t < hi || t == hi && e.low(i) < lo }
	n, step := e.Len(), 1
	for i+step <= n && below(i+step-1) {
		i, step = i+step, 2*step
	}
	for end := min(i+step-1, n); i < end; {
		if mid := (i + end) / 2; below(mid) {
			i = mid + 1
		} else {
			end = mid
		}
	}
	return i
}

// sum adds the indexes of e to hi, lo, modulo 2^128.
func sum(hi, lo uint64, e Entries) (uint64, uint64) {
	for i := range e.Len() {
		hi, lo = add(hi, lo, e.Top(i), e.low(i))
	}
	return hi, lo
}

func add(hi, lo, hi2, lo2 uint64) (uint64, uint64) {
	lo, carry := bits.Add64(lo, lo2, 0)
	hi, _ = bits.Add64(hi, hi2, carry)
	return hi, lo
}

// An order checks that indexes ascend, from block to block. The zero value has
// seen none.
type order struct {
	equal  bool // equal indexes are in order
	begun  bool
	hi, lo uint64
}

// next is whether hi, lo may follow, and remembers it.
func (o *order) next(hi, lo uint64) bool {
	ok := hi > o.hi || hi == o.hi && (lo > o.lo || lo == o.lo && o.equal) || !o.begun
	o.hi, o.lo, o.begun = hi, lo, true
	return ok
}

// all is whether all of e may follow, in the order that it is.
func (o *order) all(e Entries) bool {
	ok := e.Len() == 0 || o.next(e.Top(0), e.low(0))
	hi := o.hi
	for i := 1; i < e.Len(); i++ {
		top := e.Top(i)
		if top <= hi { // once in 2^64, or out of order
			step := order{equal: o.equal, begun: true, hi: hi, lo: e.low(i - 1)}
			ok = step.next(top, e.low(i)) && ok
		}
		hi = top
	}
	if n := e.Len(); n > 0 {
		o.hi, o.lo = hi, e.low(n-1)
	}
	return ok
}

// A section is the claim blocks or the wide blocks of a segment.
type section struct {
	kind   byte
	start  int64 // offset in the file
	count  uint64
	fences []uint64 // the first eight bytes of each block's first index
}

// blocksOf returns how many blocks hold n entries.
func blocksOf(n uint64) uint64 {
	if n%perBlock != 0 {
		return n/perBlock + 1
	}
	return n / perBlock
}

func (s *section) end() int64 { return s.start + int64(len(s.fences))*blockSize }

func (s *section) order() order { return order{equal: s.kind == wideKind} }

// where names a block in errors.
func (s *section) where(block int) string {
	if s.kind == wideKind {
		return fmt.Sprintf("wide block %d", block)
	}
	return fmt.Sprintf("claim block %d", block)
}

// seal writes count and checksum into a block that holds n entries.
func (s *section) seal(b []byte, n int) {
	clear(b[n*entrySize : countAt])
	binary.BigEndian.PutUint16(b[countAt:], uint16(n))
	binary.BigEndian.PutUint32(b[checksumAt:], checksum(s.kind, uint32(len(s.fences)-1), b[:checksumAt]))
}

// entries checks a block that was read, but not its order, and returns what is in it.
func (s *section) entries(b []byte, block int) (Entries, error) {
	if binary.BigEndian.Uint32(b[checksumAt:]) != checksum(s.kind, uint32(block), b[:checksumAt]) {
		return nil, errChecksum
	}
	n := uint64(binary.BigEndian.Uint16(b[countAt:]))
	if want := min(perBlock, s.count-uint64(block)*perBlock); n != want {
		return nil, fmt.Errorf("%d entries, want %d", n, want)
	}
	e := Entries(b[:n*entrySize])
	if e.Top(0) != s.fences[block] {
		return nil, errors.New("begins with another index than the footer says")
	}
	return e, nil
}

package segment

import (
	"context"
	"encoding/binary"
	"fmt"
	"sort"
)

// halves returns an index as two numbers, which compare faster.
func halves(index [16]byte) (hi, lo uint64) {
	return binary.BigEndian.Uint64(index[:]), binary.BigEndian.Uint64(index[8:])
}

// blockBelow returns the last block of [from, all) that begins certainly below
// an index, or from: the index is there, or in a block behind it with the same fence.
func (s *section) blockBelow(from int, hi uint64) int {
	fences := s.fences[from:]
	n := sort.Search(len(fences), func(i int) bool { return fences[i] >= hi })
	return from + max(n-1, 0)
}

// A finder looks for indexes in ascending order and reads each block at most once.
type finder struct {
	segment *Segment
	section *section
	buf     []byte
	block   int // the one that was read, if there are entries
	entries Entries
	at      int
}

// seek goes to the first entry with the index and is whether there is one.
func (f *finder) seek(hi, lo uint64) (bool, error) {
	if len(f.section.fences) == 0 {
		return false, nil
	}
	if b := f.section.blockBelow(f.block, hi); f.entries == nil || b != f.block {
		if err := f.load(b); err != nil {
			return false, err
		}
	}
	for {
		f.at = f.entries.from(f.at, hi, lo)
		if f.at < f.entries.Len() {
			return f.entries.Top(f.at) == hi && f.entries.low(f.at) == lo, nil
		}
		if next := f.block + 1; next == len(f.section.fences) || f.section.fences[next] > hi {
			return false, nil
		}
		if err := f.load(f.block + 1); err != nil {
			return false, err
		}
	}
}

func (f *finder) load(block int) (err error) {
	f.block, f.at = block, 0
	f.entries, err = f.segment.readBlock(f.section, block, f.buf)
	return err
}

// readBlock reads a block and checks it, but not its order.
func (s *Segment) readBlock(sec *section, block int, buf []byte) (Entries, error) {
	if err := s.read(buf, sec.start+int64(block)*blockSize); err != nil {
		return nil, s.damage(sec.where(block), err)
	}
	e, err := sec.entries(buf, block)
	if err != nil {
		return nil, s.damage(sec.where(block), err)
	}
	return e, nil
}

// Find returns the claim of an index, if there is one. It reads one block.
func (s *Segment) Find(index [16]byte) (Entry, bool, error) {
	buf := s.spare.Get().(*[blockSize]byte)
	defer s.spare.Put(buf)
	f := finder{segment: s, section: &s.footer.claims, buf: buf[:]}
	found, err := f.seek(halves(index))
	if !found || err != nil {
		return Entry{}, false, err
	}
	return f.entries.Entry(f.at), true, nil
}

// FindSorted looks for n indexes, at(0) to at(n-1) in ascending order, and calls
// found with each that is claimed. Each block is read at most once. To use
// several cores, call it with a part of the indexes on each.
func (s *Segment) FindSorted(ctx context.Context, n int, at func(i int) [16]byte, found func(i int, e Entry) error) error {
	return s.findSorted(ctx, &s.footer.claims, n, at, found)
}

// FindWideSorted is FindSorted for wide entries: found is called with the first
// one of each index.
func (s *Segment) FindWideSorted(ctx context.Context, n int, at func(i int) [16]byte, found func(i int, e Entry) error) error {
	return s.findSorted(ctx, &s.footer.wide, n, at, found)
}

func (s *Segment) findSorted(ctx context.Context, sec *section, n int, at func(i int) [16]byte, found func(i int, e Entry) error) error {
	if len(sec.fences) == 0 {
		return nil
	}
	buf := s.spare.Get().(*[blockSize]byte)
	defer s.spare.Put(buf)
	f := finder{segment: s, section: sec, buf: buf[:]}
	ascending := order{equal: true}
	for i := range n {
		if i%1024 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		hi, lo := halves(at(i))
		if !ascending.next(hi, lo) {
			return fmt.Errorf("segment %s: index %d to be found is below the one before", s.path, i)
		}
		claimed, err := f.seek(hi, lo)
		if err == nil && claimed {
			err = found(i, f.entries.Entry(f.at))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// FindWide returns all wide entries with the index.
func (s *Segment) FindWide(index [16]byte) ([]Entry, error) {
	buf := s.spare.Get().(*[blockSize]byte)
	defer s.spare.Put(buf)
	f := finder{segment: s, section: &s.footer.wide, buf: buf[:]}
	var all []Entry
	for {
		found, err := f.seek(halves(index))
		if !found || err != nil {
			return all, err
		}
		all = append(all, f.entries.Entry(f.at))
		f.at++
	}
}

// scanBlocks is how many blocks are read at once: as many as stay in the cache
// between reading and checking them.
const scanBlocks = 8

// A Buffer is memory for [Segment.Scan] to read into. The zero value is ready.
type Buffer struct{ b []byte }

// Scan reads the claim blocks [from, to), checks them, order included, and calls
// f with the entries of each, which are f's until it returns. It stops at f's
// first error. To use several cores, give each a part and a buffer of its own.
func (s *Segment) Scan(from, to int, buf *Buffer, f func(e Entries) error) error {
	if from < 0 || to < from || to > s.Blocks() {
		return fmt.Errorf("segment %s: blocks %d to %d, want 0 to %d", s.path, from, to, s.Blocks())
	}
	if buf.b == nil {
		buf.b = make([]byte, scanBlocks*blockSize)
	}
	var o order
	for from < to {
		n := min(to-from, scanBlocks)
		if err := s.scan(&s.footer.claims, from, buf.b[:n*blockSize], &o, f); err != nil {
			return err
		}
		from += n
	}
	return nil
}

// scan fills b with blocks, checks them and calls f with the entries of each.
func (s *Segment) scan(sec *section, first int, b []byte, o *order, f func(e Entries) error) error {
	if err := s.read(b, sec.start+int64(first)*blockSize); err != nil {
		return s.damage(sec.where(first), err)
	}
	for i := range len(b) / blockSize {
		e, err := sec.entries(b[i*blockSize:(i+1)*blockSize], first+i)
		if err == nil && !o.all(e) {
			err = errOrder
		}
		if err != nil {
			return s.damage(sec.where(first+i), err)
		}
		if err := f(e); err != nil {
			return err
		}
	}
	return nil
}

package segment

import (
	"slices"
	"sort"
)

// cursorParts is how many parts of scanBlocks a cursor has in memory: 768 KiB.
const cursorParts = 3

// A Cursor goes through entries in the order of their indexes. It reads and
// checks ahead, in a goroutine of its own that [Cursor.Close] waits for. It is
// used by one goroutine.
type Cursor struct {
	entries Entries // of the current block
	i       int
	part    part // the current one, without the blocks up to the current one
	err     error

	free  chan []byte
	parts chan part // closed by the goroutine at its end
	stop  chan struct{}
}

// A part is what was read at once.
type part struct {
	buf    []byte
	blocks []Entries
	err    error // behind the blocks
}

// Cursor returns a cursor over the claims whose indexes are from lo on and below
// hi. The zero hi means that there is no such limit. It must be closed.
func (s *Segment) Cursor(lo, hi [16]byte) *Cursor { return s.cursor(&s.footer.claims, lo, hi) }

func (s *Segment) cursor(sec *section, lo, hi [16]byte) *Cursor {
	c := &Cursor{
		i:     -1,
		free:  make(chan []byte, cursorParts),
		parts: make(chan part, cursorParts),
		stop:  make(chan struct{}),
	}
	for range cursorParts {
		c.free <- nil
	}
	go c.read(s, sec, within(lo, hi))
	return c
}

// Next goes to the next entry, and is whether there is one.
func (c *Cursor) Next() bool {
	c.i++
	return c.i < c.entries.Len() || c.fill()
}

// Entry returns the entry that Next went to.
func (c *Cursor) Entry() Entry { return c.entries.Entry(c.i) }

// Err returns why Next found no more, nil at the end.
func (c *Cursor) Err() error { return c.err }

// Close ends the cursor.
func (c *Cursor) Close() {
	close(c.stop)
	for range c.parts { // until it is closed
	}
}

// fill goes to the next block that has entries.
func (c *Cursor) fill() bool {
	c.entries, c.i = nil, 0
	for len(c.part.blocks) == 0 {
		if c.err != nil {
			return false
		}
		if c.part.buf != nil {
			c.free <- c.part.buf
		}
		var more bool
		if c.part, more = <-c.parts; !more {
			return false
		}
		c.err = c.part.err
	}
	c.entries, c.part.blocks = c.part.blocks[0], c.part.blocks[1:]
	return true
}

// read is the cursor's goroutine.
func (c *Cursor) read(s *Segment, sec *section, in limits) {
	defer close(c.parts)
	o := sec.order()
	for block, end := in.blocks(sec); block < end; {
		var p part
		select {
		case p.buf = <-c.free:
		case <-c.stop:
			return
		}
		n := min(end-block, scanBlocks)
		p.buf = slices.Grow(p.buf[:0], n*blockSize)[:n*blockSize]
		p.err = s.scan(sec, block, p.buf, &o, func(e Entries) error {
			if e = in.trim(e); len(e) > 0 {
				p.blocks = append(p.blocks, e)
			}
			return nil
		})
		c.parts <- p // there is room for all
		if p.err != nil {
			return
		}
		block += n
	}
}

// limits are a range of indexes, from lo on and, if there is an end, below it.
type limits struct {
	hi, lo       uint64
	ends         bool
	endHi, endLo uint64
}

func within(lo, end [16]byte) limits {
	l := limits{ends: end != [16]byte{}}
	l.hi, l.lo = halves(lo)
	l.endHi, l.endLo = halves(end)
	return l
}

// blocks returns the blocks that may have entries in the range.
func (l limits) blocks(s *section) (from, to int) {
	if to = len(s.fences); l.ends {
		to = sort.Search(to, func(i int) bool { return s.fences[i] > l.endHi })
	}
	return s.blockBelow(0, l.hi), to
}

// trim returns the entries that are in the range.
func (l limits) trim(e Entries) Entries {
	if l.ends {
		e = e[:e.from(0, l.endHi, l.endLo)*entrySize]
	}
	return e[e.from(0, l.hi, l.lo)*entrySize:]
}

// Within returns the claim blocks, for [Segment.Scan], that hold every claim whose
// index is from lo on and below hi, and maybe some others. The zero hi means that
// there is no such limit.
func (s *Segment) Within(lo, hi [16]byte) (from, to int) {
	return within(lo, hi).blocks(&s.footer.claims)
}

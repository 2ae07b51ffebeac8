package secret

import (
	"fmt"
	"sync"
	"sync/atomic"
)

const (
	firstSlab = 64 << 10 // a class starts small: locked memory is scarce for an unprivileged user
	largeSlab = 1 << 20  // and doubles up to here
	maxSmall  = 4096     // above this, a value has a mapping of its own
)

// memory is where all values live. It is a variable of the package because
// locked memory and its limit belong to the process.
var memory = newPool()

// A pool hands out space by size class, so that space is reused without ever
// being split or joined.
type pool struct {
	classes [maxSmall/16 + 1]*class // by size in units of 16 bytes; not changed after newPool
	held    atomic.Int64            // values that are not closed

	mu      sync.Mutex // guards below; taken after a class's
	lockErr error      // the first refusal to lock
	mapped  int        // bytes
}

func newPool() *pool {
	p := &pool{}
	sizes := []uint32{16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, maxSmall}
	c := &class{size: sizes[0], grow: firstSlab}
	for i := range p.classes {
		if uint32(i)*16 > c.size {
			sizes = sizes[1:]
			c = &class{size: sizes[0], grow: firstSlab}
		}
		p.classes[i] = c
	}
	return p
}

// take returns n zero bytes of a slab.
func (p *pool) take(n int) (*slab, uint32) {
	p.held.Add(1)
	if n > maxSmall {
		return p.open(n), 0
	}
	return p.classes[(n+15)/16].take(p)
}

// give wipes the n bytes at off of s and makes them free.
func (p *pool) give(s *slab, off, n uint32) {
	Wipe(s.data[off : off+n])
	p.held.Add(-1)
	if s.class == nil {
		p.close(s)
		return
	}
	s.class.give(p, s, off)
}

// open maps a slab of at least n bytes.
func (p *pool) open(n int) *slab {
	s, lockErr, err := mapSlab(n)
	if err != nil {
		panic(fmt.Sprintf("secret: map %d bytes: %v", n, err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mapped += len(s.data)
	if p.lockErr == nil {
		p.lockErr = lockErr
	}
	return s
}

func (p *pool) close(s *slab) {
	p.mu.Lock()
	p.mapped -= len(s.data)
	p.mu.Unlock()
	s.unmap()
}

// A class holds the slabs whose slots have one size.
type class struct {
	size uint32

	mu     sync.Mutex // guards below, and the free slots of its slabs
	grow   int        // size of the next slab
	usable []*slab    // slabs with a free slot; the last one is used first
	spare  *slab      // the one slab that is kept although it is empty
}

func (c *class) take(p *pool) (*slab, uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.usable) == 0 {
		c.add(p)
	}
	s := c.usable[len(c.usable)-1]
	if s == c.spare {
		c.spare = nil
	}
	off := s.pop()
	if s.full() {
		c.usable[s.at] = nil
		c.usable = c.usable[:s.at]
	}
	return s, off
}

// add maps one more slab.
func (c *class) add(p *pool) {
	s := p.open(c.grow)
	s.class, s.at = c, len(c.usable)
	c.usable = append(c.usable, s)
	c.grow = min(2*c.grow, largeSlab)
}

func (c *class) give(p *pool, s *slab, off uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.full() {
		s.at = len(c.usable)
		c.usable = append(c.usable, s)
	}
	s.push(off)
	switch {
	case s.used > 0:
	case c.spare == nil:
		c.spare = s
	default:
		c.drop(s)
		p.close(s)
	}
}

// drop takes s out of the usable slabs.
func (c *class) drop(s *slab) {
	last := len(c.usable) - 1
	c.usable[s.at] = c.usable[last]
	c.usable[s.at].at = s.at
	c.usable[last] = nil
	c.usable = c.usable[:last]
}

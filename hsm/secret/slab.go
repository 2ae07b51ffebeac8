package secret

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// A slab is one mapping: a page that nobody may touch, the data, and another
// such page.
type slab struct {
	pages []byte // the whole mapping
	data  []byte
	class *class // nil for a slab that holds one large value

	// Guarded by class.mu.
	free  []uint32 // offsets of slots that were given back
	fresh uint32   // offset of the first slot that was never used
	used  int      // slots in use
	at    int      // place in class.usable while not full
}

// mapSlab maps at least n bytes. A slab that can't be locked is still usable:
// lockErr says what was refused, and the station decides whether it goes on.
func mapSlab(n int) (s *slab, lockErr, err error) {
	page := os.Getpagesize()
	n = (n + page - 1) / page * page
	pages, err := unix.Mmap(-1, 0, n+2*page, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return nil, nil, err
	}
	s = &slab{pages: pages, data: pages[page : page+n : page+n]}
	if err := unix.Mprotect(s.data, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		s.unmap()
		return nil, nil, err
	}
	return s, s.protect(), nil
}

// protect keeps the slab out of dumps, forked children and swap, in this order:
// the first two need no privilege.
func (s *slab) protect() error {
	if err := unix.Madvise(s.pages, unix.MADV_DONTDUMP); err != nil {
		return fmt.Errorf("keep secrets out of core dumps: %w", err)
	}
	if err := unix.Madvise(s.data, unix.MADV_WIPEONFORK); err != nil {
		return fmt.Errorf("keep secrets out of forked children: %w", err)
	}
	if err := unix.Mlock(s.data); err != nil {
		return fmt.Errorf("lock %d KiB: %w", len(s.data)>>10, err)
	}
	return nil
}

func (s *slab) unmap() {
	if err := unix.Munmap(s.pages); err != nil {
		panic("secret: internal error: unmap: " + err.Error())
	}
}

// full says that no slot is left.
func (s *slab) full() bool {
	return len(s.free) == 0 && int(s.fresh)+int(s.class.size) > len(s.data)
}

func (s *slab) pop() uint32 {
	s.used++
	if n := len(s.free); n > 0 {
		off := s.free[n-1]
		s.free = s.free[:n-1]
		return off
	}
	off := s.fresh
	s.fresh += s.class.size
	return off
}

func (s *slab) push(off uint32) {
	s.used--
	s.free = append(s.free, off)
}

package hsm

import "sync"

// Cut-offs of SP 800-90B 4.4 for bytes of full entropy and a false alarm of
// 2^-40: 1 + 40/8 equal bytes in a row; one byte value 19 times in 512.
const (
	maxRepeats = 6
	window     = 512
	maxShare   = 19
)

// Startup is how many bytes a source gives to its health test before the first
// that are used.
const Startup = 1024

// A Health watches what a random source gives (R-GEN-01). It finds a source that
// is stuck or badly lopsided, not one that is merely predictable. The zero value
// is ready; it may be used by many goroutines at once.
type Health struct {
	mu      sync.Mutex // guards below
	last    byte
	repeats int // of last
	first   byte
	seen    int // bytes of this window
	share   int // those equal to first
	failed  bool
}

// Take looks at bytes that the source gave. Once it has said [ErrStuck] it says
// so for ever: issuing stops until somebody has looked.
func (h *Health) Take(bytes []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range bytes {
		h.take(b)
	}
	if h.failed {
		return ErrStuck
	}
	return nil
}

func (h *Health) take(b byte) {
	if b != h.last {
		h.last, h.repeats = b, 0
	}
	h.repeats++
	if h.seen%window == 0 {
		h.first, h.seen, h.share = b, 0, 0
	}
	h.seen++
	if b == h.first {
		h.share++
	}
	h.failed = h.failed || h.repeats >= maxRepeats || h.share >= maxShare
}

package console

import (
	"errors"
	"os"
	"sync"
	"time"

	"mintmark/hsm/secret"
	"mintmark/station"
)

// Sizes of the buffers of one session. They are all that received text takes.
const (
	inboxSize = 16 << 10
	chunkSize = 1 << 10
)

// maxEmptyReads is how often a port may return nothing at all.
const maxEmptyReads = 100

// An inbox takes what a port receives, so that a device that talks while it is
// written to blocks nobody. When nobody takes from it, the oldest bytes go.
type inbox struct {
	port station.Port   // not changed
	more chan struct{}  // not changed; holds one token when there may be something new
	wg   sync.WaitGroup // the reader; waited for by close

	stalled bool // owned by whoever writes to the port

	mu    sync.Mutex // guards the fields below
	ring  [inboxSize]byte
	start int
	n     int
	err   error // why the reader stopped
}

// openInbox starts to read from p until [inbox.close].
func openInbox(p station.Port) *inbox {
	b := &inbox{port: p, more: make(chan struct{}, 1)}
	b.read()
	return b
}

func (b *inbox) read() {
	b.wg.Go(func() {
		err := b.pump()
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
		b.signal()
	})
}

// pump reads until the port fails or its deadline passes.
func (b *inbox) pump() error {
	var chunk [chunkSize]byte
	defer secret.Wipe(chunk[:]) // a port may write to it and fail
	for empty := 0; empty < maxEmptyReads; {
		n, err := b.port.Read(chunk[:])
		if n > 0 {
			b.put(chunk[:n])
			secret.Wipe(chunk[:n])
			empty = -1
		}
		if err != nil {
			return err
		}
		empty++
	}
	return errNoData
}

func (b *inbox) put(data []byte) {
	b.mu.Lock()
	for _, c := range data {
		if b.n == inboxSize {
			b.start = (b.start + 1) % inboxSize
			b.n--
		}
		b.ring[(b.start+b.n)%inboxSize] = c
		b.n++
	}
	b.mu.Unlock()
	b.signal()
}

func (b *inbox) signal() {
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// take moves what is there into dst, as far as it fits. When nothing is there
// and nothing can come any more it says why.
func (b *inbox) take(dst []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(b.n, len(dst))
	for i := range n {
		at := (b.start + i) % inboxSize
		dst[i], b.ring[at] = b.ring[at], 0
	}
	b.start, b.n = (b.start+n)%inboxSize, b.n-n
	if n == 0 {
		return 0, b.err
	}
	return n, nil
}

// stall moves the port's deadline into the past, so that a blocked write ends.
// It ends the reader too. Revive undoes it.
func (b *inbox) stall() {
	b.stalled = true
	b.port.SetDeadline(time.Unix(1, 0)) // a port that can't is gone, and so are its reader and writer
}

func (b *inbox) revive() error {
	if !b.stalled {
		return nil
	}
	b.wg.Wait()
	b.stalled = false
	if err := b.port.SetDeadline(time.Time{}); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if errors.Is(b.err, os.ErrDeadlineExceeded) {
		b.err = nil
		b.read()
	}
	return nil
}

// close stops the reader, wipes what it left and gives the port back without a
// deadline.
func (b *inbox) close() {
	b.stall()
	b.wg.Wait()
	b.port.SetDeadline(time.Time{})
	secret.Wipe(b.ring[:])
}

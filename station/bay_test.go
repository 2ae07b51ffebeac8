package station_test

import (
	"context"
	"net"
	"os"
	"sync"
	"time"

	"mintmark/station"
)

// A bay is the place where devices are plugged in.
type bay struct {
	mu       sync.Mutex // guards the fields below
	in       *device
	conns    []net.Conn
	changed  chan struct{}
	plugs    int
	returns  bool // a device that vanishes comes back by itself
	broken   error
	programs sync.WaitGroup
}

func newBay() *bay { return &bay{changed: make(chan struct{}), returns: true} }

func (b *bay) update(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *bay) plug(d *device) {
	b.update(func() { b.in = d; b.plugs++ })
}

func (b *bay) pull() {
	b.update(func() {
		b.in = nil
		for _, c := range b.conns {
			c.Close()
		}
		b.conns = nil
	})
}

// open is [station.Config].Open.
func (b *bay) open(context.Context) (station.Port, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.in == nil {
		return nil, os.ErrNotExist
	}
	d := b.in
	ours, theirs := net.Pipe()
	b.conns = append(b.conns, ours, theirs)
	b.programs.Go(func() {
		d.serve(theirs, func() { b.leaves(d) })
	})
	return ours, nil
}

// leaves takes the device out of the slot; one that vanishes comes back.
func (b *bay) leaves(d *device) {
	b.pull()
	if d.vanishes && b.returns {
		b.programs.Go(func() {
			time.Sleep(400 * time.Millisecond) // the device's own boot, in the bubble's time
			b.plug(d)
		})
	}
}

// present is [station.Config].Present.
func (b *bay) present(ctx context.Context, want bool) error {
	b.mu.Lock()
	plugs := b.plugs
	b.mu.Unlock()
	for {
		b.mu.Lock()
		here, changed, broken := b.in != nil, b.changed, b.broken
		replaced := b.plugs != plugs
		b.mu.Unlock()
		if broken != nil {
			return broken
		}
		if here == want || !want && replaced {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

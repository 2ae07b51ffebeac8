package station

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// A link is the slot's hold on its device. It belongs to the goroutine of the
// slot.
type link struct {
	cfg   *Config
	wire  *wire     // nil while the port is closed
	limit time.Time // of what is going on

	// The device is watched without a gap, from before it said who it is until
	// it has left, so that a result is never shown for the next one.
	left    chan struct{} // closed when it has left
	watched chan struct{} // closed when nobody watches any more
	unwatch func()        // ends the watch and waits for it
}

// watch looks out for the leaving of the device that is in the slot now.
func (l *link) watch(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	left, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		if l.cfg.Present(ctx, false) == nil {
			close(left)
		}
	}()
	l.left, l.watched = left, watched
	l.unwatch = func() { cancel(); <-watched }
}

// errLeft is the fate of a device that was pulled too early.
var errLeft = errors.New("device left the slot")

// present returns an error if the device has left the slot.
func (l *link) present() error {
	select {
	case <-l.left:
		return Faultf("put it in again and leave it in until the slot shows its result", "%w", errLeft)
	default:
		return nil
	}
}

// Port returns the open port. A closed one refuses every byte.
func (l *link) Port() Port {
	if l.wire == nil {
		return closedPort{}
	}
	return l.wire
}

// bound lets nothing on the port wait beyond the deadline of ctx, whatever a
// driver asks for.
func (l *link) bound(ctx context.Context) error {
	l.limit, _ = ctx.Deadline()
	if l.wire == nil {
		return nil
	}
	return l.wire.bound(l.limit)
}

// lost says whether the port failed in a way that isn't a time-out: the device
// left, or its cable did.
func (l *link) lost() bool { return l.wire != nil && l.wire.failed() }

// open opens the port of the device that is in the slot. A port may take a
// moment to become ours after it appeared.
func (l *link) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.cfg.Timeouts.Open)
	defer cancel()
	for {
		p, err := l.cfg.Open(ctx)
		if err == nil {
			l.wire = &wire{port: p}
			return l.wire.bound(l.limit)
		}
		if pause(ctx, 100*time.Millisecond) != nil {
			return Faultf("check the cable, then call a technician: mintmark doctor says more", "open port: %w", err)
		}
	}
}

func (l *link) close() error {
	if l.wire == nil {
		return nil
	}
	w := l.wire
	l.wire = nil
	return w.Close()
}

// Reopen implements [Link].
func (l *link) Reopen(ctx context.Context) error {
	if _, err := l.vanished(ctx); err != nil {
		return err
	}
	return l.again(ctx)
}

// Cycle implements [Link]. A port that stays while the device is without power
// stays open, so that nothing of what the device says first is lost.
func (l *link) Cycle(ctx context.Context) error {
	if l.cfg.Power == nil {
		return Faultf("give the slot power control, or the profile a restart that needs none", "slot can't switch the device's power")
	}
	if err := l.cfg.Power(ctx, false); err != nil {
		return fmt.Errorf("switch power off: %w", err)
	}
	vanished, err := l.vanished(ctx)
	if vanished {
		l.close() // before the device is back: an open port would keep its name
	}
	if err := errors.Join(err, l.cfg.Power(ctx, true)); err != nil {
		return fmt.Errorf("switch power on: %w", err)
	}
	if !vanished {
		return nil
	}
	return l.again(ctx)
}

// vanished waits a moment for the port to disappear. One that stays is no error.
func (l *link) vanished(ctx context.Context) (bool, error) {
	t := time.NewTimer(l.cfg.Timeouts.Vanish)
	defer t.Stop()
	select {
	case <-l.left:
		return true, nil
	case <-t.C:
		return false, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}

// again waits until the slot has a device, and holds that one.
func (l *link) again(ctx context.Context) error {
	l.unwatch()
	l.close() // of a device that left: what it says about that is of no use
	if err := l.cfg.Present(ctx, true); err != nil {
		return Faultf("check the cable, then put the device in again", "device did not come back: %w", err)
	}
	l.watch(ctx)
	return l.open(ctx)
}

// A wire is an open port that keeps to the slot's deadline and remembers whether
// it was lost.
type wire struct {
	port Port // not changed

	mu    sync.Mutex // guards the fields below
	limit time.Time  // what the slot grants
	lost  bool
}

func (w *wire) bound(limit time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit = limit
	return w.port.SetDeadline(limit)
}

func (w *wire) failed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// SetDeadline implements [Port]. It never goes beyond the slot's.
func (w *wire) SetDeadline(t time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t.IsZero() || (!w.limit.IsZero() && w.limit.Before(t)) {
		t = w.limit
	}
	return w.port.SetDeadline(t)
}

func (w *wire) Read(b []byte) (int, error) {
	n, err := w.port.Read(b)
	return n, w.note(err)
}

func (w *wire) Write(b []byte) (int, error) {
	n, err := w.port.Write(b)
	return n, w.note(err)
}

func (w *wire) note(err error) error {
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		w.mu.Lock()
		w.lost = true
		w.mu.Unlock()
	}
	return err
}

func (w *wire) Close() error { return w.port.Close() }

// A closedPort stands for a port while none is open.
type closedPort struct{}

func (closedPort) Read([]byte) (int, error)    { return 0, os.ErrClosed }
func (closedPort) Write([]byte) (int, error)   { return 0, os.ErrClosed }
func (closedPort) SetDeadline(time.Time) error { return os.ErrClosed }
func (closedPort) Close() error                { return nil }

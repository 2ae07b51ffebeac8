package station

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// A State is what a slot shows to somebody two metres away.
type State string

// The states of a slot.
const (
	Empty       State = "EMPTY"
	Identifying State = "IDENTIFY"
	Running     State = "RUNNING"
	WaitScan    State = "WAIT-SCAN"
	Pass        State = "PASS"
	Fail        State = "FAIL"
	Stopped     State = "STOPPED"
)

// A Snapshot is all that is to be seen of a slot. It holds no secret.
type Snapshot struct {
	Slot      string        `json:"slot"`
	Product   string        `json:"product"`
	State     State         `json:"state"`
	Since     time.Time     `json:"since"` // of the state
	Step      string        `json:"step,omitempty"`
	StepIndex int           `json:"step_index"` // from 1; 0 in an empty slot
	StepTotal int           `json:"step_total"`
	Serial    string        `json:"serial,omitempty"`
	Batch     string        `json:"batch,omitempty"`
	Trial     bool          `json:"trial,omitempty"` // golden device: not labelled, not locked, not released
	Attempt   int           `json:"attempt,omitempty"`
	Scan      string        `json:"scan,omitempty"` // what to scan in WAIT-SCAN: "serial" or "label"
	Result    string        `json:"result,omitempty"`
	Error     string        `json:"error,omitempty"`
	Remedy    string        `json:"remedy,omitempty"`
	Good      int           `json:"good"`
	Bad       int           `json:"bad"`
	Takt      time.Duration `json:"takt_ns"` // of the last device, from its arrival to its result
}

// A Slot is one place for a device. Create it with [New], then call [Slot.Run].
type Slot struct {
	cfg    Config                                          // not changed after New
	log    *slog.Logger                                    // not changed after New
	around func(call string, do func() error) func() error // seam for faults around each ledger call; nil in production

	mu      sync.Mutex // guards the fields below
	now     Snapshot
	changed chan struct{} // closed, then replaced, when now changes
	wanted  chan scan     // who waits for a scan; nil if nobody does
}

// New returns a slot, or everything that is missing or wrong in c at once.
func New(c Config) (*Slot, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	c.Timeouts = c.Timeouts.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Slot{
		cfg:     c,
		log:     c.Log.With("slot", c.Slot, "product", c.Product.ID),
		now:     Snapshot{Slot: c.Slot, Product: c.Product.ID, State: Empty, Since: time.Now()},
		changed: make(chan struct{}),
	}, nil
}

// Snapshot returns what is to be seen now and a channel that is closed as soon
// as there is something newer. A watcher that falls behind skips to the latest.
func (s *Slot) Snapshot() (Snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.changed
}

func (s *Slot) update(f func(*Snapshot)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updateLocked(f)
}

func (s *Slot) updateLocked(f func(*Snapshot)) {
	was := s.now.State
	f(&s.now)
	if s.now.State != was {
		s.now.Since = time.Now()
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

// Run takes devices, one after the other, until ctx is done. A device that is
// in the slot then is finished first. It returns nil, or an error that matches
// [ErrStop]: the line must not go on.
func (s *Slot) Run(ctx context.Context) error {
	defer s.update(func(n *Snapshot) { n.State = Stopped })
	for s.awaitDevice(ctx, true) {
		l := &link{cfg: &s.cfg}
		l.watch(ctx)
		err := s.handle(ctx, l)
		if err == nil {
			s.release(ctx, l)
		}
		l.unwatch()
		if err != nil || ctx.Err() != nil {
			return err
		}
		s.update(func(n *Snapshot) { *n = n.emptied() })
	}
	return nil
}

// release shows the result until the device has left the slot. A FAIL is shown
// for a moment at least, also if the device was pulled too early.
func (s *Slot) release(ctx context.Context, l *link) {
	shown, _ := s.Snapshot()
	select {
	case <-l.left:
	case <-l.watched:
		if l.present() == nil { // the watch failed
			s.awaitDevice(ctx, false)
		}
	case <-ctx.Done():
	}
	if shown.State == Fail {
		pause(ctx, s.cfg.Timeouts.Linger-time.Since(shown.Since))
	}
}

// awaitDevice waits until a device is in the slot, or until none is. It returns
// false when ctx is done. A slot that can't be watched says so and tries again:
// one bad socket doesn't end the line.
func (s *Slot) awaitDevice(ctx context.Context, want bool) bool {
	failed := ""
	for {
		err := s.present(ctx, want, failed)
		if ctx.Err() != nil {
			return false
		}
		if err == nil {
			return true
		}
		failed = "watch slot: " + printable(err.Error(), maxText)
		if want {
			s.update(func(n *Snapshot) {
				n.State, n.Error, n.Remedy = Fail, failed, "call a technician: the slot can't be watched"
			})
		}
		pause(ctx, time.Second)
	}
}

// present calls Present. One that failed before and doesn't fail at once is fine
// again, so that its error is no longer shown.
func (s *Slot) present(ctx context.Context, want bool, failed string) error {
	if failed != "" {
		defer time.AfterFunc(time.Second, func() {
			s.update(func(n *Snapshot) {
				if n.Error == failed {
					*n = n.emptied()
				}
			})
		}).Stop()
	}
	return s.cfg.Present(ctx, want)
}

// handle carries one device along the path, shows and logs its fate. It is the
// only logger of it. The error matches ErrStop.
func (s *Slot) handle(ctx context.Context, l *link) error {
	start := time.Now()
	j := newJob(s, l, ctx.Done())
	err := j.run(context.WithoutCancel(ctx)) // a stop finishes the device in the slot
	took := time.Since(start)
	s.update(func(n *Snapshot) {
		n.Takt, n.Result, n.Error, n.Remedy = took, j.result, j.text, remedyOf(err)
		switch {
		case err == nil:
			n.State, n.Good = Pass, n.Good+1
		case errors.Is(err, ErrStop):
			n.State, n.Bad = Stopped, n.Bad+1
		default:
			n.State, n.Bad = Fail, n.Bad+1
		}
	})
	s.logFate(ctx, j, took)
	if errors.Is(err, ErrStop) {
		return &redactedError{j.text, err}
	}
	return nil
}

func (s *Slot) logFate(ctx context.Context, j *job, took time.Duration) {
	result := "pass"
	if j.text != "" {
		result = "fail"
	}
	s.log.InfoContext(ctx, "device done", "serial", j.serial, "hardware_id", j.hardware, "batch", j.clear.Batch,
		"attempt", j.attempt(), "result", result, "outcome", string(j.outcome), "step", j.step,
		"took", took, "err", j.text)
}

// emptied is the snapshot of the slot without its device.
func (n Snapshot) emptied() Snapshot {
	return Snapshot{Slot: n.Slot, Product: n.Product, State: Empty, Good: n.Good, Bad: n.Bad, Takt: n.Takt}
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

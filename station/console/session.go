package console

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"mintmark/hsm/secret"
	"mintmark/station"
)

// Bounds of what a session keeps of received text.
const (
	recentSize = 4 << 10  // of a step that only expects: the last so many bytes
	answerSize = 64 << 10 // of a command's output: all, or the step fails
)

// A session is one phase on one port. It belongs to the goroutine of Do.
type session struct {
	*program
	link  station.Link
	phase station.Phase
	vars  station.Vars
	facts station.Facts
	log   *slog.Logger

	in     *inbox
	strip  stripper
	raw    [chunkSize]byte     // wiped as soon as it is stripped
	plain  [chunkSize + 1]byte // stripped text
	unread []byte              // what of plain no step has looked at
	fresh  bool                // the next byte begins a line

	text    []byte // what the step under way has looked at; cap answerSize
	overrun bool   // text has lost its beginning

	hushed  bool // what arrives may be the echo of a secret
	guarded bool // the step under way names a secret: its text is never shown
	blind   bool // the step under way may hear a secret that nobody knows: its text is shown veiled
	inside  bool // logged in by this phase
}

func (d *Driver) newSession(l station.Link, p station.Phase, v station.Vars) *session {
	return &session{
		program: d.program, link: l, phase: p, vars: v, facts: station.Facts{}, log: d.log,
		fresh: true, text: make([]byte, 0, answerSize),
	}
}

// attach begins to read from the link's port.
func (s *session) attach() {
	s.in = openInbox(s.link.Port())
	s.strip, s.unread, s.fresh = stripper{}, nil, true
}

// detach ends reading and wipes what was read.
func (s *session) detach() {
	if s.in == nil {
		return
	}
	s.in.close()
	s.in = nil
	s.forget()
	secret.Wipe(s.raw[:])
	secret.Wipe(s.plain[:])
	s.unread = nil
}

// forget wipes the text of the step.
func (s *session) forget() {
	secret.Wipe(s.text)
	s.text, s.overrun = s.text[:0], false
}

// fill waits for bytes and strips them. It fails with errIdle when none came for
// idle, unless that is zero.
func (s *session) fill(ctx context.Context, idle time.Duration) error {
	var quiet <-chan time.Time
	if idle > 0 {
		t := time.NewTimer(idle)
		defer t.Stop()
		quiet = t.C
	}
	for {
		if err := ctx.Err(); err != nil { // also while data never ends
			return err
		}
		n, err := s.in.take(s.raw[:])
		if n > 0 {
			s.unread = s.strip.strip(s.plain[:0], s.raw[:n])
			secret.Wipe(s.raw[:n])
			return s.answerQueries(ctx)
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return context.DeadlineExceeded
		}
		if err != nil {
			return err
		}
		select {
		case <-s.in.more:
		case <-quiet:
			return errIdle
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// answerQueries answers the device's questions about the terminal, if the script
// says so: all is well, and the cursor is at the top left.
func (s *session) answerQueries(ctx context.Context) error {
	queries := s.strip.queries
	s.strip.queries = queries[:0]
	if !s.answer {
		return nil
	}
	for _, q := range queries {
		text := "\x1b[0n"
		if q == '6' {
			text = "\x1b[1;1R"
		}
		if err := s.put(ctx, []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// next returns the next byte of text.
func (s *session) next(ctx context.Context, idle time.Duration) (byte, error) {
	for len(s.unread) == 0 {
		if err := s.fill(ctx, idle); err != nil {
			return 0, err
		}
	}
	c := s.unread[0]
	s.unread[0] = 0
	s.unread = s.unread[1:]
	s.fresh = c == '\n'
	s.keep(c)
	return c, nil
}

// keep notes a byte as text of the step.
func (s *session) keep(c byte) {
	if len(s.text) == cap(s.text) {
		// The second half becomes the first, so that memory stays constant.
		half := len(s.text) / 2
		n := copy(s.text, s.text[half:])
		secret.Wipe(s.text[n:])
		s.text, s.overrun = s.text[:n], true
	}
	s.text = append(s.text, c)
}

// recent is the end of what the step has looked at.
func (s *session) recent() []byte { return s.text[max(0, len(s.text)-recentSize):] }

// discard drops what has arrived, before something is sent that it can't be the
// answer to.
func (s *session) discard() {
	for {
		if n := len(s.unread); n > 0 {
			s.fresh = s.unread[n-1] == '\n'
		}
		secret.Wipe(s.unread)
		n, _ := s.in.take(s.raw[:])
		s.unread = s.strip.strip(s.plain[:0], s.raw[:n])
		secret.Wipe(s.raw[:n])
		if n == 0 {
			return
		}
	}
}

// A watch looks for several patterns in what arrives from now on.
type watch struct {
	s    *session
	pats []*pattern
	m    *matcher
}

func (s *session) watch(pats ...*pattern) *watch {
	return &watch{s, pats, newMatcher(pats, s.fresh)}
}

// next returns the index of the first pattern that matches. It fails with errIdle
// when nothing came for idle, unless that is zero, and may then be called again.
func (w *watch) next(ctx context.Context, idle time.Duration) (int, error) {
	for {
		c, err := w.s.next(ctx, idle)
		if err != nil {
			return -1, err
		}
		if hit := w.m.feed(c); hit >= 0 {
			return hit, nil
		}
	}
}

// A set of patterns, by their index.
type set uint8

func (s set) has(i int) bool { return s&(1<<i) != 0 }

// settled goes on after a hit until the device is quiet for the time of the
// settings. It returns the last hit, since a prompt is followed by nothing while
// text that only looks like one is followed by more, and all hits. A device that
// is never quiet gets a few times as long.
func (w *watch) settled(ctx context.Context, hit int) (last int, all set, err error) {
	short, cancel := context.WithTimeout(ctx, 10*w.s.settle)
	defer cancel()
	for {
		all |= 1 << hit
		again, err := w.next(short, w.s.settle)
		switch {
		case err == nil:
			hit = again
		case errors.Is(err, errIdle), short.Err() != nil && ctx.Err() == nil:
			return hit, all, nil
		default:
			return -1, all, err
		}
	}
}

// nextSettled is next, and then settled.
func (w *watch) nextSettled(ctx context.Context, idle time.Duration) (last int, all set, err error) {
	hit, err := w.next(ctx, idle)
	if err != nil {
		return -1, 0, err
	}
	return w.settled(ctx, hit)
}

// quiet waits until nothing has arrived for d.
func (s *session) quiet(ctx context.Context, d time.Duration) error {
	for {
		_, err := s.next(ctx, d)
		if errors.Is(err, errIdle) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// pause waits for d.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

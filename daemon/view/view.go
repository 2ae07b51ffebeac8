// Package view shows a running line to whoever looks at a terminal: what every
// slot does, how far it is, and how many devices were good. On a terminal it
// repaints in place; anywhere else it writes a line for each result.
package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"mintmark/daemon/api"
	"mintmark/station"
)

// A Source is asked for the status of a station; see [api.Client.Status].
type Source interface {
	Status(ctx context.Context, after string) (api.Status, error)
}

// Config says where to show what.
type Config struct {
	Out io.Writer

	// Size returns columns and rows of the terminal; nil: Out is none.
	Size func() (columns, rows int)
}

// maxNotes is how many of the latest notes a terminal shows.
const maxNotes = 6

// pace is the shortest time between two repaints.
const pace = 100 * time.Millisecond

// A View is what is on the screen. It is safe for use by several goroutines.
type View struct {
	cfg Config // not changed after New

	mu      sync.Mutex // guards the fields below and the writing
	title   string
	status  api.Status
	notes   []string
	partial string // of a note that has no end yet
	painted int    // lines on the screen that are ours
	closed  bool
	rate    rate
}

// New returns a view. Close it to leave the screen in order.
func New(c Config) *View { return &View{cfg: c, rate: rate{seen: map[string]int{}}} }

// Watch shows what the source says until ctx is done or the source is gone.
func (v *View) Watch(ctx context.Context, s Source) error {
	tag := ""
	for {
		st, err := s.Status(ctx, tag)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("watch station: %w", err)
		}
		tag = st.Tag
		v.show(st)
		if st.Stopping || v.rest(ctx) != nil {
			return nil
		}
	}
}

// rest waits between two repaints. Without a terminal there is nothing to spare,
// and no result to be missed.
func (v *View) rest(ctx context.Context) error {
	if v.cfg.Size == nil {
		return ctx.Err()
	}
	t := time.NewTimer(pace)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Title says what is going on, above the slots.
func (v *View) Title(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.title = fmt.Sprintf(format, args...)
	if v.cfg.Size == nil {
		fmt.Fprintln(v.cfg.Out, v.title)
		return
	}
	v.paint()
}

// Note shows something that happened, below the slots.
func (v *View) Note(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.note(fmt.Sprintf(format, args...))
	v.paint()
}

// Write takes what a log writes and shows its lines as notes.
func (v *View) Write(p []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	text := v.partial + string(p)
	for {
		line, rest, ended := strings.Cut(text, "\n")
		if !ended {
			break
		}
		v.note(line)
		text = rest
	}
	v.partial = text
	v.paint()
	return len(p), nil
}

func (v *View) note(line string) {
	if v.cfg.Size == nil || v.closed {
		fmt.Fprintln(v.cfg.Out, line)
		return
	}
	v.notes = append(v.notes, line)
	if more := len(v.notes) - maxNotes; more > 0 {
		v.notes = v.notes[more:]
	}
}

// Close leaves the last picture on the screen; what is written later comes below.
func (v *View) Close() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return errors.New("view is closed already")
	}
	v.paint()
	v.closed = true
	return nil
}

func (v *View) show(st api.Status) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	old := v.status
	v.status = st
	for _, s := range st.Slots {
		v.rate.count(now, s)
	}
	v.results(old)
	v.paint()
}

// results notes what happened in slots since old: every result where there is no
// terminal, and on one what was bad, since the next device soon hides it.
func (v *View) results(old api.Status) {
	before := map[string]station.Snapshot{}
	for _, s := range old.Slots {
		before[s.Slot] = s
	}
	for _, s := range v.status.Slots {
		was := before[s.Slot]
		live := v.cfg.Size != nil
		switch {
		case s.State == station.Fail && s.Bad != was.Bad, !live && s.State == station.Pass && s.Good != was.Good:
			v.note(result(s))
		case !live && s.State == station.WaitScan && was.State != station.WaitScan:
			v.note(fmt.Sprintf("slot %s waits for a scan: %s", s.Slot, s.Scan))
		}
	}
}

// result is one device in one line.
func result(s station.Snapshot) string {
	line := fmt.Sprintf("slot %s %s %s", s.Slot, s.State, s.Serial)
	for _, part := range []string{s.Result, s.Error} {
		if part != "" {
			line += " " + part
		}
	}
	if s.Remedy != "" {
		line += " (" + s.Remedy + ")"
	}
	if s.Takt > 0 {
		line += fmt.Sprintf(" in %.1f s", s.Takt.Seconds())
	}
	return line
}

// A rate counts devices over the last minute.
type rate struct {
	seen map[string]int // devices so far, by slot
	done []time.Time    // of each device of the last minute
	from time.Time      // when counting began
}

func (r *rate) count(now time.Time, s station.Snapshot) {
	if r.from.IsZero() {
		r.from = now
	}
	total := s.Good + s.Bad
	for n := r.seen[s.Slot]; n < total; n++ {
		r.done = append(r.done, now)
	}
	r.seen[s.Slot] = total // less than before after a restart
}

// perMinute is how many devices a minute the line makes now.
func (r *rate) perMinute(now time.Time) float64 {
	since := now.Add(-time.Minute)
	for len(r.done) > 0 && r.done[0].Before(since) {
		r.done = r.done[1:]
	}
	span := min(now.Sub(r.from), time.Minute)
	if span < 5*time.Second {
		return 0 // too early to say
	}
	return float64(len(r.done)) / span.Minutes()
}

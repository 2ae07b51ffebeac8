package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"mintmark/station"
)

// A Driver carries out a script. It keeps nothing from one phase to the next, so
// one Driver serves all slots of a product.
type Driver struct {
	program *program
	log     *slog.Logger
}

// New returns the driver of a script, or every mistake in it.
func New(s Script) (*Driver, error) {
	c := compiler{script: s}
	p := c.compile()
	if err := c.err(); err != nil {
		return nil, err
	}
	return &Driver{p, slog.New(slog.DiscardHandler)}, nil
}

// WithLog returns a driver that writes a transcript to log at level DEBUG: what
// is sent with its placeholders, and what comes back except while it may hold a
// secret.
func (d *Driver) WithLog(log *slog.Logger) *Driver { return &Driver{d.program, log} }

// Has implements [station.Driver].
func (d *Driver) Has(p station.Phase) bool { return len(d.program.phases[p]) > 0 }

// Needs implements [station.Driver].
func (d *Driver) Needs(p station.Phase) []string {
	var needs []string
	var facts []string
	for _, st := range d.program.phases[p] {
		for _, name := range st.needs() {
			if !slices.Contains(plainValues, name) && !slices.Contains(facts, name) && !slices.Contains(needs, name) {
				needs = append(needs, name)
			}
		}
		facts = append(facts, st.Capture)
		facts = slices.AppendSeq(facts, maps.Keys(st.Facts))
	}
	return needs
}

// Captures reports whether phase p reads the named fact from the device.
func (d *Driver) Captures(p station.Phase, name string) bool {
	return slices.ContainsFunc(d.program.phases[p], func(st step) bool {
		return st.Capture == name || slices.ContainsFunc(st.facts, func(f fact) bool { return f.name == name })
	})
}

// Do implements [station.Driver]. Its error is a [*StepError] with a remedy.
func (d *Driver) Do(ctx context.Context, l station.Link, p station.Phase, v station.Vars) (station.Facts, error) {
	s := d.newSession(l, p, v)
	for _, name := range d.Needs(p) {
		if v.Secret[name] == nil {
			return nil, fmt.Errorf("%s: the driver was not given {%s}", p, name)
		}
	}
	s.attach()
	defer s.detach()
	for i := range d.program.phases[p] {
		if err := s.step(ctx, &d.program.phases[p][i]); err != nil {
			s.drain(ctx)
			return nil, err
		}
	}
	return s.facts, nil
}

// step carries out one step, again if the script allows it.
func (s *session) step(ctx context.Context, st *step) error {
	var err error
	for try := 0; try <= st.Retry; try++ {
		if try > 0 {
			s.transcribe(ctx, "console step tried again", "step", st.index, "try", try+1)
		}
		if err = s.try(ctx, st); err == nil {
			return nil
		}
		var f *failure
		if ctx.Err() != nil || lost(err) || errors.As(err, &f) && f.final {
			break
		}
	}
	return &station.Fault{Err: s.named(ctx, st, err), Remedy: s.remedy(st, err)}
}

// try carries out one step once, by its deadline.
func (s *session) try(ctx context.Context, st *step) error {
	ctx, cancel := context.WithTimeout(ctx, st.timeout)
	defer cancel()
	s.forget()
	err := s.act(ctx, st)
	if err == nil && st.Quiet > 0 {
		err = s.quiet(ctx, time.Duration(st.Quiet))
	}
	if err == nil {
		s.received(ctx)
	}
	return err
}

// received puts the text of a step into the transcript, if it can't hold a
// secret.
func (s *session) received(ctx context.Context) {
	if !s.log.Enabled(ctx, slog.LevelDebug) || len(s.text) == 0 {
		return
	}
	if text, withheld := s.got(); withheld > 0 {
		s.transcribe(ctx, "console received", "bytes_withheld", withheld)
	} else {
		s.transcribe(ctx, "console received", "text", text)
	}
}

// got returns the end of the step's text, quoted, or how many bytes of it must not
// be shown.
func (s *session) got() (text string, withheld int) {
	if s.hushed || s.guarded || s.leaks(s.recent()) {
		return "", len(s.text)
	}
	if s.blind {
		return shown(veil(s.recent())), 0
	}
	return shown(s.recent()), 0
}

// act does what the step says.
func (s *session) act(ctx context.Context, st *step) error {
	s.guarded, s.blind = s.mentions(st), s.inherits(st)
	switch {
	case st.Run != "":
		return s.run(ctx, st)
	case st.Power != "":
		return s.moved(func() error { return s.link.Cycle(ctx) })
	case st.Reopen:
		return s.moved(func() error { return s.link.Reopen(ctx) })
	case st.Interrupt:
		return s.boot(ctx, st)
	case len(st.logins) > 0:
		return s.login(ctx, st)
	case st.Logout:
		return s.leave(ctx)
	case st.Wait > 0:
		return pause(ctx, time.Duration(st.Wait))
	}
	return s.converse(ctx, st)
}

// moved lets go of the port while something happens that may change it.
func (s *session) moved(do func() error) error {
	s.detach()
	err := do()
	s.attach()
	return err
}

// drain drops what still arrives after a secret was sent and a step failed, so
// that its echo is not there for the next phase to show. It is short whatever the
// device does.
func (s *session) drain(ctx context.Context) {
	if !s.hushed || s.in.revive() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 300*time.Millisecond)
	defer cancel()
	s.quiet(ctx, 50*time.Millisecond)
}

// named gives a failure the name of its step.
func (s *session) named(ctx context.Context, st *step, err error) *StepError {
	e := &StepError{Phase: s.phase, Step: st.index, Name: st.name(), Hint: st.Hint, Err: err}
	e.Got, e.Withheld = s.got()
	var f *failure
	switch {
	case errors.As(err, &f):
		e.Problem, e.Want, e.Err = f.problem, f.want, f.err
		if f.contrary && s.phase == station.Refuse {
			e.Err = station.ErrAccepted
		}
	case ctx.Err() != nil:
		e.Problem, e.Err = "given up: the phase took too long or was stopped", context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded):
		e.Problem, e.Want = fmt.Sprintf("nothing matched in %v", st.timeout), st.want(&s.settings)
	default:
		e.Problem = err.Error()
	}
	return e
}

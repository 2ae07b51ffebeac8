package console

import (
	"context"
	"errors"
	"fmt"
	"time"

	"mintmark/station"
)

// A verdict is what a device thinks of a user and a password.
type verdict int

const (
	accepted verdict = iota + 1
	open             // accepted without asking for a password
	expired          // accepted, but a new password must be chosen first
	denied
)

// login logs in, or makes sure that it can't. Only words of the device decide:
// silence is a failure whatever is wanted, and an accepted login is one that
// answers a command.
func (s *session) login(ctx context.Context, st *step) error {
	want := or(st.Login.Want, "accepted")
	list := s.possible(st.logins)
	if len(list) == 0 {
		return refused("no password is known in this phase")
	}
	for i, l := range list {
		v, err := s.attempt(ctx, l, want == "any")
		if err != nil {
			return err
		}
		if v == denied && i < len(list)-1 {
			if err := pause(ctx, s.throttle); err != nil {
				return err
			}
			continue
		}
		return s.conclude(ctx, v, l, want)
	}
	return nil
}

// possible leaves out the logins whose values this phase doesn't have.
func (s *session) possible(logins []login) []login {
	var list []login
	for _, l := range logins {
		_, uerr := s.values(l.user)
		_, perr := s.values(l.password)
		if uerr == nil && perr == nil {
			list = append(list, l)
		}
	}
	return list
}

// conclude turns a verdict into success or failure, and leaves a console that
// can be used.
func (s *session) conclude(ctx context.Context, v verdict, l login, want string) error {
	if want == "denied" {
		return s.refusal(ctx, v, l)
	}
	switch v {
	case denied:
		f := refused("device refuses the login of %s", l.user.shown)
		f.want = "it accepted"
		return f
	case open:
		if l.password.empty() || want == "any" {
			return nil
		}
		f := refused("device asked %s for no password", l.user.shown)
		f.want = "a password prompt, " + s.password.String()
		f.hint = "set the device aside: its account is open"
		return f
	case expired:
		f := refused("device demands that %s choose a new password", l.user.shown)
		f.hint = "call a technician: the profile must answer this, or the firmware must not ask"
		return f
	}
	return nil
}

// refusal makes sure that a refused login is one: afterwards there is no session.
func (s *session) refusal(ctx context.Context, v verdict, l login) error {
	if v != denied {
		return s.letIn(l)
	}
	there, err := s.reach(ctx, true)
	if err != nil {
		return err
	}
	if there {
		if v, err = s.confirm(ctx, accepted); err != nil {
			return err
		}
		if v == accepted {
			return s.letIn(l)
		}
	}
	return pause(ctx, s.throttle)
}

// letIn is the failure of a device that accepts what it must refuse.
func (s *session) letIn(l login) error {
	f := refused("device accepts %s with %s", l.user.shown, l.password.shown)
	f.want = "the login refused"
	f.contrary = true
	f.hint = "set the device aside and call quality: it has a password that others know"
	return f
}

// attempt types a user and a password, and learns what the device thinks of
// them. With either, a session that is there already will do.
func (s *session) attempt(ctx context.Context, l login, either bool) (verdict, error) {
	there, err := s.reach(ctx, either)
	if err != nil {
		return 0, err
	}
	if there {
		return s.confirm(ctx, accepted)
	}
	if err := s.typeIn(ctx, l.user); err != nil {
		return 0, err
	}
	w := s.watch(s.password, s.denied, s.prompt, s.loginPrompt)
	hit, err := w.next(ctx, 0)
	if err == nil && hit >= 2 {
		hit, _, err = w.settled(ctx, hit)
	}
	switch {
	case err != nil:
		return 0, s.silent(ctx, err, "password prompt", s.password)
	case hit == 1:
		return denied, nil
	case hit == 2:
		return s.confirm(ctx, open)
	case hit == 3:
		return 0, &failure{problem: "login prompt came again instead of a password prompt", want: s.password.String()}
	}
	if err := s.typeIn(ctx, l.password); err != nil {
		return 0, err
	}
	return s.verdict(ctx)
}

func (s *session) typeIn(ctx context.Context, t template) error {
	l, err := s.typed("", t, "", "")
	if err != nil {
		return err
	}
	defer l.close()
	return s.send(ctx, l, true)
}

// verdict waits for the answer to a password. A word of refusal counts once a
// prompt for the next try follows it: a session may begin with such words too.
func (s *session) verdict(ctx context.Context) (verdict, error) {
	w := s.watch(s.denied, s.change, s.prompt, s.loginPrompt, s.password)
	no := false
	for {
		var patience time.Duration
		if no {
			patience = s.nudge
		}
		hit, all, err := w.nextSettled(ctx, patience)
		no = no || all.has(0)
		switch {
		case errors.Is(err, errIdle):
			return denied, nil
		case err != nil:
			return 0, s.silent(ctx, err, "answer to the password", s.prompt)
		case all.has(1):
			s.hushed = false
			return expired, nil
		case hit == 2:
			return s.confirm(ctx, accepted)
		case hit == 0:
		case no:
			s.hushed = false
			return denied, nil
		default:
			return 0, &failure{problem: "login prompt came back without a word about the password", want: s.denied.String(),
				hint: "call a technician: login.denied in the profile must be what the device says"}
		}
	}
}

// confirm makes sure that a prompt is one, and sets the session up. Text that only
// looked like a prompt is followed by the device's real answer, and what is typed
// here then counts as a user name.
func (s *session) confirm(ctx context.Context, v verdict) (verdict, error) {
	s.inside = true
	if !s.dialect.hasMarkers() {
		s.hushed = false
		return v, nil
	}
	m := newMarker()
	before, _ := s.dialect.frame(m, s.newline)
	if s.setup != "" {
		before = s.setup + ";" + before
	}
	if err := s.say(ctx, before); err != nil {
		return 0, err
	}
	w := s.watch(m.pattern("b"), s.denied, s.loginPrompt, s.password)
	for no := false; ; {
		hit, err := w.next(ctx, 0)
		switch {
		case err != nil:
			return 0, s.silent(ctx, err, "answer of the shell", s.prompt)
		case hit == 0:
			s.hushed = false
			return v, nil
		case hit == 1:
			no = true
		case no:
			s.hushed, s.inside = false, false
			return denied, nil
		}
	}
}

// silent puts into words that something never came.
func (s *session) silent(ctx context.Context, err error, what string, want *pattern) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &failure{problem: fmt.Sprintf("no %s in time", what), want: want.String(), err: err}
}

// maxLogouts is how often a session is left before the console counts as one
// that logs in by itself.
const maxLogouts = 3

// reach gets to the login prompt. With either, a session that is there already
// will do, and it returns true. At first contact a device is left alone until it
// is quiet: it may be booting, and a newline would stop that.
func (s *session) reach(ctx context.Context, either bool) (session bool, err error) {
	idle := s.settle
	if s.firstContact() {
		idle = s.nudge
	}
	w := s.watch(s.loginPrompt, s.password, s.prompt)
	for logouts := 0; ; {
		hit, _, err := w.nextSettled(ctx, idle)
		switch {
		case errors.Is(err, errIdle):
			idle = s.nudge
			err = s.enter(ctx)
		case err != nil:
			return false, s.silent(ctx, err, "login prompt", s.loginPrompt)
		case hit == 0:
			s.inside = false
			return false, nil
		case hit == 1:
			err = s.enter(ctx)
		case either:
			return true, nil
		case logouts == maxLogouts:
			f := refused("console logs in by itself, so no login can be tried on it")
			f.hint = "call a technician: the profile must try the login another way"
			return false, f
		default:
			logouts++
			err = s.say(ctx, s.logout)
		}
		if err != nil {
			return false, err
		}
	}
}

// firstContact says whether nothing is known of the device yet.
func (s *session) firstContact() bool {
	return s.phase == station.Identify && s.vars.Plain["hardware_id"] == "" && s.vars.Plain["serial"] == "" && !s.inside
}

// leave ends the session, if this phase has one.
func (s *session) leave(ctx context.Context) error {
	if !s.inside {
		return nil
	}
	if err := s.say(ctx, s.logout); err != nil {
		return err
	}
	if _, _, err := s.watch(s.loginPrompt, s.prompt).nextSettled(ctx, 0); err != nil {
		return s.silent(ctx, err, "login prompt", s.loginPrompt)
	}
	s.inside = false
	return nil
}

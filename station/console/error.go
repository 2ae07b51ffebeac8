package console

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"mintmark/station"
)

// Errors of a step, beside those of the port and the context.
var (
	errIdle   = errors.New("device is quiet") // nothing came for as long as was asked
	errNoData = errors.New("port returns neither data nor an error")
)

// A StepError says which step of a phase failed, how, and what can be done. It
// holds no secret: what the device sent while it might have echoed one is
// counted, not shown.
type StepError struct {
	Phase    station.Phase
	Step     int    // from 1, as in the script
	Name     string // what the step does: `run "setenv {var} {verifier}"`
	Problem  string // "nothing matched in 5s"
	Want     string // "/login:/", or empty
	Got      string // the end of what the device sent, quoted, or empty
	Withheld int    // bytes that are not shown because they may hold a secret
	Hint     string // remedy for the operator, or empty
	Err      error  // the cause, or nil
}

func (e *StepError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s step %d: %s: %s", e.Phase, e.Step, e.Name, e.Problem)
	if e.Want != "" {
		fmt.Fprintf(&b, ", want %s", e.Want)
	}
	if e.Got != "" {
		fmt.Fprintf(&b, ", got %s", e.Got)
	}
	if e.Withheld > 0 {
		fmt.Fprintf(&b, ", %d bytes withheld after a secret", e.Withheld)
	}
	return b.String()
}

func (e *StepError) Unwrap() error { return e.Err }

// A failure is what went wrong in a step, before the step puts its name to it.
type failure struct {
	problem string
	want    string
	hint    string
	err     error
	final   bool // trying again is of no use, or does harm

	// contrary: the device did what the step says that it must not. In the refuse
	// phase this means that it accepted the candidate.
	contrary bool
}

func (f *failure) Error() string { return f.problem }

func (f *failure) Unwrap() error { return f.err }

// refused is a failure that trying again doesn't mend.
func refused(format string, args ...any) *failure {
	return &failure{problem: fmt.Sprintf(format, args...), final: true}
}

// maxShown bounds what an error or transcript shows of the device's text.
const maxShown = 120

// shown quotes the end of text.
func shown(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return ""
	}
	if len(text) > maxShown {
		return fmt.Sprintf("...%q", text[len(text)-maxShown:])
	}
	return fmt.Sprintf("%q", text)
}

// name says what a step does, in the words of the script.
func (st *step) name() string {
	switch {
	case st.Run != "":
		return fmt.Sprintf("run %q", clip(st.text.shown))
	case st.Send != "":
		return fmt.Sprintf("send %q", clip(st.text.shown))
	case st.Control != "":
		return "press " + st.Control
	case st.Power != "":
		return "power " + st.Power
	case st.Reopen:
		return "reopen"
	case st.Interrupt:
		return "interrupt boot"
	case len(st.logins) > 0:
		return fmt.Sprintf("log in as %q", clip(st.logins[0].user.shown))
	case st.Logout:
		return "log out"
	case st.Wait > 0:
		return "wait"
	case st.expect != nil:
		return "expect"
	}
	return "be quiet"
}

// clip bounds text of the script.
func clip(text string) string {
	if len(text) > 60 {
		return text[:60] + "..."
	}
	return text
}

// want says what a step waits for.
func (st *step) want(s *settings) string {
	switch {
	case st.expect != nil:
		return st.expect.String()
	case st.Interrupt, st.Run != "":
		return s.prompt.String()
	}
	return ""
}

// remedy is what an operator can do about err: what the step says, or what is
// known of the cause.
func (s *session) remedy(st *step, err error) string {
	var f *failure
	var fault *station.Fault
	switch {
	case st.Hint != "":
		return st.Hint
	case errors.As(err, &f) && f.hint != "":
		return f.hint
	case errors.As(err, &fault):
		return fault.Remedy
	case lost(err):
		return "check cable and contacts, then put the device in again"
	case len(s.text) == 0:
		return "check that the device has power and that its console is connected"
	}
	return "put the device in again; if it fails the same way, set it aside and call a technician"
}

package console

import (
	"bytes"
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"mintmark/hsm/secret"
)

// A marker is a text that appears in a command's output and, because it is typed in
// two pieces, never in its echo. It is drawn afresh for each command, so that
// nothing older is taken for it.
type marker string

func newMarker() marker { return marker(fmt.Sprintf("mm%07x", rand.Uint32N(1<<28))) }

// typed is the marker as it is typed, a word of every dialect that has markers.
func (m marker) typed(suffix string) string {
	return "'" + string(m[:2]) + "''" + string(m[2:]) + suffix + "'"
}

// pattern matches the line that the marker and what follows it make.
func (m marker) pattern(rest string) *pattern {
	p, err := compileStream(string(m) + rest + `\n`)
	if err != nil {
		panic("console: internal error: " + err.Error())
	}
	return p
}

// frame is what stands around a command so that its output begins with a line
// "...b" and ends with "...e STATUS".
func (d Dialect) frame(m marker, newline string) (before, after string) {
	switch d {
	case Python: // an exception skips the first end, not the second
		return "print(" + m.typed("b") + "); ",
			"; print(" + m.typed("e") + ", 0)" + newline + "print(" + m.typed("e") + ", 1)"
	case Posix: // the space keeps it out of histories
		return " echo " + m.typed("b") + "; ", "; echo " + m.typed("e") + ` "$?"`
	default:
		return "echo " + m.typed("b") + "; ", "; echo " + m.typed("e") + ` "$?"`
	}
}

// run sends a command and judges its output.
func (s *session) run(ctx context.Context, st *step) error {
	if !s.dialect.hasMarkers() {
		return s.runToPrompt(ctx, st)
	}
	m := newMarker()
	before, after := s.dialect.frame(m, s.newline)
	l, err := s.typed(before, st.text, after, s.dialect)
	if err != nil {
		return err
	}
	err = s.send(ctx, l, true)
	l.close()
	if err != nil {
		return err
	}
	if _, err := s.watch(m.pattern("b")).next(ctx, 0); err != nil {
		return s.unanswered(ctx, err, "command did not begin")
	}
	s.forget()
	end := m.pattern(`e ([0-9]{1,3})`)
	if _, err := s.watch(end).next(ctx, 0); err != nil {
		return s.unanswered(ctx, err, "command did not end")
	}
	s.hushed = false
	if s.overrun {
		return refused("output is longer than %d bytes", answerSize)
	}
	at := end.re.FindSubmatchIndex(s.text)
	status := string(s.text[at[2]:at[3]])
	secret.Wipe(s.text[at[0]:])
	s.text = s.text[:at[0]]
	return s.judge(st, status, s.text)
}

// unanswered puts into words that no marker came, and cancels what may still be
// running or half typed, for another try.
func (s *session) unanswered(ctx context.Context, err error, problem string) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	short, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := s.key(short, "c"); lost(err) {
		return err
	}
	if err := s.quiet(short, s.settle); lost(err) { // what is typed before the prompt is back may be dropped
		return err
	}
	return &failure{problem: problem + " in time", err: err,
		hint: "check that the device is at its prompt, then try again"}
}

// runToPrompt is run for a device without markers: the output ends with the prompt.
// Log noise can bring a prompt along before the answer, so where the step says
// what it wants, a prompt without it is not the last one.
func (s *session) runToPrompt(ctx context.Context, st *step) error {
	l, err := s.typed("", st.text, "", s.dialect)
	if err != nil {
		return err
	}
	err = s.send(ctx, l, true)
	l.close()
	if err != nil {
		return err
	}
	w := s.watch(s.prompt)
	for prompted := false; ; prompted = true {
		hit, err := w.next(ctx, 0)
		if err == nil && (!st.answered(s.text) || !st.wants()) {
			_, _, err = w.settled(ctx, hit)
		}
		late := prompted && errors.Is(err, context.DeadlineExceeded)
		if err != nil && !late {
			return err
		}
		if s.overrun {
			return refused("output is longer than %d bytes", answerSize)
		}
		if late || st.answered(s.text) {
			s.hushed = s.hushed && late
			return s.judge(st, "", s.text)
		}
	}
}

// wants says whether the step says what it wants of an answer.
func (st *step) wants() bool { return st.match != nil || len(st.facts) > 0 }

// answered says whether text has what the step wants, or refuses.
func (st *step) answered(text []byte) bool {
	if st.fail != nil && st.fail.re.Match(text) {
		return true
	}
	for _, f := range st.facts {
		if !f.pattern.re.Match(text) {
			return false
		}
	}
	return st.match == nil || st.match.re.Match(text)
}

// converse sends text or a key, and waits for what the step expects.
func (s *session) converse(ctx context.Context, st *step) error {
	if err := s.utter(ctx, st); err != nil {
		return err
	}
	if st.expect == nil {
		return nil
	}
	w := s.watch(st.fail, st.expect)
	for {
		hit, err := w.next(ctx, time.Duration(st.Nudge))
		switch {
		case errors.Is(err, errIdle):
			if err := s.enter(ctx); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		case hit == 0:
			return failed(st)
		}
		s.hushed = false
		return s.judge(st, "", s.recent())
	}
}

func (s *session) utter(ctx context.Context, st *step) error {
	switch {
	case st.Send != "":
		l, err := s.typed("", st.text, "", "")
		if err != nil {
			return err
		}
		defer l.close()
		return s.send(ctx, l, !st.Bare)
	case st.Control != "":
		return s.key(ctx, st.Control)
	}
	return nil
}

func failed(st *step) error {
	f := refused("device answered what the step refuses")
	f.want = "no " + st.fail.String()
	f.contrary = true
	return f
}

// judge holds an answer against what the step wants of it.
func (s *session) judge(st *step, status string, text []byte) error {
	if st.Run != "" && st.fail != nil && st.fail.re.Match(text) {
		return failed(st)
	}
	if want := or(st.Status, "0"); status != "" && want != "any" && (status == "0") != (want == "0") {
		return &failure{problem: "exit status is " + status, want: want, contrary: want == "nonzero"}
	}
	value, err := st.value(text)
	if err != nil {
		return err
	}
	if err := s.compare(st, text, value); err != nil {
		return err
	}
	if st.Capture != "" {
		if err := s.capture(st.Capture, value); err != nil {
			return err
		}
	}
	return s.captureMore(st, text)
}

// captureMore keeps the facts of Facts.
func (s *session) captureMore(st *step, text []byte) error {
	for _, f := range st.facts {
		value, err := f.pattern.find(text)
		if err == nil {
			err = s.capture(f.name, value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// value is what Match or Expect found. It is nil if the step has neither.
func (st *step) value(text []byte) ([]byte, error) {
	switch {
	case st.match != nil:
		return st.match.find(text)
	case st.expect != nil:
		return st.expect.find(text)
	}
	return nil, nil
}

// find returns the first group of the first match, or all of the match.
func (p *pattern) find(text []byte) ([]byte, error) {
	found := p.re.FindSubmatch(text)
	switch {
	case found == nil:
		return nil, &failure{problem: "answer doesn't match", want: p.String()}
	case len(found) > 1:
		return found[1], nil
	}
	return found[0], nil
}

// compare checks Equal and Absent. The device's text is compared where it lies.
func (s *session) compare(st *step, text, value []byte) error {
	if !st.equal.empty() {
		same, err := s.holds(st.equal, func(want []byte) bool {
			if st.match != nil || st.expect != nil {
				return equal(value, want)
			}
			return hasLine(text, want)
		})
		if err != nil {
			return err
		}
		if !same {
			return &failure{problem: "answer is another", want: st.equal.shown}
		}
	}
	if st.absent.empty() {
		return nil
	}
	there, err := s.holds(st.absent, func(v []byte) bool { return len(v) > 0 && bytes.Contains(text, v) })
	if err != nil || !there {
		return err
	}
	return &failure{problem: "answer holds what must not be there", want: "no " + st.absent.shown, contrary: true}
}

// holds calls f with the text of a template, in secret memory.
func (s *session) holds(t template, f func(v []byte) bool) (bool, error) {
	l, err := s.compose("", t, "", "")
	if err != nil {
		return false, err
	}
	defer l.close()
	return f(l.v.Bytes()[:l.n]), nil
}

// equal compares in constant time what is between white space.
func equal(got, want []byte) bool { return subtle.ConstantTimeCompare(bytes.TrimSpace(got), want) == 1 }

func hasLine(text, want []byte) bool {
	for line := range bytes.Lines(text) {
		if equal(line, want) {
			return true
		}
	}
	return false
}

// maxFact bounds what a device may say of itself.
const maxFact = 128

// capture keeps what a device said, if it is short, printable and no secret.
func (s *session) capture(name string, value []byte) error {
	value = bytes.TrimSpace(value)
	switch {
	case len(value) == 0:
		return &failure{problem: name + " is empty", want: "a text"}
	case len(value) > maxFact:
		return &failure{problem: fmt.Sprintf("%s has %d characters", name, len(value)), want: "at most " + strconv.Itoa(maxFact)}
	case !typeable(value):
		return &failure{problem: name + " is not printable", want: "printable ASCII"}
	case s.leaks(value):
		return refused("%s holds a secret", name)
	}
	s.facts[name] = string(value)
	return nil
}

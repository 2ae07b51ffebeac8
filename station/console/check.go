package console

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"mintmark/station"
)

// A Mistake is one thing that is wrong with a script.
type Mistake struct {
	Key  string // setting or step as in the profile, counted from 1: "prompt", "login.denied", "inject[2].expect"
	Text string // what is wrong and what was wanted
}

func (m *Mistake) Error() string { return fmt.Sprintf("%s: %s", m.Key, m.Text) }

// Check reports every mistake in the script as a joined error of [*Mistake]s.
// With the names of the product's credentials it also reports placeholders that
// nothing fills. A var that nothing uses is a mistake here, since it may be
// misspelt, and not for [New].
func (s Script) Check(credentials ...string) error {
	c := compiler{script: s}
	if len(credentials) > 0 {
		c.known = func(name string) bool {
			return slices.Contains(credentials, strings.TrimSuffix(name, ".verifier"))
		}
	}
	c.compile()
	c.unused()
	return c.err()
}

func (c *compiler) err() error {
	var errs []error
	for _, m := range c.mistakes {
		errs = append(errs, m)
	}
	return errors.Join(errs...)
}

// plainValues are the values of the station that are no secret.
var plainValues = []string{"serial", "product", "hardware_id", "label"}

// phase compiles the steps of one phase that apply.
func (c *compiler) phase(p *program, phase station.Phase) {
	var facts []string
	for i, raw := range c.script.phase(phase) {
		key := fmt.Sprintf("%s[%d]", phase, i+1)
		c.when(key, raw.When)
		if !applies(raw.When, c.script.Vars) {
			continue
		}
		st := c.step(key, raw, p)
		st.index = i + 1
		for _, name := range st.names() {
			c.name(key, name, phase, facts)
		}
		facts = append(facts, raw.Capture)
		facts = slices.AppendSeq(facts, maps.Keys(raw.Facts))
		p.phases[phase] = append(p.phases[phase], st)
	}
}

var validWhen = regexp.MustCompile(`^!?[A-Za-z0-9][A-Za-z0-9_.-]*(=.*)?$`)

func (c *compiler) when(key, when string) {
	for _, cond := range strings.Split(when, " and ") {
		if when != "" && !validWhen.MatchString(cond) {
			c.mistake(key+".when", "is %.40q, want a form like \"var\", \"!var\", \"var=text\" or several joined by \" and \"", when)
		}
	}
}

// name checks that something fills a placeholder.
func (c *compiler) name(key, name string, phase station.Phase, facts []string) {
	switch {
	case slices.Contains(plainValues, name), slices.Contains(facts, name):
		return
	case strings.HasPrefix(name, "candidate"):
		if phase != station.Refuse || (name != "candidate" && name != "candidate.user") {
			c.mistake(key, "there is no {%.40s} in the %s phase", name, phase)
		}
		return
	case phase == station.Refuse:
		c.mistake(key, "there is no {%.40s} in the refuse phase, want {candidate} or {candidate.user}", name)
		return
	}
	if c.known != nil && !c.known(name) {
		c.mistake(key, "nothing fills {%.40s}, want a credential's name, a var, serial, product, hardware_id, label or a fact captured before", name)
	}
}

func (c *compiler) step(key string, raw Step, p *program) step {
	st := step{Step: raw}
	st.timeout = c.duration(key+".timeout", raw.Timeout, raw.patience(p.timeout), maxTimeout)
	c.action(key, raw, p)
	c.expectation(key, raw)
	st.text = c.typed(key, raw)
	st.equal = c.template(key+".equal", raw.Equal)
	st.absent = c.template(key+".absent", raw.Absent)
	st.expect = c.pattern(key+".expect", raw.Expect)
	st.match = c.whole(key+".match", raw.Match)
	for _, name := range slices.Sorted(maps.Keys(raw.Facts)) {
		if p := c.whole(key+".facts."+name, raw.Facts[name]); p != nil {
			st.facts = append(st.facts, fact{name, p})
		}
	}
	st.fail = c.failure(key+".fail", raw)
	st.logins = c.logins(key+".login", raw.Login)
	c.duration(key+".wait", raw.Wait, 0, maxTimeout)
	c.duration(key+".quiet", raw.Quiet, 0, time.Minute)
	c.duration(key+".nudge", raw.Nudge, 0, time.Minute)
	if raw.Retry < 0 || raw.Retry > 20 {
		c.mistake(key+".retry", "is %d, want 0 to 20", raw.Retry)
	}
	return st
}

// typed compiles what the step types.
func (c *compiler) typed(key string, raw Step) template {
	text := raw.Send
	if key += ".send"; raw.Run != "" {
		text, key = raw.Run, strings.TrimSuffix(key, "send")+"run"
	}
	before := len(c.mistakes)
	t := c.template(key, text)
	if text != "" && t.empty() && len(c.mistakes) == before {
		c.mistake(key, "%s is empty, want the var that it names set", text)
	}
	return t
}

// patience is the time-out of a step that names none.
func (st Step) patience(usual time.Duration) time.Duration {
	switch {
	case st.Power != "", st.Reopen, st.Interrupt, st.Login != nil:
		return max(usual, time.Minute)
	}
	return usual + time.Duration(st.Wait) + time.Duration(st.Quiet)
}

// action checks that there is at most one, and that what goes with it is there.
func (c *compiler) action(key string, raw Step, p *program) {
	n := 0
	for _, is := range []bool{
		raw.Run != "", raw.Send != "", raw.Control != "", raw.Wait != 0, raw.Power != "",
		raw.Reopen, raw.Interrupt, raw.Login != nil, raw.Logout,
	} {
		if is {
			n++
		}
	}
	switch {
	case n > 1:
		c.mistake(key, "has %d actions, want one of run, send, control, wait, power, reopen, interrupt, login and logout", n)
	case n == 0 && raw.Expect == "" && raw.Quiet == 0:
		c.mistake(key, "does nothing, want run, send, control, wait, power, reopen, interrupt, login, logout, expect or quiet")
	}
	if raw.Control != "" {
		if _, ok := controlKey(raw.Control); !ok {
			c.mistake(key+".control", "is %.20q, want enter, esc, tab or a to z", raw.Control)
		}
	}
	if raw.Power != "" {
		c.choice(key+".power", raw.Power, "cycle")
	}
	if c.patternVars()["prompt"] == "" && (raw.Interrupt || raw.Run != "" && !p.dialect.hasMarkers()) {
		c.mistake(key, "needs to know when the device is ready, want prompt set")
	}
	if raw.Bare && raw.Send == "" {
		c.mistake(key+".bare", "is only for send")
	}
}

// expectation checks what may be said about an answer.
func (c *compiler) expectation(key string, raw Step) {
	complete := raw.Run != "" || raw.Expect != ""
	for _, f := range [][2]string{{"match", raw.Match}, {"equal", raw.Equal}, {"absent", raw.Absent}, {"capture", raw.Capture}} {
		if f[1] != "" && !complete {
			c.mistake(key+"."+f[0], "is about an answer, want run or expect beside it")
		}
	}
	if raw.Run != "" && raw.Expect != "" {
		c.mistake(key+".expect", "is not for run, which knows where its output ends: want match")
	}
	if (raw.Interrupt || raw.Login != nil || raw.Logout || raw.Power != "" || raw.Reopen || raw.Wait != 0) && raw.Expect != "" {
		c.mistake(key+".expect", "is only for send, control and a step of its own")
	}
	if raw.Status != "" {
		c.choice(key+".status", raw.Status, "0", "nonzero", "any")
		if raw.Run == "" {
			c.mistake(key+".status", "is only for run")
		}
	}
	c.factName(key+".capture", raw.Capture)
	for _, name := range slices.Sorted(maps.Keys(raw.Facts)) {
		c.factName(key+".facts", name)
		if !complete {
			c.mistake(key+".facts", "is about an answer, want run or expect beside it")
		}
	}
}

// unused reports vars that no text of the script names: a misspelt one would
// have no effect.
func (c *compiler) unused() {
	used := map[string]bool{}
	note := func(texts ...string) {
		for _, text := range texts {
			for _, s := range anyName.FindAllString(text, -1) {
				used[s[1:len(s)-1]] = true
			}
		}
	}
	s := c.script
	note(s.Prompt, s.Autoboot, s.Interrupt, s.Login.Prompt, s.Login.Password, s.Login.Denied, s.Login.Change, s.Login.Logout, s.Login.Setup)
	note(slices.Collect(maps.Values(s.Vars))...)
	for _, phase := range phases {
		for _, st := range s.phase(phase) {
			note(st.Run, st.Send, st.Expect, st.Fail, st.Match, st.Equal, st.Absent, st.When)
			note(slices.Collect(maps.Values(st.Facts))...)
			for _, cond := range strings.Split(st.When, " and ") {
				name, _, _ := strings.Cut(strings.TrimPrefix(cond, "!"), "=")
				used[name] = true
			}
			for l := st.Login; l != nil; l = l.Or {
				note(l.User, l.Password)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Vars)) {
		if !used[name] {
			c.mistake("vars."+name, "is used nowhere, want a name that a step or setting has in braces")
		}
	}
}

func (c *compiler) factName(key, name string) {
	if name != "" && !factName.MatchString(name) {
		c.mistake(key, "is %.40q, want a name of a-z, 0-9 and _, such as \"hardware_id\"", name)
	}
}

var factName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,31}$`)

func (c *compiler) template(key, text string) template {
	t, err := parseTemplate(text, c.script.Vars)
	if err != nil {
		c.mistake(key, "%v", err)
	}
	for _, p := range t.parts {
		if !typeable([]byte(p.text)) {
			c.mistake(key, "has a control character or one outside ASCII, want control for keys")
			break
		}
	}
	return t
}

// whole compiles a pattern for a complete answer.
func (c *compiler) whole(key, text string) *pattern {
	if text = c.filled(key, text); text == "" {
		return nil
	}
	p, err := compileWhole(text)
	if err != nil {
		c.mistake(key, "%v", err)
	}
	return p
}

// failure compiles Fail, which for run is about its output.
func (c *compiler) failure(key string, raw Step) *pattern {
	if raw.Run != "" {
		return c.whole(key, raw.Fail)
	}
	return c.pattern(key, raw.Fail)
}

func (c *compiler) logins(key string, l *LoginStep) []login {
	if l == nil {
		return nil
	}
	c.choice(key+".want", or(l.Want, "accepted"), "accepted", "denied", "any")
	if l.Or != nil && l.Want != "any" {
		c.mistake(key+".or", "is only for want = \"any\"")
	}
	var list []login
	for at := l; at != nil; at = at.Or {
		list = append(list, login{c.template(key+".user", at.User), c.template(key+".password", at.Password)})
		if at.User == "" {
			c.mistake(key+".user", "missing, want the name to log in with")
		}
		if len(list) > 3 {
			c.mistake(key+".or", "has more than three, want fewer: devices lock out who guesses")
			break
		}
	}
	return list
}

// names lists every value that the step must have. Of several logins those that
// have no password yet are left out when the time comes.
func (st *step) names() []string {
	names := slices.Concat(st.text.names(), st.equal.names(), st.absent.names())
	for _, l := range st.logins {
		names = slices.Concat(names, l.user.names(), l.password.names())
	}
	return names
}

// needs is names without those of logins that may be left out.
func (st *step) needs() []string {
	if len(st.logins) > 1 {
		return slices.Concat(st.text.names(), st.equal.names(), st.absent.names())
	}
	return st.names()
}

// controlKey returns the byte of a key.
func controlKey(key string) (byte, bool) {
	switch {
	case key == "enter":
		return '\r', true // stands for the newline of the settings
	case key == "esc":
		return 0x1b, true
	case key == "tab":
		return '\t', true
	case len(key) == 1 && key[0] >= 'a' && key[0] <= 'z':
		return key[0] - 'a' + 1, true
	}
	return 0, false
}

// markers says whether commands can be put between markers.
func (d Dialect) hasMarkers() bool { return d == UBoot || d == Posix || d == Python }

package console

import (
	"fmt"
	"regexp"
	"time"

	"mintmark/station"
)

// A program is a script ready to run: defaults filled in, texts parsed, patterns
// compiled, and the steps left out that don't apply. It is not changed after
// compile and shared by all slots.
type program struct {
	settings
	phases map[station.Phase][]step
}

// settings are a script's settings with their defaults.
type settings struct {
	dialect   Dialect
	newline   string
	charDelay time.Duration
	lineDelay time.Duration
	lineLimit int
	timeout   time.Duration
	settle    time.Duration
	nudge     time.Duration
	answer    bool

	prompt    *pattern
	autoboot  *pattern
	interrupt string

	loginPrompt *pattern
	password    *pattern
	denied      *pattern
	change      *pattern
	throttle    time.Duration
	logout      string
	setup       string
}

// A step is a [Step] ready to run.
type step struct {
	Step
	index   int // from 1, in the script
	timeout time.Duration

	text   template // of Run or Send
	expect *pattern
	fail   *pattern
	match  *pattern
	facts  []fact // by name
	equal  template
	absent template
	logins []login // what to try, in order
}

// A fact is what one more pattern finds in an answer.
type fact struct {
	name    string
	pattern *pattern
}

// A login is a [LoginStep] ready to run.
type login struct {
	user     template
	password template
}

// Defaults of the patterns. "mintmark# " is the prompt that setup gives a POSIX
// shell. A login prompt is not to be taken from the "Last login:" that follows a
// good one.
const (
	defaultPrompt      = `mintmark# |[#$%>] `
	defaultLoginPrompt = `(?i)(^|^t |^st |^ast |[^t\n] |[^s\n]t |[^a\n]st |[^l\n]ast |[^ \n])(login|username|user name): ?`
	defaultPassword    = `(?i)(password|passcode|passwort|mot de passe)( for [^:\n]{1,40})? ?: ?`
	defaultDenied      = `(?i)(login incorrect|incorrect login|login failed|failed login|authentication fail|access denied|permission denied|(invalid|incorrect|wrong|bad) (login|user|password|credential))[^\n]*\n`
	defaultChange      = `(?i)(required to change|must change|password[^\n]*expired|(new|current)[^\n]{0,12} password)`
	defaultAutoboot    = `(?i)stop autoboot`
)

// Defaults of the limits.
const (
	defaultTimeout = 5 * time.Second
	defaultSettle  = 100 * time.Millisecond
	defaultNudge   = 2 * time.Second
	maxTimeout     = time.Hour
	maxLine        = 4000 // what a Linux terminal takes in one line, and a bit less
)

// lineLimits are what the line editors take at least: U-Boot's CBSIZE, a
// terminal's line, the buffers of Zephyr and ESP-IDF.
func (d Dialect) lineLimit() int {
	switch d {
	case UBoot:
		return 500
	case Argv, None:
		return 250
	}
	return 1000
}

func (d Dialect) prompt() string {
	switch d {
	case UBoot:
		return `=> `
	case Posix:
		return defaultPrompt
	case Python:
		return `>>> `
	}
	return ""
}

// setup is what a fresh session types first: nothing of what follows is kept in
// a history or echoed, the kernel stays quiet, and the prompt is one that an echo
// of this line doesn't contain.
func (d Dialect) setup() string {
	if d == Posix {
		return " unset HISTFILE; stty -echo; dmesg -n 1 >/dev/null 2>&1; PS1='mint''marker# '"
	}
	return ""
}

// A compiler turns a script into a program and notes every mistake on the way.
type compiler struct {
	script   Script
	known    func(name string) bool // nil: any name may be a credential's
	mistakes []*Mistake
}

func (c *compiler) mistake(key, format string, args ...any) {
	c.mistakes = append(c.mistakes, &Mistake{key, fmt.Sprintf(format, args...)})
}

func (c *compiler) compile() *program {
	p := &program{phases: map[station.Phase][]step{}}
	c.settings(&p.settings)
	for _, phase := range phases {
		c.phase(p, phase)
	}
	return p
}

func (c *compiler) settings(p *settings) {
	s := c.script
	p.dialect = Dialect(or(string(s.Dialect), string(None)))
	c.choice("dialect", string(p.dialect), string(UBoot), string(Posix), string(Python), string(Argv), string(None))
	p.newline = or(s.Newline, "\r")
	c.choice("newline", p.newline, "\r", "\n", "\r\n")
	p.charDelay = c.duration("char_delay", s.CharDelay, 0, time.Second)
	p.lineDelay = c.duration("line_delay", s.LineDelay, 0, 10*time.Second)
	p.lineLimit = c.lineLimit(p.dialect)
	p.timeout = c.duration("timeout", s.Timeout, defaultTimeout, maxTimeout)
	p.settle = c.duration("settle", s.Settle, defaultSettle, 10*time.Second)
	p.nudge = c.duration("nudge", s.Nudge, defaultNudge, time.Minute)
	p.answer = s.Answer
	p.prompt = c.pattern("prompt", or(s.Prompt, p.dialect.prompt()))
	p.autoboot = c.pattern("autoboot", or(s.Autoboot, defaultAutoboot))
	p.interrupt = fill(or(s.Interrupt, " "), s.Vars)
	c.login(p, s.Login)
}

func (c *compiler) login(p *settings, l LoginSettings) {
	p.loginPrompt = c.pattern("login.prompt", or(l.Prompt, defaultLoginPrompt))
	p.password = c.pattern("login.password", or(l.Password, defaultPassword))
	p.denied = c.pattern("login.denied", or(l.Denied, defaultDenied))
	p.change = c.pattern("login.change", or(l.Change, defaultChange))
	p.throttle = c.duration("login.throttle", l.Throttle, 0, time.Minute)
	p.logout = fill(or(l.Logout, "exit"), c.script.Vars)
	p.setup = fill(or(l.Setup, p.dialect.setup()), c.script.Vars)
	if p.setup == "none" {
		p.setup = ""
	}
	for _, f := range [][2]string{{"login.logout", p.logout}, {"login.setup", p.setup}} {
		if !typeable([]byte(f[1])) || len(f[1]) > maxLine {
			c.mistake(f[0], "is no line of printable ASCII")
		}
	}
}

func (c *compiler) lineLimit(d Dialect) int {
	n := c.script.LineLimit
	if n == 0 {
		return d.lineLimit()
	}
	if n < 16 || n > maxLine {
		c.mistake("line_limit", "is %d, want 16 to %d characters", n, maxLine)
	}
	return n
}

// pattern compiles a pattern for arriving text. One that is empty, or becomes it
// by its vars, is nil.
func (c *compiler) pattern(key, text string) *pattern {
	if text = c.filled(key, text); text == "" {
		return nil
	}
	p, err := compileStream(text)
	if err != nil {
		c.mistake(key, "%v", err)
	}
	return p
}

// filled puts the vars into a pattern.
func (c *compiler) filled(key, text string) string {
	text = fill(text, c.patternVars())
	if left := leftOver.FindStringSubmatch(text); left != nil {
		c.mistake(key, "nothing fills %.40s, want a var of that name, or \\{ for a brace", left[1])
	}
	return text
}

// leftOver finds a placeholder in a pattern, which is neither {2,3} nor \p{Greek}.
var leftOver = regexp.MustCompile(`(?:^|[^\\pP])(\{[A-Za-z][A-Za-z0-9_.-]*\})`)

// patternVars are the vars that a pattern may name: the script's, and the two
// prompts of its settings.
func (c *compiler) patternVars() map[string]string {
	vars := map[string]string{
		"prompt":       or(c.script.Prompt, c.script.Dialect.prompt()),
		"login_prompt": or(c.script.Login.Prompt, defaultLoginPrompt),
	}
	for k, v := range c.script.Vars {
		vars[k] = v
	}
	return vars
}

func (c *compiler) duration(key string, d Duration, zero, limit time.Duration) time.Duration {
	if d == 0 {
		return zero
	}
	if d := time.Duration(d); d < 0 || d > limit {
		c.mistake(key, "is %v, want at most %v", d, limit)
	}
	return time.Duration(d)
}

func (c *compiler) choice(key, value string, words ...string) {
	for _, w := range words {
		if value == w {
			return
		}
	}
	c.mistake(key, "is %.40q, want %s", value, oneOf(words))
}

func oneOf(words []string) string {
	text := ""
	for i, w := range words {
		switch {
		case i > 0 && i == len(words)-1:
			text += " or "
		case i > 0:
			text += ", "
		}
		text += fmt.Sprintf("%q", w)
	}
	return text
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

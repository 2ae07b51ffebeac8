// Package console talks to a device through a text console: U-Boot, a Linux
// login, the shell of an RTOS, a Python prompt. What to say is data, a [Script],
// which comes from a preset and a product profile.
//
// It keeps these promises, whatever the device sends:
//
//   - A secret is written from locked memory to the port and nowhere else. It is
//     quoted for the device's command language, or refused before its first
//     byte is sent. What the device answers is withheld from errors and
//     transcripts until an echo of it must have ended.
//   - A step ends at its deadline. Received text takes constant memory.
//   - What a step matches depends on the bytes alone, not on how they were split
//     on their way.
//   - Silence is never taken for success, nor for a refused login.
//
// docs/console.md has every setting and step.
package console

import (
	"fmt"
	"strings"
	"time"

	"mintmark/station"
)

// A Script is what to say to a device and what to expect. The zero value of
// each setting means its default, which docs/console.md lists.
//
// Texts may hold placeholders. A name in Vars is replaced first, by its text as
// it stands. What is left names a value of the station: serial, product,
// hardware_id, label, a credential ("admin"), its verifier ("admin.verifier"), in
// the refuse phase "candidate" and "candidate.user", or a fact that an earlier
// step of the same phase captured. In run it is quoted for the dialect, in send
// it is typed as it is. "{{" stands for "{", and "${" is left to the shell.
type Script struct {
	Prompt    string   `toml:"prompt"`     // pattern of the prompt
	Newline   string   `toml:"newline"`    // ends a line: "\r" (default), "\n" or "\r\n"
	Dialect   Dialect  `toml:"dialect"`    // command language, for quoting and markers
	CharDelay Duration `toml:"char_delay"` // pause after each character
	LineDelay Duration `toml:"line_delay"` // pause after each line
	LineLimit int      `toml:"line_limit"` // longest line that the device takes; longer ones are refused
	Timeout   Duration `toml:"timeout"`    // of a step that names none
	Settle    Duration `toml:"settle"`     // how long the device must be quiet where quiet is wanted
	Nudge     Duration `toml:"nudge"`      // a login or interrupt step sends a newline after so much silence
	Answer    bool     `toml:"answer"`     // answer terminal queries (ESC[6n, ESC[5n); they are ignored otherwise

	Autoboot  string `toml:"autoboot"`  // pattern of the text that says when to interrupt booting
	Interrupt string `toml:"interrupt"` // what to type then

	Login LoginSettings `toml:"login"`

	Vars map[string]string `toml:"vars"` // texts by name, for placeholders

	Identify []Step `toml:"identify"`
	Inject   []Step `toml:"inject"`
	Restart  []Step `toml:"restart"`
	Prove    []Step `toml:"prove"`
	Refuse   []Step `toml:"refuse"`
	Reset    []Step `toml:"reset"`
	Lock     []Step `toml:"lock"`
}

// LoginSettings are the texts of a login.
type LoginSettings struct {
	Prompt   string   `toml:"prompt"`   // pattern of the login prompt
	Password string   `toml:"password"` // pattern of the password prompt
	Denied   string   `toml:"denied"`   // pattern of the answer to a wrong password
	Change   string   `toml:"change"`   // pattern of a demand to choose a new password now
	Throttle Duration `toml:"throttle"` // pause after a refused login
	Logout   string   `toml:"logout"`   // the command that ends the session
	Setup    string   `toml:"setup"`    // typed after a login; "none" for nothing
}

// A Step is one thing to do and what must come back. It has at most one of the
// actions; a step without one only expects.
type Step struct {
	// Actions.
	Run       string     `toml:"run"`       // command, values quoted for the dialect; its exit status is checked
	Send      string     `toml:"send"`      // text to type as it is, with a newline unless Bare
	Control   string     `toml:"control"`   // key to press: enter, esc, tab, or a to z with Ctrl
	Wait      Duration   `toml:"wait"`      // pause
	Power     string     `toml:"power"`     // "cycle": take the power away and give it back
	Reopen    bool       `toml:"reopen"`    // wait until the device is on the bus again
	Interrupt bool       `toml:"interrupt"` // stop the boot and reach the prompt; a board already there is fine
	Login     *LoginStep `toml:"login"`     // log in
	Logout    bool       `toml:"logout"`    // end the session, if there is one

	Bare bool `toml:"bare"` // with Send: no newline

	// What must come back.
	Expect string   `toml:"expect"` // pattern that ends the step; it ends at the first byte with which it matches
	Fail   string   `toml:"fail"`   // pattern that fails the step at once
	Quiet  Duration `toml:"quiet"`  // afterwards the device must be quiet for so long
	Nudge  Duration `toml:"nudge"`  // with Expect: send a newline after so much silence

	// Of the complete output of Run or, with Expect, of the text it matched.
	Match   string            `toml:"match"`   // pattern that must be found
	Capture string            `toml:"capture"` // name of the fact that the first group of Match or Expect becomes
	Facts   map[string]string `toml:"facts"`   // more facts: for each name a pattern, whose first group it becomes; an empty pattern is left out
	Equal   string            `toml:"equal"`   // text that the group, or without one a whole line, must equal
	Absent  string            `toml:"absent"`  // text that must not occur
	Status  string            `toml:"status"`  // exit status of Run: "0" (default), "nonzero" or "any"

	When    string   `toml:"when"`    // "name": only if that var isn't empty; "name=text": only if it is text; "!" negates, " and " joins
	Timeout Duration `toml:"timeout"` // of one try
	Retry   int      `toml:"retry"`   // how often to try again
	Hint    string   `toml:"hint"`    // remedy for the operator when the step fails
}

// A LoginStep logs in with a user and a password that the device has, or
// checks that it refuses them.
type LoginStep struct {
	User     string `toml:"user"`
	Password string `toml:"password"`

	// Want is "accepted" (default), "denied", or "any": be logged in, also if a
	// session is there already (autologin); this proves nothing.
	Want string `toml:"want"`

	// Or is tried with want = "any" when the first is refused, or can't be tried
	// yet because its password is not known in this phase.
	Or *LoginStep `toml:"or"`
}

// A Dialect is a command language: how a value is quoted so that nothing of it
// is executed or lost, and how the exit status is learnt.
type Dialect string

// The dialects. Argv is what Zephyr's shell and ESP-IDF's console have in
// common: words with backslashes, no exit status. None types values as they are
// and takes only those that no shell could misread.
const (
	UBoot  Dialect = "uboot"
	Posix  Dialect = "posix"
	Python Dialect = "python"
	Argv   Dialect = "argv"
	None   Dialect = "none"
)

// A Duration is written like "1m30s" or "250ms" and is never negative.
type Duration time.Duration

// UnmarshalText reads the form that [time.ParseDuration] knows.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("duration is %.20q, want a form like \"250ms\", \"5s\" or \"1m30s\"", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// phases are all phases in the order of the path.
var phases = [...]station.Phase{
	station.Identify, station.Inject, station.Restart, station.Prove,
	station.Refuse, station.Reset, station.Lock,
}

// Steps returns the steps of a phase that apply with the script's vars.
func (s Script) Steps(p station.Phase) []Step {
	var steps []Step
	for _, st := range s.phase(p) {
		if applies(st.When, s.Vars) {
			steps = append(steps, st)
		}
	}
	return steps
}

// applies evaluates When.
func applies(when string, vars map[string]string) bool {
	if when == "" {
		return true
	}
	for _, cond := range strings.Split(when, " and ") {
		name, negated := strings.CutPrefix(cond, "!")
		name, text, compared := strings.Cut(name, "=")
		is := vars[name] != ""
		if compared {
			is = fill(vars[name], vars) == fill(text, vars)
		}
		if is == negated {
			return false
		}
	}
	return true
}

func (s *Script) phase(p station.Phase) []Step {
	switch p {
	case station.Identify:
		return s.Identify
	case station.Inject:
		return s.Inject
	case station.Restart:
		return s.Restart
	case station.Prove:
		return s.Prove
	case station.Refuse:
		return s.Refuse
	case station.Reset:
		return s.Reset
	case station.Lock:
		return s.Lock
	}
	return nil
}

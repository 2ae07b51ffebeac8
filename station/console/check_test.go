package console_test

import (
	"strings"
	"testing"
	"time"

	"mintmark/station"
	"mintmark/station/console"
)

// TestAllMistakesAreReportedAtOnce has one of each kind; the texts are the spec.
func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	s := console.Script{
		Dialect: "bash", Newline: "\n\r", Prompt: `[`, LineLimit: 5, CharDelay: 2 * second, Nudge: 2 * 60 * second,
		Login: console.LoginSettings{Denied: `x*`, Logout: "caf\u00e9"},
		Vars:  map[string]string{"used": "x", "misspelt": "y", "loop": "{loop}"},
		Identify: []console.Step{
			{},
			{Run: "a", Send: "b", Wait: second},
			{Run: "id {used}", Expect: "x"},
			{Send: "x", Match: "x"},
			{Send: "x", Status: "1"},
			{Send: "x", Capture: "Hardware ID", Expect: "x"},
			{Control: "f1"},
			{Power: "off"},
			{Send: "tab\there"},
			{Expect: "# $"},
			{Expect: "{nothing}"},
			{Send: "{loop}"},
			{Send: "{used}", Retry: 99, Timeout: 2 * 3600 * second},
			{Login: &console.LoginStep{Want: "denied", Or: &console.LoginStep{User: "x"}}},
			{Send: "x", When: "="},
			{Wait: second, Bare: true},
		},
		Inject: []console.Step{{Send: "{admin} {admin.verifier} {serial} {wifi} {used}"}, {Send: "{candidate}"}},
		Refuse: []console.Step{{Send: "{admin}"}, {Send: "{candidate} {candidate.user} {candidate.salt}"}},
	}
	const want = `dialect: is "bash", want "uboot", "posix", "python", "argv" or "none"
newline: is "\n\r", want "\r", "\n" or "\r\n"
char_delay: is 2s, want at most 1s
line_limit: is 5, want 16 to 4000 characters
nudge: is 2m0s, want at most 1m0s
prompt: pattern is no regular expression: missing closing ]: "["
login.denied: pattern matches the empty text, want at least one character
login.logout: is no line of printable ASCII
identify[1]: does nothing, want run, send, control, wait, power, reopen, interrupt, login, logout, expect or quiet
identify[2]: has 3 actions, want one of run, send, control, wait, power, reopen, interrupt, login and logout
identify[3].expect: is not for run, which knows where its output ends: want match
identify[4].match: is about an answer, want run or expect beside it
identify[5].status: is "1", want "0", "nonzero" or "any"
identify[5].status: is only for run
identify[6].capture: is "Hardware ID", want a name of a-z, 0-9 and _, such as "hardware_id"
identify[7].control: is "f1", want enter, esc, tab or a to z
identify[8].power: is "off", want "cycle"
identify[9].send: has a control character or one outside ASCII, want control for keys
identify[10].expect: pattern uses $, which depends on text that is still to come; want the text that follows instead, such as \n
identify[11].expect: nothing fills {nothing}, want a var of that name, or \{ for a brace
identify[12].send: vars stand in each other without end
identify[13].timeout: is 2h0m0s, want at most 1h0m0s
identify[13].retry: is 99, want 0 to 20
identify[14].login.or: is only for want = "any"
identify[14].login.user: missing, want the name to log in with
identify[15].when: is "=", want a form like "var", "!var", "var=text" or several joined by " and "
identify[16].bare: is only for send
inject[1]: nothing fills {wifi}, want a credential's name, a var, serial, product, hardware_id, label or a fact captured before
inject[2]: there is no {candidate} in the inject phase
refuse[1]: there is no {admin} in the refuse phase, want {candidate} or {candidate.user}
refuse[2]: there is no {candidate.salt} in the refuse phase
vars.misspelt: is used nowhere, want a name that a step or setting has in braces`
	err := s.Check("admin")
	if err == nil {
		t.Fatal("Check found nothing")
	}
	got, wanted := strings.Split(err.Error(), "\n"), strings.Split(want, "\n")
	for i := range max(len(got), len(wanted)) {
		g, w := at(got, i), at(wanted, i)
		if g != w {
			t.Errorf("mistake %d is\n\t%s\nwant\n\t%s", i+1, g, w)
		}
	}
	if _, err := console.New(s); err == nil {
		t.Error("New took the script")
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(none)"
}

func TestCheckWithoutCredentialsTakesAnyName(t *testing.T) {
	s := console.Script{Inject: []console.Step{{Send: "{whatever}"}}}
	if err := s.Check(); err != nil {
		t.Errorf("Check() = %v, want none", err)
	}
	if err := s.Check("admin"); err == nil {
		t.Error("Check with credentials took {whatever}")
	}
}

func TestStepsApplyByTheirVars(t *testing.T) {
	vars := map[string]string{"way": "power", "same": "{way}", "set": "x", "empty": ""}
	for when, want := range map[string]bool{
		"": true, "set": true, "empty": false, "missing": false, "!missing": true, "way=power": true, "way=reset": false,
		"!way=reset": true, "same=power": true, "way={same}": true, "set and way=power": true, "set and empty": false,
		"set and !empty": true,
	} {
		s := console.Script{Vars: vars, Lock: []console.Step{{Send: "x", When: when}}}
		if got := len(s.Steps(station.Lock)) == 1; got != want {
			t.Errorf("when %q: applies = %v, want %v", when, got, want)
		}
		d, err := console.New(console.Script{Vars: vars, Lock: s.Lock, Prompt: "{set}{empty}{same}"})
		if err != nil {
			t.Fatalf("when %q: %v", when, err)
		}
		if d.Has(station.Lock) != want {
			t.Errorf("when %q: Has = %v, want %v", when, !want, want)
		}
	}
}

func TestAnEmptyCommandNamesItsVar(t *testing.T) {
	err := console.Script{Vars: map[string]string{"prove": ""}, Prompt: "> ", Prove: []console.Step{{Run: "{prove}"}}}.Check()
	if err == nil || err.Error() != `prove[1].run: {prove} is empty, want the var that it names set` {
		t.Errorf("Check = %v", err)
	}
}

func TestDurations(t *testing.T) {
	var d console.Duration
	if err := d.UnmarshalText([]byte("1m30s")); err != nil || time.Duration(d) != 90*time.Second {
		t.Errorf("1m30s = %v, %v", d, err)
	}
	for _, text := range []string{"", "5", "-1s", "soon"} {
		if err := d.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was taken, want it refused", text)
		}
	}
	if text, _ := d.MarshalText(); string(text) != "1m30s" {
		t.Errorf("MarshalText = %s, want 1m30s", text)
	}
}

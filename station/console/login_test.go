package console_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/station"
	"mintmark/station/console"
)

// A getty is a login as Linux has it, in the ways in which they differ.
type getty struct {
	users   map[string]string // password by user; an empty one is not asked for
	delay   time.Duration     // before a refusal
	refusal string            // what it says then; "" means "\r\nLogin incorrect\r\n"
	noise   string            // printed while a password is thought about
	welcome string            // printed before the prompt
	auto    bool              // logs in by itself
	demand  string            // instead of a prompt
	mute    bool              // says nothing after a password
	grumble string            // printed by the shell when it is set up
	lazy    time.Duration     // before the shell's first prompt
}

var typedMarker = regexp.MustCompile(`echo '(\w+)''(\w+)'`)

// run is the device's program.
func (g *getty) run(p *peer) {
	for {
		if g.auto {
			g.shell(p)
			continue
		}
		p.say("\r\nACME Linux\r\ncamera login: ")
		user := p.line()
		p.say(user + "\r\n")
		if user == "" {
			continue
		}
		if want, ok := g.users[user]; ok && want == "" {
			g.shell(p)
			continue
		}
		p.say("Password: ")
		g.judge(p, user, p.line())
	}
}

func (g *getty) judge(p *peer, user, typed string) {
	p.say("\r\n")
	if g.mute {
		p.say("")
		time.Sleep(time.Hour)
	}
	if want, ok := g.users[user]; ok && want == typed {
		if g.demand != "" {
			p.say(g.demand)
			p.line()
			return
		}
		g.shell(p)
		return
	}
	if g.noise != "" {
		time.Sleep(50 * time.Millisecond)
		p.say(g.noise)
	}
	time.Sleep(g.delay)
	p.say(or(g.refusal, "Login incorrect\r\n"))
}

func or(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

func (g *getty) shell(p *peer) {
	prompt := "~ # "
	p.say(g.welcome)
	time.Sleep(g.lazy)
	p.say(prompt + "\x1b[6n")
	for {
		line := p.line()
		p.say(line + "\r\n")
		if strings.Contains(line, "PS1=") {
			prompt = "mintmark# "
			p.say(g.grumble)
		}
		if m := typedMarker.FindStringSubmatch(line); m != nil {
			p.say(m[1] + m[2] + "\r\n")
		}
		if line == "exit" {
			return
		}
		p.say(prompt)
	}
}

// tries carries out one login step in the refuse or prove phase.
func tries(t *testing.T, g *getty, want, user, password string) error {
	t.Helper()
	w := plug(t, g.run)
	st := console.Step{Login: &console.LoginStep{User: "{candidate.user}", Password: "{candidate}", Want: want}, Timeout: 30 * second}
	d := driver(t, console.Script{Dialect: console.Posix, Refuse: []console.Step{st}})
	_, err := d.Do(t.Context(), w, station.Refuse, hidden(t, "candidate.user", user, "candidate", password))
	return err
}

func TestLoginWantsTheDevicesOwnWord(t *testing.T) {
	users := map[string]string{"admin": "own-secret-1", "open": ""}
	const busy = "[ 12.3] usb 1-1: new # device $ > found\r\n"
	for _, tt := range []struct {
		name           string
		getty          getty
		want           string
		user, password string
		problem        string // part of the error, or empty for success
	}{
		{"own password works", getty{}, "", "admin", "own-secret-1", ""},
		{"own password works after a welcome", getty{welcome: "Last login: Tue Nov 23 on console\r\n# motd\r\n"}, "", "admin", "own-secret-1", ""},
		{"own password is refused", getty{}, "", "admin", "wrong", "refuses the login of {candidate.user}"},
		{"wrong password is refused", getty{delay: 3 * time.Second}, "denied", "admin", "wrong", ""},
		{"unknown user is refused", getty{}, "denied", "nobody", "wrong", ""},
		{"refusal in other words", getty{refusal: "login: authentication failure\r\n"}, "denied", "admin", "wrong", ""},
		{"noise that looks like a prompt before the refusal", getty{noise: busy, delay: 3 * time.Second}, "denied", "admin", "wrong", ""},
		{"noise that looks like a prompt, and no accepted login", getty{noise: busy, delay: 3 * time.Second}, "", "admin", "wrong", "refuses the login"},
		{"wrong password is accepted", getty{}, "denied", "admin", "own-secret-1", "device accepts {candidate.user} with {candidate}"},
		{"account is open", getty{}, "denied", "open", "any", "device accepts {candidate.user} with {candidate}"},
		{"own account is open", getty{}, "", "open", "any", "asked {candidate.user} for no password"},
		{"new password is demanded", getty{demand: "You are required to change your password immediately.\r\n"}, "", "admin", "own-secret-1", "choose a new password"},
		{"refused means not even that", getty{demand: "New password: "}, "denied", "admin", "own-secret-1", "device accepts"},
		{"silence is no refusal", getty{mute: true}, "denied", "admin", "wrong", "no answer to the password in time"},
		{"silence is no success", getty{mute: true}, "", "admin", "own-secret-1", "no answer to the password in time"},
		{"a bare prompt is no refusal", getty{refusal: "\r\n"}, "denied", "admin", "wrong", "came back without a word"},
		{"accepted, with an error of its own that sounds like a refusal", getty{welcome: "cat: /etc/issue: Permission denied\r\n"}, "denied", "admin", "own-secret-1", "device accepts"},
		{"accepted as wanted, with such an error", getty{welcome: "cat: /etc/issue: Permission denied\r\n"}, "", "admin", "own-secret-1", ""},
		{"accepted, with a shell that may not do everything", getty{grumble: "dmesg: klogctl: Permission denied\r\n"}, "", "admin", "own-secret-1", ""},
		{"accepted in the end, after words of refusal and a pause", getty{welcome: "Access denied: /etc/motd\r\n", lazy: 3 * time.Second}, "denied", "admin", "own-secret-1", "device accepts"},
		{"console that logs in by itself", getty{auto: true}, "denied", "admin", "wrong", "logs in by itself"},
	} {
		synctest.Test(t, func(t *testing.T) {
			tt.getty.users = users
			err := tries(t, &tt.getty, tt.want, tt.user, tt.password)
			switch {
			case tt.problem == "" && err != nil:
				t.Errorf("%s: %v", tt.name, err)
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)):
				t.Errorf("%s: %v, want %q", tt.name, err, tt.problem)
			}
			if in := strings.HasPrefix(tt.problem, "device accepts"); errors.Is(err, station.ErrAccepted) != in {
				t.Errorf("%s: matches ErrAccepted = %v, want %v", tt.name, !in, in)
			}
			if err != nil && (strings.Contains(err.Error(), "own-secret") || strings.Contains(err.Error(), `"wrong`)) {
				t.Errorf("%s: the password is in %v", tt.name, err)
			}
		})
	}
}

func TestConsoleIsUsableAfterARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, (&getty{users: map[string]string{"admin": "own"}, delay: 3 * time.Second}).run)
		d := driver(t, console.Script{Dialect: console.Posix,
			Login:  console.LoginSettings{Throttle: 2 * second},
			Refuse: []console.Step{{Login: &console.LoginStep{User: "{candidate.user}", Password: "{candidate}", Want: "denied"}}},
			Prove:  []console.Step{{Login: &console.LoginStep{User: "admin", Password: "{admin}"}}, {Logout: true}},
		})
		start := time.Now()
		for range 3 {
			if _, err := d.Do(t.Context(), w, station.Refuse, hidden(t, "candidate.user", "admin", "candidate", "old")); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(start); took < 3*(3+2)*time.Second {
			t.Errorf("three refusals took %v, want the device's delay and the throttle for each", took)
		}
		for range 2 { // the second one shows that the first logged out
			if _, err := d.Do(t.Context(), w, station.Prove, hidden(t, "admin", "own")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if got := strings.Count(w.heard(), "exit\r"); got != 2 {
			t.Errorf("device heard exit %d times, want after each login", got)
		}
	})
}

func TestLoginTriesWhatIsKnownInOrder(t *testing.T) {
	step := console.Step{Login: &console.LoginStep{User: "root", Password: "{admin}", Want: "any",
		Or: &console.LoginStep{User: "root", Password: "{factory_password}"}}}
	script := console.Script{Dialect: console.Posix, Vars: map[string]string{"factory_password": "factory"}, Identify: []console.Step{step}}
	for _, tt := range []struct {
		name, root, own string
		logins          int
	}{
		{"own is not known yet", "factory", "", 1},
		{"own works", "own", "own", 1},
		{"own was reset", "factory", "own", 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := plug(t, (&getty{users: map[string]string{"root": tt.root}}).run)
			v := hidden(t)
			if tt.own != "" {
				v = hidden(t, "admin", tt.own)
			}
			d := driver(t, script)
			if len(d.Needs(station.Identify)) != 0 {
				t.Errorf("Needs = %v, want none: the other login does without", d.Needs(station.Identify))
			}
			if _, err := d.Do(t.Context(), w, station.Identify, v); err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			synctest.Wait()
			if got := strings.Count(w.heard(), "root\r"); got != tt.logins {
				t.Errorf("%s: %d logins, want %d", tt.name, got, tt.logins)
			}
		})
	}
}

func TestALoginWithoutAnyKnownPasswordFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, (&getty{users: map[string]string{"root": ""}}).run)
		_, err := identify(t, console.Script{Dialect: console.Posix}, w, station.Vars{}, console.Step{Login: &console.LoginStep{
			User: "root", Password: "{admin}", Want: "any", Or: &console.LoginStep{User: "root", Password: "{other}"}}})
		if err == nil || !strings.Contains(err.Error(), "no password is known") {
			t.Errorf("%v, want that none is known", err)
		}
	})
}

func TestASessionThatIsThereIsUsedOrLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, (&getty{auto: true}).run)
		script := console.Script{Dialect: console.Posix}
		if _, err := identify(t, script, w, hidden(t), console.Step{Login: &console.LoginStep{User: "root", Want: "any"}}, console.Step{Logout: true}); err != nil {
			t.Errorf("autologin: %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		g := &getty{users: map[string]string{"root": "x"}}
		w := plug(t, func(p *peer) { g.shell(p); g.run(p) }) // somebody forgot to log out
		if _, err := identify(t, console.Script{Dialect: console.Posix, Vars: map[string]string{"a_password": "x"}}, w, hidden(t),
			console.Step{Login: &console.LoginStep{User: "root", Password: "{a_password}"}}); err != nil {
			t.Errorf("forgotten session: %v", err)
		}
	})
}

func TestABootingDeviceIsLeftAloneAtFirstContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &getty{users: map[string]string{"root": ""}}
		w := plug(t, func(p *peer) {
			for range 5 { // a boot loader that a newline would stop
				p.say("Hit any key to stop autoboot\r\n")
				p.conn.SetReadDeadline(time.Now().Add(time.Second))
				if c, err := p.in.ReadByte(); err == nil {
					t.Errorf("device heard %q while it booted", c)
				}
			}
			p.conn.SetReadDeadline(time.Time{})
			g.run(p)
		})
		script := console.Script{Dialect: console.Posix, Nudge: 2 * second}
		if _, err := identify(t, script, w, station.Vars{}, console.Step{Login: &console.LoginStep{User: "root"}}); err != nil {
			t.Error(err)
		}
	})
}

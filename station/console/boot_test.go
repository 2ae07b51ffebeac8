package console_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/station"
	"mintmark/station/console"
)

// A loader is a boot loader. Its prompt answers markers, as U-Boot's does.
type loader struct {
	chatter string        // before the countdown
	count   time.Duration // of the countdown; 0 means that it is at its prompt already
	stop    string        // what must be typed during the countdown
}

func (l *loader) run(p *peer) {
	if l.count > 0 {
		p.say(l.chatter + "Hit any key to stop autoboot:  2 ")
		p.conn.SetReadDeadline(time.Now().Add(l.count))
		for range l.stop {
			if _, err := p.in.Peek(1); err != nil {
				p.conn.SetReadDeadline(time.Time{})
				p.say("\r\nStarting kernel ...\r\n\r\ncamera login: ")
				return
			}
			p.key()
		}
		p.conn.SetReadDeadline(time.Time{})
		p.say("\b\b\b 0 \r\n=> ")
	}
	for line := ""; ; {
		c := p.key()
		switch c {
		case 3:
			line = ""
			p.say("<INTERRUPT>\r\n=> ")
			p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)) // a small UART loses what comes now
			for err := error(nil); err == nil; {
				_, err = p.in.ReadByte()
			}
			p.conn.SetReadDeadline(time.Time{})
		case '\r':
			p.say("\r\n")
			for _, m := range typedMarker.FindAllStringSubmatch(line, -1) {
				p.say(m[1] + m[2])
				if strings.HasSuffix(m[2], "e") {
					p.say(" 0")
				}
				p.say("\r\n")
			}
			line = ""
			p.say("=> ")
		default:
			line += string(c)
			p.say(string(c))
		}
	}
}

func TestABootIsInterruptedAndAnIdleBoardIsFound(t *testing.T) {
	const noise = "U-Boot 2023.01\r\nDRAM: => 1 GiB\r\n" // looks like a prompt
	for _, tt := range []struct {
		name   string
		loader loader
		script console.Script
		within time.Duration
	}{
		{"countdown", loader{count: 2 * time.Second, stop: " "}, console.Script{}, time.Second},
		{"text that looks like a prompt", loader{chatter: noise, count: 2 * time.Second, stop: " "}, console.Script{}, 5 * time.Second},
		{"text and key of its own", loader{count: 2 * time.Second, stop: "acme"}, console.Script{Autoboot: "stop auto", Interrupt: "acme"}, time.Second},
		{"idle at its prompt", loader{}, console.Script{}, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			tt.script.Dialect = console.UBoot
			start := time.Now()
			_, err := identify(t, tt.script, plug(t, tt.loader.run), station.Vars{},
				console.Step{Interrupt: true, Fail: "login: "}, console.Step{Run: "version"})
			if took := time.Since(start); err != nil || took > tt.within {
				t.Errorf("%s: after %v: %v, want the prompt within %v", tt.name, took, err, tt.within)
			}
		})
	}
}

func TestABoardThatBootedIsSaidSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { time.Sleep(time.Second); p.say("Starting kernel ...\r\n\r\ncamera login: ") })
		_, err := identify(t, console.Script{Dialect: console.UBoot}, w, station.Vars{},
			console.Step{Interrupt: true, Fail: "login: ", Hint: "switch it off and on"})
		if err == nil || !strings.Contains(err.Error(), "want no /login: /") {
			t.Errorf("%v, want that it has booted", err)
		}
	})
}

// A vendor's shell has no markers: its answer ends with a prompt, and log lines can
// bring one along before the answer.
func TestAPromptAmongNoiseIsNotTheEndOfTheAnswer(t *testing.T) {
	step := console.Step{Run: "save", Match: "^OK$", Fail: "^ERROR", Timeout: 5 * second}
	for _, tt := range []struct{ name, answer, want string }{
		{"at once", "OK\r\ncam> ", ""},
		{"after noise", "W (12) wifi: up\r\ncam> PAUSE\r\nOK\r\ncam> ", ""},
		{"refused", "W (12) wifi: up\r\ncam> PAUSE\r\nERROR 5 flash\r\ncam> ", "want no /^ERROR/"},
		{"other", "SAVED\r\ncam> ", "answer doesn't match, want /^OK$/"},
		{"without an end", "OK\r\n", "nothing matched in 5s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := plug(t, func(p *peer) {
				p.say(p.line() + "\r\n")
				for i, part := range strings.Split(tt.answer, "PAUSE") {
					if i > 0 {
						time.Sleep(time.Second)
					}
					p.say(part)
				}
			})
			_, err := identify(t, console.Script{Dialect: console.Argv, Prompt: "^cam> "}, w, station.Vars{}, step)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
			}
		})
	}
}

func TestOneAnswerGivesSeveralFacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.say(p.line() + "\r\nhwid: A1\r\nfw: 2.4\r\ncam> ") })
		facts, err := identify(t, console.Script{Prompt: "^cam> "}, w, station.Vars{}, console.Step{Run: "id",
			Facts: map[string]string{"hardware_id": `^hwid: (\S+)$`, "firmware": `^fw: (\S+)$`, "serial": ""}})
		if err != nil || len(facts) != 2 || facts["hardware_id"] != "A1" || facts["firmware"] != "2.4" {
			t.Errorf("%v, %v, want two facts", facts, err)
		}
	})
}

func TestInTheRefusePhaseTheContraryMeansAccepted(t *testing.T) {
	for name, step := range map[string]console.Step{
		"fail":   {Send: "{candidate}", Expect: "denied", Fail: "Welcome"},
		"absent": {Send: "{candidate}", Expect: `Welcome (\w+)`, Absent: "{candidate.user}"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := plug(t, func(p *peer) { p.line(); p.say("Welcome root\r\n") })
			d := driver(t, console.Script{Refuse: []console.Step{step}})
			_, err := d.Do(t.Context(), w, station.Refuse, hidden(t, "candidate", "guess", "candidate.user", "Welcome"))
			if stepError(t, err).Err != station.ErrAccepted {
				t.Errorf("%s: %v, want %v", name, err, station.ErrAccepted)
			}
		})
	}
}

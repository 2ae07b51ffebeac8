package console_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/station"
	"mintmark/station/console"
)

const password = "CDFHJ'KMPQR$TVW"

// journal is a driver's transcript at every level.
func journal(d *console.Driver) (*console.Driver, *bytes.Buffer) {
	var log bytes.Buffer
	return d.WithLog(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug - 10}))), &log
}

// betrays reports whether anything that came out of a phase holds part of the
// password.
func betrays(log *bytes.Buffer, facts station.Facts, err error) bool {
	shown, _ := json.Marshal(facts)
	text := log.String() + string(shown)
	for e := err; e != nil; e = errors.Unwrap(e) {
		detail, _ := json.Marshal(e)
		text += e.Error() + string(detail)
	}
	return strings.Contains(text, "CDFHJ") || strings.Contains(text, "KMPQR") || strings.Contains(text, "TVW")
}

func TestAnEchoedSecretIsCountedNotShown(t *testing.T) {
	for _, tt := range []struct {
		name string
		echo func(p *peer, typed string)
	}{
		{"echoed as it is", func(p *peer, typed string) { p.say(typed + "\r\nbad command\r\n") }},
		{"wrapped at the end of the line", func(p *peer, typed string) { p.say(typed[:9] + "\r\n" + typed[9:] + "\r\n") }},
		{"echoed late and in pieces", func(p *peer, typed string) {
			for _, c := range typed {
				time.Sleep(time.Second / 10)
				p.say(string(c) + "\x1b[6n")
			}
		}},
		{"with log noise in it", func(p *peer, typed string) { p.say(typed[:7] + "\r\n[ 12.3] usb 1-1\r\n" + typed[7:]) }},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := plug(t, func(p *peer) { tt.echo(p, p.line()) })
			d, log := journal(driver(t, console.Script{Inject: []console.Step{
				{Send: "set {admin}", Timeout: 2 * second}, {Expect: "OK", Timeout: 20 * second},
			}}))
			facts, err := d.Do(t.Context(), w, station.Inject, hidden(t, "admin", password))
			e := stepError(t, err)
			if betrays(log, facts, err) {
				t.Errorf("%s: the secret is in\n%v\n%s", tt.name, err, log)
			}
			if e.Withheld < len("set "+password) || e.Got != "" || !strings.Contains(err.Error(), "bytes withheld after a secret") {
				t.Errorf("%s: %v, want the number of bytes withheld", tt.name, err)
			}
			if !strings.Contains(log.String(), `text="set {admin}"`) {
				t.Errorf("%s: transcript is\n%swant the placeholder", tt.name, log)
			}
		})
	}
}

func TestTheSecretWindowEndsWithTheNextAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.say(p.line() + "\r\nOK\r\n"); p.line(); p.say("flash is worn out\r\n") })
		d, log := journal(driver(t, console.Script{Inject: []console.Step{
			{Send: "{admin}", Expect: `OK\n`}, {Send: "save", Expect: "saved"},
		}}))
		facts, err := d.Do(t.Context(), w, station.Inject, hidden(t, "admin", password))
		if e := stepError(t, err); e.Got != `"flash is worn out"` || e.Withheld != 0 || betrays(log, facts, err) {
			t.Errorf("%v\n%swant what the device said, and no secret", err, log)
		}
	})
}

func TestASecretThatComesBackByItselfIsWithheld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.line(); p.say("D (12) cfg: admin=" + password[:8] + "\r\n" + password[8:] + "\r\n") })
		d, log := journal(driver(t, console.Script{Inject: []console.Step{{Send: "save", Expect: "saved"}}}))
		facts, err := d.Do(t.Context(), w, station.Inject, hidden(t, "admin", password))
		if e := stepError(t, err); e.Withheld == 0 || betrays(log, facts, err) {
			t.Errorf("%v\n%swant the text withheld", err, log)
		}
	})
}

func TestWhatIsComparedWithASecretIsNeverShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.line(); p.say("hash=CDFHJsomething\r\n") })
		d, log := journal(driver(t, console.Script{Prove: []console.Step{
			{Send: "get", Expect: `hash=(.*)\n`, Equal: "{admin.verifier}"},
		}}))
		facts, err := d.Do(t.Context(), w, station.Prove, hidden(t, "admin.verifier", password))
		if err == nil || !strings.Contains(err.Error(), "answer is another, want {admin.verifier}") || betrays(log, facts, err) {
			t.Errorf("%v\n%swant that it differs, and neither value", err, log)
		}
	})
}

func TestAnEchoThatComesAfterAFailureIsNotLeftForTheNextPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {
			typed := p.line()
			time.Sleep(1010 * time.Millisecond) // just after the step gave up
			p.say(typed)
		})
		d, log := journal(driver(t, console.Script{
			Inject:   []console.Step{{Send: "{admin}", Expect: "OK", Timeout: second}},
			Identify: []console.Step{{Expect: "OK", Timeout: second}},
		}))
		if _, err := d.Do(t.Context(), w, station.Inject, hidden(t, "admin", password)); err == nil {
			t.Fatal("inject succeeded on a device that is silent")
		}
		facts, err := d.Do(t.Context(), w, station.Identify, station.Vars{})
		if betrays(log, facts, err) {
			t.Errorf("the secret is in\n%v\n%s", err, log)
		}
	})
}

func TestAValueThatTheConsoleCannotCarryIsRefusedBeforeAByteIsSent(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script console.Script
		step   console.Step
		value  string
		want   string
	}{
		{"newline in text", console.Script{}, console.Step{Send: "{admin}"}, "CDFHJ\nreboot", "can't take"},
		{"newline in a command", console.Script{Dialect: console.Posix}, console.Step{Run: "set {admin}"}, "CDFHJ\nreboot", "can't take"},
		{"control character", console.Script{Dialect: console.UBoot}, console.Step{Run: "set {admin}"}, "CDFHJ\x03", "can't take"},
		{"too long", console.Script{Dialect: console.UBoot}, console.Step{Run: "set {admin}"}, "CDFHJ" + strings.Repeat("x", 500), "longer than the 500"},
		{"quotes where nobody unquotes", console.Script{Prompt: "> "}, console.Step{Run: "set {admin}"}, "CDFHJ' ", "can't take"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := plug(t, func(p *peer) {})
			tt.script.Inject = []console.Step{tt.step}
			d, log := journal(driver(t, tt.script))
			facts, err := d.Do(t.Context(), w, station.Inject, hidden(t, "admin", tt.value))
			synctest.Wait()
			if err == nil || !strings.Contains(err.Error(), tt.want) || betrays(log, facts, err) || w.heard() != "" {
				t.Errorf("%s: %v, device heard %q, want %q and nothing sent", tt.name, err, w.heard(), tt.want)
			}
		})
	}
}

func TestAMissingSecretIsSaidBeforeAByteIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {})
		d := driver(t, console.Script{Inject: []console.Step{{Send: "hello"}, {Send: "{admin.verifier}"}, {Send: "{wifi}"}}})
		if got := strings.Join(d.Needs(station.Inject), " "); got != "admin.verifier wifi" {
			t.Errorf("Needs = %s, want admin.verifier wifi", got)
		}
		_, err := d.Do(t.Context(), w, station.Inject, hidden(t, "admin.verifier", "x"))
		synctest.Wait()
		if err == nil || !strings.Contains(err.Error(), "{wifi}") || w.heard() != "" {
			t.Errorf("%v, device heard %q, want {wifi} named and nothing sent", err, w.heard())
		}
	})
}

func TestAFactoryPasswordInAVarIsNotShownEither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.say(p.line() + "\r\n") })
		d, log := journal(driver(t, console.Script{
			Vars:     map[string]string{"maintenance_password": password},
			Identify: []console.Step{{Send: "{maintenance_password}", Expect: "OK", Timeout: second}},
		}))
		facts, err := d.Do(t.Context(), w, station.Identify, station.Vars{})
		if betrays(log, facts, err) {
			t.Errorf("the password is in\n%v\n%s", err, log)
		}
	})
}

func TestAPhaseSendsOnlyTheSecretsThatItNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {})
		d := driver(t, console.Script{Inject: []console.Step{{Send: "{wifi}"}}})
		if _, err := d.Do(t.Context(), w, station.Inject, hidden(t, "admin", password, "wifi", "WWW")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := w.heard(); got != "WWW\r" {
			t.Errorf("device heard %q, want %q", got, "WWW\r")
		}
	})
}

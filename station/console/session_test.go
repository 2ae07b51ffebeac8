package console_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/station"
	"mintmark/station/console"
)

func TestExpectTakesTheSameHoweverTheTextIsSplit(t *testing.T) {
	const text = "boot\r\n\x1b[1mid=A1b2\x1b[m\r\r\nserial=SN7\r\n"
	for size := 1; size <= len(text); size++ {
		synctest.Test(t, func(t *testing.T) {
			w := plug(t, func(p *peer) {
				for rest := text; rest != ""; {
					n := min(size, len(rest))
					p.say(rest[:n])
					rest = rest[n:]
				}
			})
			facts, err := identify(t, console.Script{}, w, station.Vars{},
				console.Step{Expect: `id=(\w+)\n`, Capture: "hardware_id"},
				console.Step{Expect: `^serial=(\w+)\n`, Capture: "serial"})
			if err != nil || facts["hardware_id"] != "A1b2" || facts["serial"] != "SN7" {
				t.Errorf("in pieces of %d: %v, %v, want both facts", size, facts, err)
			}
		})
	}
}

func TestSilenceEndsAtTheDeadlineAndSaysWhatWasWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.say("Welcome to ACME\r\n") })
		start := time.Now()
		_, err := identify(t, console.Script{}, w, station.Vars{},
			console.Step{Expect: "ACME"}, console.Step{Expect: "login:", Timeout: 7 * second, Hint: "press the button"})
		const want = `identify step 2: expect: nothing matched in 7s, want /login:/`
		if err == nil || err.Error() != want {
			t.Errorf("error is %v, want %s", err, want)
		}
		if took := time.Since(start); took != 7*time.Second {
			t.Errorf("took %v, want 7s", took)
		}
		var f *station.Fault
		if !errors.As(err, &f) || f.Remedy != "press the button" {
			t.Errorf("remedy is %+v, want the step's hint", f)
		}
	})
}

func TestErrorsShowALittleOfWhatTheDeviceSaidAndQuoteIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.say(strings.Repeat("x", 5000) + "\x1b[31m\"bad\"\a\r\n") })
		_, err := identify(t, console.Script{}, w, station.Vars{}, console.Step{Expect: "login:"})
		got := stepError(t, err).Got
		if !strings.HasSuffix(got, `x\"bad\""`) || len(got) > 140 {
			t.Errorf("error shows %s, want the quoted end, at most 140 characters", got)
		}
	})
}

func TestEndlessChatterNeitherOutlivesTheStepNorGrowsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent atomic.Int64
		w := plug(t, func(p *peer) {
			chat := bytes.Repeat([]byte("wifi: beacon lost\r\n"), 50)
			for {
				if _, err := p.conn.Write(chat); err != nil {
					return
				}
				sent.Add(int64(len(chat)))
				time.Sleep(time.Millisecond) // its pace, not a wait
			}
		})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		start := time.Now()
		_, err := identify(t, console.Script{}, w, station.Vars{}, console.Step{Expect: "login:", Timeout: 5 * second})
		runtime.ReadMemStats(&after)
		if stepError(t, err).Problem != "nothing matched in 5s" || time.Since(start) != 5*time.Second {
			t.Errorf("after %v: %v, want the step's deadline", time.Since(start), err)
		}
		if grew := after.TotalAlloc - before.TotalAlloc; sent.Load() < 4<<20 || grew > 1<<20 {
			t.Errorf("%d bytes received allocated %d, want at least 4 MB and at most 1 MB", sent.Load(), grew)
		}
	})
}

func TestWhatCameBeforeACommandIsNotItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.say("ready\r\nOK\r\n"); p.line(); p.say("flash worn out\r\n") })
		_, err := identify(t, console.Script{}, w, station.Vars{},
			console.Step{Expect: "ready"}, console.Step{Wait: second}, console.Step{Send: "save", Expect: "OK"})
		if err == nil {
			t.Error("an older OK was taken for the answer")
		}
	})
}

func TestAWriteThatBlocksEndsWithTheStepAndTheNextTryWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {
			time.Sleep(6 * time.Second) // reads nothing for longer than the step lasts
			if got := p.line(); got != "hello" {
				t.Errorf("device heard %q, want %q", got, "hello")
			}
			p.say("hi\r\n")
		})
		_, err := identify(t, console.Script{}, w, station.Vars{},
			console.Step{Send: "hello", Expect: "hi", Timeout: 5 * second, Retry: 1})
		if err != nil {
			t.Errorf("second try: %v, want success", err)
		}
	})
}

func TestACancelledPhaseStopsInTheMiddleOfPacedText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {})
		ctx, cancel := context.WithTimeoutCause(t.Context(), 250*time.Millisecond, errors.New("operator pulled it"))
		defer cancel()
		d := driver(t, console.Script{
			CharDelay: console.Duration(100 * time.Millisecond), Identify: []console.Step{{Send: "abcdef"}},
		})
		_, err := d.Do(ctx, w, station.Identify, station.Vars{})
		if err == nil || !strings.Contains(err.Error(), "given up") || stepError(t, err).Err.Error() != "operator pulled it" {
			t.Errorf("error is %v, want that it was given up, and why", err)
		}
		synctest.Wait()
		if got := w.heard(); got != "abc" {
			t.Errorf("device heard %q, want %q", got, "abc")
		}
	})
}

func TestTextIsTypedAtTheDevicesPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {})
		start := time.Now()
		_, err := identify(t, console.Script{
			CharDelay: console.Duration(3 * time.Millisecond), LineDelay: console.Duration(50 * time.Millisecond), Newline: "\n",
		}, w, station.Vars{}, console.Step{Send: "abcd"}, console.Step{Send: "e", Bare: true}, console.Step{Control: "c"})
		if err != nil {
			t.Fatal(err)
		}
		if took, want := time.Since(start), (7*3+50)*time.Millisecond; took != want {
			t.Errorf("took %v, want %v", took, want)
		}
		synctest.Wait()
		if got := w.heard(); got != "abcd\ne\x03" {
			t.Errorf("device heard %q, want %q", got, "abcd\ne\x03")
		}
	})
}

func TestADeviceThatTalksWhileItIsWrittenToBlocksNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {
			for { // an echo of each byte, and a log line
				c := p.key()
				p.say(string(c) + strings.Repeat("log ", 1000))
				if c == '\r' {
					p.say("\r\ndone\r\n")
				}
			}
		})
		_, err := identify(t, console.Script{}, w, station.Vars{}, console.Step{Send: strings.Repeat("x", 200), Expect: "^done"})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestAFailPatternEndsTheStepAtOnceAndForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.line(); p.say("flash worn out\r\n") })
		start := time.Now()
		_, err := identify(t, console.Script{}, w, station.Vars{},
			console.Step{Send: "save", Expect: "saved", Fail: "worn out", Retry: 5})
		const want = `identify step 1: send "save": device answered what the step refuses, want no /worn out/, got "flash worn out"`
		if err == nil || err.Error() != want || time.Since(start) > time.Second {
			t.Errorf("after %v: %v, want at once: %s", time.Since(start), err, want)
		}
	})
}

func TestAQuietDeviceIsNudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.line(); p.line(); p.say("uart:~$ ") })
		start := time.Now()
		_, err := identify(t, console.Script{}, w, station.Vars{}, console.Step{Expect: `uart:~\$ `, Nudge: second})
		if err != nil || time.Since(start) != 2*time.Second {
			t.Errorf("after %v: %v, want success after two newlines", time.Since(start), err)
		}
	})
}

func TestQuietWaitsForTheEndOfLogNoise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {
			for range 10 {
				p.say("usb 1-1: new device\r\n")
				time.Sleep(200 * time.Millisecond)
			}
		})
		start := time.Now()
		_, err := identify(t, console.Script{}, w, station.Vars{}, console.Step{Quiet: console.Duration(300 * time.Millisecond)})
		if took := time.Since(start); err != nil || took != 9*200*time.Millisecond+300*time.Millisecond {
			t.Errorf("after %v: %v, want 2.1s", took, err)
		}
	})
}

func TestTerminalQueriesAreAnsweredOnlyOnRequest(t *testing.T) {
	for answer, want := range map[bool]string{false: "", true: "\x1b[1;1R\x1b[0n"} {
		synctest.Test(t, func(t *testing.T) {
			w := plug(t, func(p *peer) { p.say("\x1b[6n\x1b[5nesp32> ") })
			if _, err := identify(t, console.Script{Answer: answer}, w, station.Vars{}, console.Step{Expect: "esp32> "}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := w.heard(); got != want {
				t.Errorf("answer = %v: device heard %q, want %q", answer, got, want)
			}
		})
	}
}

func TestAPortThatVanishesIsSaidAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.say("O"); p.conn.Close() })
		start := time.Now()
		d, log := journal(driver(t, console.Script{Identify: []console.Step{{Expect: "OK", Retry: 9}}}))
		_, err := d.Do(t.Context(), w, station.Identify, station.Vars{})
		if strings.Contains(log.String(), "tried again") {
			t.Errorf("transcript is\n%swant no second try without a port", log)
		}
		var f *station.Fault
		if !errors.As(err, &f) || !strings.Contains(f.Remedy, "cable") || time.Since(start) > 0 {
			t.Errorf("after %v: %v, %+v, want the cable named at once", time.Since(start), err, f)
		}
	})
}

func TestPowerCycleGoesOnWithTheNewPort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.say("old life\r\n") }, func(p *peer) { p.say("new life\r\n") })
		steps := []console.Step{{Expect: "old life\n"}, {Power: "cycle"}, {Expect: "new life\n"}}
		if _, err := identify(t, console.Script{}, w, station.Vars{}, steps...); err != nil {
			t.Error(err)
		}
		_, err := identify(t, console.Script{}, w, station.Vars{}, console.Step{Power: "cycle"})
		var f *station.Fault
		if !errors.As(err, &f) || f.Remedy != "give the slot power control" {
			t.Errorf("without power control: %v, %+v, want the link's own remedy", err, f)
		}
	})
}

func TestFactsAreBoundedPrintableAndNoSecret(t *testing.T) {
	for _, tt := range []struct{ name, said, want string }{
		{"too long", strings.Repeat("A", 129), "129 characters"},
		{"empty", "  ", "is empty"},
		{"with a tab", "A\tB", "not printable"},
		{"a secret", "CDFHJKMPQRTVWXY", "holds a secret"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := plug(t, func(p *peer) { p.say("id=" + tt.said + "\r\n") })
			facts, err := identify(t, console.Script{}, w, hidden(t, "admin", "CDFHJKMPQRTVWXY"),
				console.Step{Expect: `id=(.*)\n`, Capture: "hardware_id"})
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "CDFHJK") {
				t.Errorf("%s: %v, %v, want %q and nothing of a secret", tt.name, facts, err, tt.want)
			}
		})
	}
}

func TestPlaceholdersAreFilledFromVarsFactsAndTheStation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) {
			p.say("chip 77\r\n")
			fmt.Fprintf(p.conn, "heard %s\r\n", p.line())
		})
		_, err := identify(t, console.Script{Vars: map[string]string{"verb": "set {what}", "what": "name"}}, w, hidden(t),
			console.Step{Expect: `chip (\w+)\n`, Capture: "chip"},
			console.Step{Send: "{verb} {serial}-{chip} ${HOME} {{x}", Expect: `heard set name SN1-77 \$\{HOME\} \{x\}\n`})
		if err != nil {
			t.Error(err)
		}
	})
}

func TestTranscriptsShowTheDialogue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.line(); p.say("v2.4\r\n") })
		var log bytes.Buffer
		d := driver(t, console.Script{Identify: []console.Step{{Send: "version", Expect: `\n`}}}).
			WithLog(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		if _, err := d.Do(t.Context(), w, station.Identify, hidden(t, "unrelated", "never sent")); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{`msg="console sent" phase=identify text=version`, `msg="console received" phase=identify text="\"v2.4\""`} {
			if !strings.Contains(log.String(), want) {
				t.Errorf("transcript is\n%swant a line with %s", log.String(), want)
			}
		}
	})
}

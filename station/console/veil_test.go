package console_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"mintmark/station"
	"mintmark/station/console"
)

// A device may still hold a line that was typed before the station was killed, and
// show it to whoever comes next. Its password is known to nobody then.
func TestALineThatWasTypedBeforeUsIsNotShown(t *testing.T) {
	script := console.Script{Identify: []console.Step{
		{Control: "enter", Expect: "cam> ", Timeout: second},
		{Run: "id", Match: "hwid: (.*)", Capture: "hardware_id", Timeout: second},
	}}
	script.Dialect, script.Prompt = console.Argv, "^cam> "
	for name, answers := range map[string]bool{"and the device goes on": true, "and the device is mute then": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := plug(t, func(p *peer) {
					p.line()
					p.say("KMPQR2TVW\r\nOK\r\nI (7) cfg: admin=CDFHJKMPQR2TVW booting up\r\n")
					if !answers {
						return
					}
					p.say("cam> ")
					p.line()
					p.say("id\r\nhwid: A1\r\ncam> ")
				})
				d, log := journal(driver(t, script))
				facts, err := d.Do(t.Context(), w, station.Identify, station.Vars{})
				if betrays(log, facts, err) || strings.Contains(log.String(), "R2T") {
					t.Errorf("shows it:\n%v\n%s", err, log)
				}
				if (err == nil) != answers || !answers && !strings.Contains(err.Error(), "booting up") {
					t.Errorf("identify: %v, want the harmless words of the device", err)
				}
				if answers && !strings.Contains(log.String(), "hwid: A1") {
					t.Errorf("transcript of the next step is missing:\n%s", log)
				}
			})
		})
	}
}

// While secrets are known they are looked for, and everything else is shown.
func TestNothingIsVeiledWhileSecretsAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := plug(t, func(p *peer) { p.line(); p.say("U-Boot 2023.01\r\ncam> ") })
		d, log := journal(driver(t, console.Script{Identify: []console.Step{{Control: "enter", Expect: "cam> "}}}))
		if _, err := d.Do(t.Context(), w, station.Identify, hidden(t, "admin", password)); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "U-Boot 2023.01") {
			t.Errorf("transcript is %s", log)
		}
	})
}

// Package presets_test drives the presets, as a profile uses them, against real
// devices: U-Boot in QEMU, a Linux login, and the simulated line.
package presets_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"mintmark/daemon/profile"
	"mintmark/hsm/secret"
	"mintmark/station"
	"mintmark/station/console"
	"mintmark/station/port"
)

// device is the profile of a device, of which only the driver matters here.
const device = `id = "device"
model = "Device 1"
serial = { from = "device" }
label = "none"
label_reason = "a test"

[[credential]]
name = "admin"
kind = "login-password"
origin = "generated"
user = "admin"

[proof]
class = "stored-verifier"
[reset]
share = 0.0
[compliance]
manufacturer = "Example Manufacturer Ltd"
support_end = 2099-12-31
vdp_url = "https://example.com/security"
vdp_contact = "security@example.com"
ack_days = 5
update_days = 30
`

// A rig is one device in a slot, and the driver for it.
type rig struct {
	t      *testing.T
	driver *console.Driver
	log    *bytes.Buffer
	open   func() (station.Port, error)
	power  func(ctx context.Context, on bool) error
	port   station.Port
	vars   station.Vars
}

// insert puts a device into the slot: the driver section of its profile, the path
// of its console, and its power switch.
func insert(t *testing.T, driver, path string, power func(ctx context.Context, on bool) error) *rig {
	t.Helper()
	text := strings.Replace(device, `{ from = "device" }`, `{ from = "scan", pattern = "SN[0-9]+" }`, 1) // a driver need not read it
	if strings.Contains(driver, "{wifi}") {
		text = strings.Replace(text, "[proof]", "[[credential]]\nname = \"wifi\"\nkind = \"wifi-psk\"\norigin = \"generated\"\n\n[proof]", 1)
	}
	if strings.Contains(driver, "\nuser = \"root\"") {
		text = strings.Replace(text, `user = "admin"`, `user = "root"`, 1)
	}
	p, err := profile.Parse([]byte(text+driver), "device.toml", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	d, err := console.New(p.Driver.Script)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, log: &bytes.Buffer{}, power: power,
		open: func() (station.Port, error) { return port.Open(path, port.Config{}) },
		vars: station.Vars{Plain: map[string]string{"product": "device"}, Secret: map[string]*secret.Value{}},
	}
	r.driver = d.WithLog(slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if r.port, err = r.open(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.port.Close()
		for _, v := range r.vars.Secret {
			v.Close()
		}
		if t.Failed() {
			t.Logf("transcript:\n%s", r.log)
		}
	})
	return r
}

func (r *rig) Port() station.Port { return r.port }

func (r *rig) Cycle(ctx context.Context) error {
	return errors.Join(r.power(ctx, false), r.power(ctx, true)) // the port stays
}

func (r *rig) Reopen(context.Context) (err error) {
	r.port.Close()
	r.port, err = r.open()
	return err
}

// give sets a secret of the device.
func (r *rig) give(name, value string) {
	r.vars.Secret[name].Close()
	r.vars.Secret[name] = secret.From([]byte(value))
}

// do carries out a phase.
func (r *rig) do(p station.Phase) (station.Facts, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 4*time.Minute)
	defer cancel()
	start := time.Now()
	f, err := r.driver.Do(ctx, r, p, r.vars)
	fmt.Fprintf(r.log, "--- %s took %v\n", p, time.Since(start))
	return f, err
}

// must carries out phases that are to succeed, and returns the facts of the last.
func (r *rig) must(phases ...station.Phase) (f station.Facts) {
	r.t.Helper()
	for _, p := range phases {
		var err error
		if f, err = r.do(p); err != nil {
			r.t.Fatal(err)
		}
		if id := f["hardware_id"]; id != "" {
			r.vars.Plain["hardware_id"] = id
		}
	}
	return f
}

// refuse tries a candidate, with nothing else that is secret.
func (r *rig) refuse(user, password string) error {
	v := station.Vars{Plain: r.vars.Plain, Secret: map[string]*secret.Value{
		"candidate.user": secret.From([]byte(user)), "candidate": secret.From([]byte(password)),
	}}
	defer v.Secret["candidate.user"].Close()
	defer v.Secret["candidate"].Close()
	_, err := r.driver.Do(r.t.Context(), r, station.Refuse, v)
	return err
}

// silent makes sure that no secret was written down.
func (r *rig) silent(values ...string) {
	r.t.Helper()
	for _, v := range values {
		if strings.Contains(r.log.String(), v) {
			r.t.Errorf("%q is in the transcript", v)
		}
	}
}

func wants(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("error is %v, want %q", err, text)
	}
}

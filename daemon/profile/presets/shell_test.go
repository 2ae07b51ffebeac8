package presets_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"mintmark/fixtures/line"
	"mintmark/station"
)

// camera is the simulated device's shell.
const camera = `
[driver]
preset = "shell"
[driver.vars]
ok = '^OK$'
error = '^ERROR'
identify = "id"
hardware_id = '^hwid: (\S+)$'
serial = '^serial: (\S+)$'
firmware = '^firmware: (\S+)$'
write = "passwd admin {admin}"
save = "save"
boot_text = 'Console ready'
prove = "login admin"
prove_password = "{admin}"
logout = "logout"
refuse = "login {candidate.user}"
reset = "factory-reset"
lock = "lock"
`

func plugged(t *testing.T, d *line.Device, driver string) (*line.Socket, *rig) {
	t.Helper()
	s := &line.Socket{Path: filepath.Join(t.TempDir(), "port")}
	if err := s.Plug(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Pull)
	return s, insert(t, driver, s.Path, s.Power)
}

func TestAShellDeviceGoesAllTheWay(t *testing.T) {
	for name, driver := range map[string]string{
		"restarted by a command": camera, "restarted by its power": camera + "restart = \"power\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &line.Device{Serial: "AC000001", HardwareID: "02:AC:00:00:00:01"}
			_, r := plugged(t, d, driver)
			facts := r.must(station.Identify)
			if facts["hardware_id"] != d.HardwareID || facts["serial"] != d.Serial || facts["firmware"] != "2.4.1" {
				t.Errorf("facts are %v", facts)
			}
			const password = `C "D\F;$H`
			r.give("admin", password)
			r.must(station.Inject, station.Restart, station.Identify, station.Prove)
			if err := r.refuse(line.User, line.Universal); err != nil {
				t.Error(err)
			}
			if err := r.refuse(line.User, password); !errors.Is(err, station.ErrAccepted) {
				t.Errorf("its own password as a candidate: %v, want %v", err, station.ErrAccepted)
			}
			r.must(station.Reset, station.Identify, station.Prove, station.Lock, station.Lock)
			if !d.Accepts("admin", password) || !d.Locked() {
				t.Error("device does not hold what the driver proved")
			}
			r.silent(password, `D\F;`)
		})
	}
}

func TestAShellDeviceThatMisbehavesFailsWhereItDoes(t *testing.T) {
	for _, tt := range []struct {
		phase line.Phase
		fault line.Fault
		at    station.Phase
		want  string
	}{
		{line.Inject, line.Refusal, station.Inject, `device answered what the step refuses, want no /^ERROR/`},
		{line.Inject, line.Noise, station.Inject, "inject step"},
		{line.Inject, line.Chatter, station.Inject, "inject step"},
		{line.Inject, line.Mute, station.Inject, "nothing matched in 4s"},
		{line.Restart, line.ForgetsOnReboot, station.Prove, `want no`},
		{line.Identify, line.Unplug, station.Identify, "identify step"},
	} {
		t.Run(string(tt.phase)+" "+string(tt.fault), func(t *testing.T) {
			t.Parallel()
			d := &line.Device{Serial: "AC000001", HardwareID: "02:AC:00:00:00:01", Faults: map[line.Phase]line.Fault{tt.phase: tt.fault}}
			_, r := plugged(t, d, strings.Replace(camera, "[driver.vars]", "timeout = \"4s\"\n[driver.vars]", 1))
			r.give("admin", again)
			for _, p := range []station.Phase{station.Identify, station.Inject, station.Restart, station.Prove} {
				_, err := r.do(p)
				if p == tt.at {
					wants(t, err, tt.want)
					break
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			r.silent(again)
		})
	}
}

func TestAnEchoedSecretOfARealDialogueIsNotShown(t *testing.T) {
	t.Parallel()
	d := &line.Device{Serial: "AC000001", HardwareID: "02:AC:00:00:00:01", Faults: map[line.Phase]line.Fault{line.Inject: line.EchoesSecrets}}
	_, r := plugged(t, d, camera)
	r.must(station.Identify)
	r.give("admin", again)
	r.must(station.Inject, station.Restart, station.Prove)
	r.silent(again)
}

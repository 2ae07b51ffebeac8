package presets_test

import (
	"errors"
	"testing"

	"mintmark/fixtures/getty"
	"mintmark/station"
)

const (
	own   = `Own'Pass;$7 \w` // as hostile as a password can be
	again = "CDFHJKMPQRTVWXY"
)

// gateway is the usual device: 12 lines.
const gateway = `
[driver]
preset = "linux-login"
nudge = "1s"
[driver.vars]
user = "admin"
maintenance_password = "factory-123"
hardware_id = "cat /etc/hwid"
reset = "factory-reset"
lock = "passwd -l root"
`

func linux(t *testing.T, o getty.Options, driver string) (*getty.Machine, *rig) {
	t.Helper()
	m, err := getty.Start(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	return m, insert(t, driver, m.Path, m.Power)
}

func TestALinuxDeviceProvesItsOwnPasswordAndRefusesTheOld(t *testing.T) {
	for _, restart := range []string{"reboot", "power", "none"} {
		t.Run(restart, func(t *testing.T) {
			t.Parallel()
			m, r := linux(t, getty.Options{}, gateway+"restart = \""+restart+"\"\n")
			factory, err := m.Hash("admin")
			if err != nil {
				t.Fatal(err)
			}
			facts := r.must(station.Identify)
			if facts["hardware_id"] != "52:54:00:12:34:56" || facts["firmware"] == "" {
				t.Errorf("facts are %v", facts)
			}
			r.give("admin", own)
			r.must(station.Inject, station.Restart, station.Identify, station.Prove)
			if err := r.refuse("admin", getty.Default); err != nil {
				t.Error(err)
			}
			if err := r.refuse("root", getty.Default); !errors.Is(err, station.ErrAccepted) {
				t.Errorf("root with the factory's password: %v, want %v", err, station.ErrAccepted)
			}
			r.must(station.Lock)
			if err := r.refuse("root", getty.Default); err != nil {
				t.Errorf("after lock: %v", err)
			}
			r.must(station.Identify) // root is locked, so with its own password
			if now, err := m.Hash("admin"); err != nil || now == factory {
				t.Errorf("stored hash is %q, %v, want another than the factory's", now, err)
			}
			r.silent("Own'Pass", "$7", getty.Default)
		})
	}
}

func TestAFactoryResetThatBringsTheOldPasswordBackIsCaught(t *testing.T) {
	t.Parallel()
	_, r := linux(t, getty.Options{}, gateway)
	r.must(station.Identify)
	r.give("admin", again)
	r.must(station.Inject, station.Restart, station.Prove, station.Reset, station.Identify)
	_, err := r.do(station.Prove)
	wants(t, err, `prove step 1: log in as "admin": device refuses the login of admin`)
	if err := r.refuse("admin", getty.Default); !errors.Is(err, station.ErrAccepted) {
		t.Errorf("factory's password after the reset: %v, want %v", err, station.ErrAccepted)
	}
}

func TestAFactoryResetThatKeepsThePasswordPasses(t *testing.T) {
	t.Parallel()
	_, r := linux(t, getty.Options{ResetKeeps: true}, gateway)
	r.must(station.Identify)
	r.give("admin", again)
	r.must(station.Inject, station.Restart, station.Prove, station.Reset, station.Identify, station.Prove)
	if err := r.refuse("admin", getty.Default); err != nil {
		t.Error(err)
	}
}

func TestAPasswordThatDoesNotOutliveTheRestartFails(t *testing.T) {
	t.Parallel()
	_, r := linux(t, getty.Options{Volatile: true}, gateway)
	r.must(station.Identify)
	r.give("admin", again)
	r.must(station.Inject, station.Restart)
	_, err := r.do(station.Prove)
	wants(t, err, "device refuses the login of admin")
}

// The one account that there is gets the password: nothing else can log in
// afterwards. The hardware id is in the text before the prompt, so that a device
// can be told before anything is known of it.
func TestTheOnlyAccountAndABanner(t *testing.T) {
	t.Parallel()
	_, r := linux(t, getty.Options{}, `
[driver]
preset = "linux-login"
nudge = "1s"
[driver.vars]
user = "root"
maintenance_password = "factory-123"
banner = '(ACME) gateway'
write = "printf %s {wifi} > /etc/wifi"
check = "test \"$(cat /etc/wifi)\" = {wifi}"
restart = "power"
reset = "factory-reset"
`)
	if facts := r.must(station.Identify); facts["hardware_id"] != "ACME" {
		t.Errorf("facts are %v", facts)
	}
	r.give("admin", again)
	r.give("wifi", own)
	r.must(station.Inject, station.Restart, station.Identify, station.Prove)
	if err := r.refuse("root", getty.Default); err != nil {
		t.Error(err)
	}
	r.must(station.Inject) // a second attempt with the same row
	r.must(station.Reset)
}

package presets_test

import (
	"strings"
	"testing"

	"mintmark/fixtures/uboot"
	"mintmark/station"
)

// verifier has every character that a crypt hash can have, and those that a
// careless script would trip over in hush.
const (
	verifier = `$6$rounds=5000$ab/C.d$x;y"z'w\q&|<>*?[k]#!~(){}`
	older    = "$6$old$0123456789abcdef"
)

const nanopi = `
[driver]
preset = "uboot"
[driver.vars]
hardware_id = "printenv ethaddr"
hardware_id_match = '^ethaddr=(\S+)$'
serial = "printenv serial#"
`

// second is another credential of the board.
const second = `variable2 = "wifi_key"
value2 = "{wifi}"
`

func board(t *testing.T, b uboot.Board, driver string) (*uboot.Machine, *rig) {
	t.Helper()
	m, err := uboot.Start(t.Context(), b, t.TempDir())
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

func TestBoardsStoreAVerifierAndFindItAfterThePowerWasOff(t *testing.T) {
	for _, b := range []uboot.Board{uboot.NanoPiNEO, uboot.OrangePiPlus} {
		t.Run(string(b), func(t *testing.T) {
			t.Parallel()
			m, r := board(t, b, nanopi+second)
			facts := r.must(station.Identify)
			if facts["hardware_id"] != "02:81:4a:58:bd:80" || facts["serial"] != "02c000814a58bd80" || facts["firmware"] != "2023.01+dfsg-2+deb12u3" {
				t.Errorf("facts are %v", facts)
			}
			r.give("admin.verifier", verifier)
			r.give("wifi", again)
			r.must(station.Inject, station.Restart, station.Identify, station.Prove)
			if err := r.refuse("admin", "factory-123"); err != nil {
				t.Error(err)
			}
			env, err := m.Env()
			onCard := strings.ReplaceAll(verifier, `\`, `\\`) // U-Boot writes a backslash twice
			if err != nil || env["admin_pw_hash"] != onCard {
				t.Errorf("environment on the card has %q, %v, want the verifier", env["admin_pw_hash"], err)
			}
			r.silent(verifier, "rounds=5000")

			r.give("admin.verifier", older) // what is stored is another's
			_, err = r.do(station.Prove)
			wants(t, err, "answer is another, want {admin.verifier}")
			if err := r.refuse("admin", "x;y"); err == nil {
				t.Error("refuse found nothing of what is stored")
			}
			r.silent(verifier, "rounds=5000", older)
		})
	}
}

func TestABoardWhoseSaveenvFailsFails(t *testing.T) {
	t.Parallel()
	_, r := board(t, uboot.QEMUArm64, `
[driver]
preset = "uboot"
[driver.vars]
hardware_id = "printenv fdtcontroladdr"
hardware_id_match = '=(\S+)$'
`)
	r.must(station.Identify)
	r.give("admin.verifier", verifier)
	_, err := r.do(station.Inject)
	wants(t, err, `run "saveenv": device answered what the step refuses`)
	r.must(station.Prove) // in memory the value is there: this alone would prove nothing
	_, err = r.do(station.Restart)
	wants(t, err, "restart step 3")
}

// TestEveryValueSurvivesARealHush is for U-Boot what the fuzzing of quotes is for
// the shells that run on this machine.
func TestEveryValueSurvivesARealHush(t *testing.T) {
	t.Parallel()
	_, r := board(t, uboot.QEMUArm64, `
[driver]
preset = "uboot"
[driver.vars]
hardware_id = ""
[[driver.inject]]
run = "setenv x [{admin}]"
[[driver.inject]]
run = "printenv x"
match = '^x=(.*)$'
equal = "[{admin}]"
`)
	r.must(station.Identify)
	var printable strings.Builder
	for c := byte(' '); c <= '~'; c++ {
		printable.WriteByte(c)
	}
	for _, v := range []string{
		"", " ", "  a  b ", "'", "''", `\`, `\\`, `a\`, `\'`, `'\''`, `"`, `"$a"`, "$a", "${a}", "$(version)", "`version`", "$?",
		"a;version", "a&&version", "a||version", "|", "&", "#x", "a#x", "*", "?", "[a]", "!", "~", "<>", "\\n", "%s",
		"$6$salt$hash/.", strings.Repeat(`'\`, 40), printable.String(),
	} {
		r.give("admin", v)
		if _, err := r.do(station.Inject); err != nil {
			t.Errorf("%q: %v", v, err)
		}
	}
}

package profile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mintmark/daemon/profile"
	"mintmark/records"
	"mintmark/station"
)

var today = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

// camera is the example that init writes.
func camera(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "template", "camera.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(data), "{{support_end}}", "2032-12-31")
}

// edit replaces old, which must be there once, by its successor.
func edit(t testing.TB, text, old, successor string) string {
	t.Helper()
	if strings.Count(text, old) != 1 {
		t.Fatalf("%q is %d times in the profile, want once", old, strings.Count(text, old))
	}
	return strings.Replace(text, old, successor, 1)
}

func parse(t testing.TB, text string) *profile.Profile {
	t.Helper()
	p, err := profile.Parse([]byte(text), "camera.toml", today)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheExampleIsInOrderAndSaysThatItIsAnExample(t *testing.T) {
	p := parse(t, camera(t))
	want := `camera.toml:59:1: warning: reset.share: no device is probed: nothing shows that a factory reset brings back no universal password (R-PW-08)
camera.toml:83:1: warning: compliance.example: these are the facts of an example, replace them before a device is sold`
	if got := p.Warnings().Error(); got != want {
		t.Errorf("warnings are\n%s\nwant\n%s", got, want)
	}
}

func TestProductIsWhatTheFileSays(t *testing.T) {
	p := parse(t, camera(t))
	product := p.Product()
	if product.ID != "camera" || product.Attempts != 3 || len(product.Credentials) != 2 {
		t.Fatalf("Product = %+v", product)
	}
	admin, wifi := product.Credentials[0], product.Credentials[1]
	if admin.Kind != records.LoginPassword || admin.Origin != records.Imported || admin.Bits != 64 || admin.ProductScope {
		t.Errorf("admin = %+v, want an imported login password of 64 stated bits", admin)
	}
	if wifi.Kind != records.WifiPSK || wifi.Origin != records.Generated || wifi.Bits < 91 || wifi.Bits > 92 {
		t.Errorf("wifi = %+v, want a generated key of 91 bits", wifi)
	}
	if err := wifi.Check([]byte("BCDFGHJKMPQRTVWXY234")); err != nil {
		t.Errorf("Check of a value of the alphabet = %v", err)
	}
	if wifi.Check([]byte("BCDFGHJKMPQRTVWXY23a")) == nil {
		t.Error("Check took a value outside of the alphabet")
	}
	s := p.Station()
	if s.SerialFrom != station.FromDevice || s.Users["admin"] != "admin" || s.Proof != "login" || len(s.Old) != 1 || s.Label == nil {
		t.Errorf("Station = %+v", s)
	}
}

func TestDigestIsThatOfTheFile(t *testing.T) {
	text := camera(t)
	if parse(t, text).Digest == parse(t, text+"\n").Digest {
		t.Error("an edited profile has the digest of the old one")
	}
}

func TestImportedValuesAreCheckedAgainstTheirAlphabet(t *testing.T) {
	p := parse(t, edit(t, camera(t), "bits = 64 ", "alphabet = \"strict20\"\nlength = 15 "))
	admin := p.Product().Credentials[0]
	if err := admin.Check([]byte("CDFHJKMPQRT2347")); err != nil {
		t.Errorf("Check = %v", err)
	}
	if err := admin.Check([]byte("CDFHJKMPQRT234")); err == nil || bytes.Contains([]byte(err.Error()), []byte("CDFH")) {
		t.Errorf("Check of a short value = %v, want a refusal without the value", err)
	}
}

func TestImportedValuesOfStatedBitsAreNeitherTrivialNorUniversal(t *testing.T) {
	text := edit(t, camera(t), `password = "root" }`, `password = "Factory-Default.2026" }`)
	admin := parse(t, text).Product().Credentials[0]
	for value, want := range map[string]string{
		"PW000001XKCDFHJM":      "",
		"aB3$xY7!qZ":            "",
		"aB3$xY7":               "has 7 characters, want at least 8: fewer can't hold 48 bits (R-GEN-02)",
		"12345":                 "has 5 characters, want at least 8: fewer can't hold 48 bits (R-GEN-02)",
		"admin":                 "is a universal credential, which proof.old or reset.universal names: no device may have it",
		"AD-MIN":                "is a universal credential, which proof.old or reset.universal names: no device may have it",
		"factory_default2026":   "is a universal credential, which proof.old or reset.universal names: no device may have it",
		"Factory-Default.2026":  "is a universal credential, which proof.old or reset.universal names: no device may have it",
		"Factory-Default.2027":  "",
		"Factory-Default.202":   "",
		"Factory-Default.2026X": "",
	} {
		got := ""
		if err := admin.Check([]byte(value)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("Check(%q) = %q, want %q", value, got, want)
		}
	}
}

func TestAnImportedPINOfStatedBitsHasDigitsEnough(t *testing.T) {
	text := edit(t, camera(t), "bits = 64 ", "bits = 26 ")
	text = edit(t, text, `kind = "login-password"`, `kind = "pin"`)
	text = edit(t, text, `user = "admin"`+"\n\n", "\n")
	pin := parse(t, text).Product().Credentials[0]
	if err := pin.Check([]byte("12345678")); err != nil {
		t.Errorf("Check of 8 digits = %v", err)
	}
	if pin.Check([]byte("1234567")) == nil {
		t.Error("Check took 7 digits for 26 bits")
	}
}

// TestMistakes is the list of what a profile can have wrong, by its message. It is
// as long as the list.
func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ name, old, successor, want string }{
		{"unknown key", "model =", "modle =",
			"camera.toml: model: missing, want the model designation that the customer reads (R-SP-03)\ncamera.toml:6:1: modle: no such setting, did you mean model"},
		{"unknown driver", `preset = "shell"`, `preset = "shel"`,
			`camera.toml:27:1: driver.preset: is "shel", did you mean shell; want linux-login, shell or uboot`},
		{"unknown kind", `kind = "wifi-psk"`, `kind = "wifi"`,
			`camera.toml:22:1: credential[2].kind: is "wifi", want login-password, wifi-psk, pin, symmetric-key or api-key`},
		{"unknown origin", `origin = "generated"`, `origin = "made"`,
			`camera.toml:23:1: credential[2].origin: is "made", want generated or imported`},
		{"weak alphabet", `origin = "generated"`, "origin = \"generated\"\nalphabet = \"digits\"\nlength = 15",
			`camera.toml:25:1: credential[2].length: wifi-psk has 15 characters, want 20 to 63 (R-GEN-02)`},
		{"unknown alphabet", `origin = "generated"`, "origin = \"generated\"\nalphabet = \"ab\"\nlength = 15",
			`camera.toml:24:1: credential[2].alphabet: is "ab", want strict20, alpha24, base32v, digits or hex`},
		{"length under the floor", `bits = 64 `, "alphabet = \"strict20\"\nlength = 11 ",
			`camera.toml:17:1: credential[1].length: login-password of 11 characters of strict20 has 47.5 bits, want at least 64: 15 characters (R-GEN-02)`},
		{"stated bits under the floor", `bits = 64 `, "bits = 40 ",
			`camera.toml:16:1: credential[1].bits: is 40 for a login-password, want at least 64 (R-GEN-02)`},
		{"nothing stated", "bits = 64 ", "",
			`camera.toml:12:3: credential[1].alphabet: missing, want alphabet and length, or bits as the supplier states them (R-GEN-02)`},
		{"two of a name", `name = "wifi"`, `name = "admin"`,
			`camera.toml:21:1: credential[2].name: "admin" is the name of credential[1]`},
		{"name with a meaning", `name = "wifi"`, `name = "serial"`,
			`camera.toml:21:1: credential[2].name: is "serial", which has a meaning of its own`},
		{"no label without a reason", "[label]\nzpl = \"\"\"", "#\nignored = \"\"\"",
			`label: missing, want [label] with zpl, or label = "none" with a label_reason`},
		{"serial from nowhere", `from = "device"`, `from = "mes"`,
			`camera.toml:9:1: serial.from: is "mes", want device, scan or counter`},
		{"counter without a format", `from = "device"`, `from = "counter"`,
			`camera.toml:8:2: serial.format: missing, want text with one number in it, such as "AC%06d"`},
		{"counter with two numbers", `from = "device"`, "from = \"counter\"\nformat = \"%d%d\"",
			`camera.toml:10:1: serial.format: is "%d%d", want text with one number in it, such as "AC%06d"`},
		{"scan without a pattern", `from = "device"`, `from = "scan"`,
			`serial.pattern: missing, want what a scanned serial looks like: a password scanned by mistake must not pass for one`},
		{"broken pattern", `from = "device"`, "from = \"device\"\npattern = \"(\"",
			"serial.pattern: is no regular expression: error parsing regexp: missing closing ): `(`"},
		{"support that is over", "2032-12-31", "2026-11-22",
			`compliance.support_end: is 2026-11-22, which is past: a device can't be supplied without support (R-SP-01)`},
		{"no contact", `vdp_contact = "security@example.com"`, "",
			`compliance.vdp_contact: missing, want whom a finder of a vulnerability writes to (R-VD-01)`},
		{"policy without https", `"https://example.com/security"`, `"http://example.com/security"`,
			`compliance.vdp_url: is "http://example.com/security", want the https address of the vulnerability disclosure policy (R-VD-01)`},
		{"key written twice", "ack_days = 5", "ack_days = 5\nack_days = 6",
			`compliance.ack_days: written twice, first in line 81`},
		{"probe of more than all", "share = 0.0", "share = 1.5", `reset.share: is 1.5, want 0 to 1`},
		{"nothing to refuse", `old = [{ user = "admin", password = "admin" }]`, "",
			`proof.old: missing, want at least one old credential that the device must refuse`},
		{"wide scope too narrow", `origin = "generated"`, "origin = \"generated\"\nscope = \"product\"",
			`credential[2].scope: is product for 91.7 bits, want ledger for 60 bits and more (R-LED-06)`},
		{"label with an unknown field", "{wifi:5-5-5-5}", "{wlan}", `label.zpl: `},
		{"user of a key", `kind = "wifi-psk"`, "kind = \"wifi-psk\"\nuser = \"x\"", `credential[2].user: is only for a login-password`},
		{"unknown verifier", `user = "admin"` + "\n\n", "user = \"admin\"\nverifier = \"md5\"\n\n",
			`credential[1].verifier: is "md5", want sha512-crypt or yescrypt`},
		{"step that can't be", `baud = 115200`, "baud = 115200\n[[driver.inject]]\nexpect = \"(\"", `driver.inject[1].expect: `},
		{"credential that is never sent", "write2 = \"set wifi {wifi}\"\n", "",
			`camera.toml:27:1: driver: driver never injects credential wifi`},
		{"old password that is never tried", "refuse = \"login {candidate.user}\"\n", "",
			`camera.toml:27:1: driver: driver has no phase refuse`},
		{"no command for identify", `identify = "id"`, `identify = ""`, `driver.identify[2].run: `},
		{"serial that nothing reads", "serial = '^serial: (\\S+)$'\n", "",
			`camera.toml:27:1: driver: identify captures no serial, want it where serial.from = "device"`},
		{"timeout without unit", "[label]", "[timeouts]\nrestart = 5\n[label]",
			`timeouts.restart: is a number, want a time with its unit in quotes, like "3ms" or "20s"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := profile.Parse([]byte(edit(t, camera(t), tt.old, tt.successor)), "camera.toml", today)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Parse = %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestACounterWantsTheHardwareIDOfTheDevice(t *testing.T) {
	text := edit(t, camera(t), `from = "device"`, "from = \"counter\"\nformat = \"AC%06d\"")
	parse(t, text)
	text = edit(t, text, "hardware_id = '^hwid: (\\S+)$'\n", "")
	_, err := profile.Parse([]byte(text), "camera.toml", today)
	if want := `camera.toml:28:1: driver: identify captures no hardware_id, want it where serial.from = "counter"`; err == nil || err.Error() != want {
		t.Errorf("Parse = %v, want %s", err, want)
	}
}

func TestACredentialHasOneUser(t *testing.T) {
	for _, tt := range []struct{ name, vars, want string }{
		{"the same", "user = \"admin\"\n", ""},
		{"the preset's", "", ""},
		{"another", "user = \"root\"\n", "camera.toml:29:1: driver.vars.user: differs from credential[1].user, want one user of admin"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := mistakesOf(login(t, tt.vars)); got != tt.want {
				t.Errorf("Parse = %q, want %q", got, tt.want)
			}
		})
	}
	text := edit(t, login(t, ""), "user = \"admin\"\n\n", "user = \"root\"\n\n")
	want := "camera.toml:17:1: credential[1].user: differs from driver.vars.user of the preset, want one user of admin"
	if got := mistakesOf(text); got != want {
		t.Errorf("Parse = %q, want %q", got, want)
	}
	text = edit(t, login(t, "user = \"root\"\n"), "user = \"admin\"\n\n", "\n")
	if got := mistakesOf(text); got != "" {
		t.Errorf("Parse of a credential that names no user = %q, want nothing", got)
	}
}

// login is the example as a Linux, with vars of its own.
func login(t *testing.T, vars string) string {
	t.Helper()
	before, rest, ok := strings.Cut(camera(t), "[driver]\n")
	_, after, found := strings.Cut(rest, "[proof]\n")
	if !ok || !found {
		t.Fatal("the example has no driver or no proof")
	}
	return before + "[driver]\npreset = \"linux-login\"\n[driver.vars]\n" + vars +
		"serial = \"cat /etc/serial\"\nwrite = \"wifi {wifi}\"\ncheck = \"wifi -c {wifi}\"\n\n[proof]\n" + after
}

func mistakesOf(text string) string {
	if _, err := profile.Parse([]byte(text), "camera.toml", today); err != nil {
		return err.Error()
	}
	return ""
}

func TestAllMistakesAreReportedAtOnce(t *testing.T) {
	text := camera(t)
	for old, successor := range map[string]string{
		"model =": "modle =", `preset = "shell"`: `preset = "x"`, "ack_days = 5": "ack_days = \"five\"", "2032-12-31": "2020-01-01",
	} {
		text = edit(t, text, old, successor)
	}
	_, err := profile.Parse([]byte(text), "camera.toml", today)
	mistakes, ok := err.(profile.Mistakes)
	if !ok || len(mistakes) != 5 {
		t.Fatalf("Parse = %v, want 5 mistakes", err)
	}
	for i := 1; i < len(mistakes); i++ {
		if mistakes[i].Pos.Line < mistakes[i-1].Pos.Line {
			t.Errorf("mistake %d comes before %d", i+1, i)
		}
	}
}

func TestNothingIsMissingFromAFileThatCantBeRead(t *testing.T) {
	text := edit(t, camera(t), "[driver.vars]", "[driver.vars")
	text = edit(t, text, "model =", "modle =")
	_, err := profile.Parse([]byte(text), "camera.toml", today)
	mistakes, ok := err.(profile.Mistakes)
	if !ok || len(mistakes) != 2 || mistakes[0].Key != "modle" || mistakes[1].Pos.Line < 30 {
		t.Errorf("Parse = %v, want the unknown key and the place where the file can't be read", err)
	}
}

func TestMistakesOfAPresetAreThoseOfTheProfile(t *testing.T) {
	text := edit(t, camera(t), "prove = \"login admin\"\nprove_password = \"{admin}\"\n", "")
	_, err := profile.Parse([]byte(text), "camera.toml", today)
	if err == nil || !strings.Contains(err.Error(), "camera.toml:27:1: driver.prove[") || !strings.Contains(err.Error(), "(presets/shell.toml:") {
		t.Errorf("Parse = %v, want mistakes at the profile's preset", err)
	}
}

func TestMistakesNeverRepeatAPassword(t *testing.T) {
	text := edit(t, camera(t), `password = "admin"`, `pasword = "hunter2hunter2"`)
	_, err := profile.Parse([]byte(text), "camera.toml", today)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("Parse = %v, want a mistake without the password", err)
	}
}

func TestLabelNoneWantsItsReason(t *testing.T) {
	text := camera(t)
	from, to := strings.Index(text, "[label]"), strings.Index(text, "# The facts")
	bare := "label = \"none\"\n" + text[:from] + text[to:]
	if _, err := profile.Parse([]byte(bare), "camera.toml", today); err == nil || !strings.Contains(err.Error(), "label_reason: missing") {
		t.Errorf("Parse without a reason = %v", err)
	}
	p := parse(t, "label_reason = \"printed by the box line\"\n"+bare)
	if p.HasLabel() || p.Station().Label != nil {
		t.Error("a profile without a label has one")
	}
}

func TestAWeakPasswordIsAllowedWithABruteForceControl(t *testing.T) {
	text := edit(t, camera(t), "bits = 64 ", "alphabet = \"strict20\"\nlength = 12 ")
	text = edit(t, text, "update_days = 30", "update_days = 30\nbruteforce_control = \"lockout\"")
	p := parse(t, text)
	if got := p.Warnings().Error(); !strings.Contains(got, `credential[1].length: 51.8 bits are weak, allowed only because of bruteforce_control = "lockout" (R-GEN-02)`) {
		t.Errorf("warnings are\n%s", got)
	}
}

func FuzzParse(f *testing.F) {
	text := camera(f)
	if text == "" {
		f.Fatal("the seed is empty")
	}
	f.Add([]byte(text))
	f.Add([]byte("label = 3\n[[credential]]\n[driver]\npreset=\"uboot\"\n[[driver.inject]]\nrun=\"x\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := profile.Parse(data, "f.toml", today)
		if (p == nil) == (err == nil) {
			t.Fatalf("Parse = %v, %v, want either", p, err)
		}
		if err != nil {
			return
		}
		p.Product()
		p.Station()
	})
}

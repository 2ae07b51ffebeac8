package canary_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mintmark/fixtures/canary"
	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
)

// TestPlantedSecretsAreNowhere works a station for a while as people do, with
// devices that behave and devices that don't, and looks for every credential and
// its plain hashes in everything that is left, but for devices and labels.
func TestPlantedSecretsAreNowhere(t *testing.T) {
	s := newShift(t, newWorld(t, factory.Options{ResetShare: 0.3}))
	s.importAlone()
	p := s.start()
	s.importOver()
	s.provision()
	p = s.killInTheMiddle(p)
	s.seeAgain()
	s.rework()
	s.lookAround()
	s.end(p, syscall.SIGTERM)
	s.lookAround()
	restored := s.restore()
	p = s.start()
	s.end(p, syscall.SIGQUIT) // whose stacks are in the log

	s.search(restored)
}

// csv is the text of a file for devices, whose rows may be changed by number.
func csv(first, n int, seed uint64, change map[int]string) string {
	rows := strings.Split(factory.CSV(factory.Devices(factory.Imported, first, n), seed), "\n")
	for row, value := range change {
		serial, _, _ := strings.Cut(rows[row], ",")
		rows[row] = serial + "," + value
	}
	return strings.Join(rows, "\n")
}

// value is the value in a row of a file.
func value(text string, row int) string {
	_, v, _ := strings.Cut(strings.Split(text, "\n")[row], ",")
	return v
}

// importAlone brings files while no daemon runs.
func (s *shift) importAlone() {
	one := csv(1, 30, 1, nil)
	good := s.file(s.t, "I1.csv", one)
	command := func(action, batch, file string) []string {
		return []string{"batch", action, "--product", factory.Imported, "--batch", batch, file}
	}
	s.mintmark(0, "", append(command("check", "I1", good), "--json")...)
	s.mintmark(0, "", append(command("import", "I1", good), "--json")...)
	s.mintmark(0, "", command("import", "I1", good)...)
	reuse := csv(201, 12, 2, map[int]string{7: value(one, 5)})
	s.file(s.t, "R1.csv", reuse)
	s.mintmark(1, reuse, append(command("import", "R1", "-"), "--json")...)
	s.mintmark(1, reuse, command("import", "R1", "-")...)
	s.mintmark(0, "", append(command("import", "H1", s.file(s.t, "H1.csv", csv(301, 5, 3, nil))), "--history")...)

	v := func(row int) string { return value(csv(401, 20, 4, nil), row) }
	for name, text := range map[string]string{
		"ragged":     "serial,admin\nCI000401," + v(1) + "\nCI000402," + v(2) + "," + v(3) + "\n",
		"no header":  "CI000403," + v(4) + "\nCI000404," + v(5) + "\n",
		"quote":      "serial,admin\nCI000405," + v(6) + "\"\n",
		"open quote": "serial,admin\nCI000406,\"" + v(7) + "\n",
		"no text":    "serial,admin\nCI000407," + v(8) + "\xff\n",
		"twice":      "serial,admin\nCI000408," + v(9) + "\nCI000409," + v(9) + "\n",
		"serials":    "serial,admin\nCI000410," + v(10) + "\nCI000410," + v(11) + "\n",
		"too long":   "serial,admin\nCI000411," + strings.Repeat(v(12), 1000) + "\n",
		"alphabet":   "serial,admin\nCI000412," + v(13)[:14] + "é\n",
		"empty":      "serial,admin\nCI000413," + v(14) + "\nCI000414,\n",
	} {
		bad := s.file(s.t, name+".csv", text)
		s.mintmark(1, "", append(command("import", "BAD", bad), "--json")...)
		s.mintmark(1, "", command("check", "BAD", bad)...)
	}
}

// importOver brings files to the running daemon, and opens batches.
func (s *shift) importOver() {
	two := csv(101, 10, 5, nil)
	s.mintmark(0, "", "batch", "import", "--product", factory.Imported, "--batch", "I2", "--json", s.file(s.t, "I2.csv", two))
	reuse := csv(221, 12, 6, map[int]string{3: value(two, 4), 9: strings.ToLower(value(two, 6))})
	s.file(s.t, "R2.csv", reuse)
	s.mintmark(1, reuse, "batch", "import", "--product", factory.Imported, "--batch", "R2", "--json", "-")
	s.mintmark(1, reuse, "batch", "import", "--product", "nosuch", "--batch", "R2", "-")
	s.mintmark(1, value(two, 1), "device", "scan", "99")
	s.mintmark(1, value(two, 1), "device", "scan", "1")
	s.mintmark(0, "", "batch", "open", "I1")
	s.mintmark(0, "", "batch", "open", "I2", "--json")
	s.mintmark(0, "", "batch", "open", "G1", "--product", factory.Generated, "--quota", "100", "--json")
}

// broken makes devices with one fault each, from a number on.
func broken(product string, first int, faults ...map[line.Phase]line.Fault) []*line.Device {
	devices := factory.Devices(product, first, len(faults))
	for i, f := range faults {
		devices[i].Faults, devices[i].Once = f, true
	}
	return devices
}

type fault = map[line.Phase]line.Fault

// provision makes devices that behave, among them ones that repeat every secret in
// their log, and devices that don't. These come back mended.
func (s *shift) provision() {
	pass := func(*line.Device) string { return line.Pass }
	any := func(*line.Device) string { return "" }
	generated := broken(factory.Generated, 1, nil, nil, nil, nil, fault{line.Inject: line.EchoesSecrets})
	s.devices(factory.Generated, generated, pass)
	bad := broken(factory.Generated, 21,
		fault{line.Inject: line.Refusal}, fault{line.Inject: line.ForgetsOnReboot}, fault{line.Refuse: line.AcceptsDefault},
		fault{line.Lock: line.LockFails}, fault{line.Inject: line.RebootsInTheMiddle}, fault{line.Restart: line.Swapped},
		fault{line.Inject: line.Noise})
	s.devices(factory.Generated, bad, any)
	s.devices(factory.Generated, bad, any)

	imported := broken(factory.Imported, 1, nil, nil, nil, fault{line.Inject: line.EchoesSecrets})
	s.devices(factory.Imported, imported, pass)
	bad = broken(factory.Imported, 11,
		fault{line.Inject: line.Mute}, fault{line.Inject: line.Chatter}, fault{line.Inject: line.Unplug},
		fault{line.Prove: line.Unplug}, fault{line.Prove: line.Chatter}, fault{line.Restart: line.AnswersForAnother},
		fault{line.Inject: line.WrongSerial})
	s.devices(factory.Imported, bad, any)
	s.devices(factory.Imported, bad, any)

	reuse := csv(241, 6, 7, map[int]string{2: s.label("CG000001")[0], 4: s.label("CG000002")[1]})
	s.mintmark(1, "", "batch", "import", "--product", factory.Imported, "--batch", "R3", "--json", s.file(s.t, "R3.csv", reuse))
}

// killInTheMiddle takes the daemon away while devices are in their slots, has the
// ledger looked at, and goes on.
func (s *shift) killInTheMiddle(p *process) *process {
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.devices(factory.Generated, factory.Devices(factory.Generated, 41, 6), func(*line.Device) string { return line.Pass })
	}()
	for slot, at := range s.Slots {
		if at != factory.Generated {
			continue
		}
		if _, err := s.await(s.t.Context(), slot, "RUNNING"); err != nil {
			s.t.Fatal(err)
		}
	}
	s.end(p, syscall.SIGKILL)
	s.mintmark(0, "", "ledger", "verify", "--json")
	p = s.start()
	<-done
	return p
}

// seeAgain puts sealed devices into slots again.
func (s *shift) seeAgain() {
	var again []*line.Device
	for d := range s.world.devices {
		if d.Serial == "CG000001" || d.Serial == "CG000005" {
			again = append(again, d)
		}
	}
	s.devices(factory.Generated, again, func(*line.Device) string { return line.Pass })
}

// rework orders each of the four kinds, and a replacement.
func (s *shift) rework() {
	s.t.Helper()
	var again []*line.Device
	kinds := map[string]string{"CG000001": "relabel", "CG000002": "reprovision", "CG000003": "board-swap", "CG000004": "refurbish"}
	for d := range s.world.devices {
		kind := kinds[d.Serial]
		if kind == "" {
			continue
		}
		s.mintmark(0, "", "device", "rework", d.Serial, "--kind", kind, "--reason", "canary", "--json")
		if kind != "relabel" {
			d.Service()
		}
		if kind == "board-swap" {
			d = &line.Device{Serial: d.Serial, HardwareID: "02:AC:77:00:00:03"}
		}
		again = append(again, d)
	}
	s.devices(factory.Generated, again, func(*line.Device) string { return line.Pass })

	s.mintmark(0, "", "device", "rework", "CI000016", "--kind", "board-swap", "--reason", "canary")
	s.mintmark(0, "", "batch", "replace", "--product", factory.Imported, "--batch", "I1", "--json", s.file(s.t, "N1.csv", csv(16, 1, 8, nil)))
	s.mintmark(0, "", "batch", "close", "I2", "--json")
}

// lookAround asks for everything that can be asked for.
func (s *shift) lookAround() {
	for _, c := range [][]string{
		{"batch", "list"}, {"batch", "show", "I1"}, {"batch", "show", "I2"}, {"device", "list"}, {"device", "show", "CI000004"},
		{"device", "show", "CG000005"}, {"device", "show", "CI000011"}, {"ledger", "verify"}, {"ledger", "stats"}, {"doctor"},
	} {
		s.mintmark(0, "", c...)
		s.mintmark(0, "", append(c, "--json")...)
	}
	s.mintmark(0, "", "ledger", "backup", filepath.Join(s.out, fmt.Sprintf("backup-%d", time.Now().UnixNano())))
	s.mintmark(0, "", "ledger", "backup", "-")
	if _, err := os.Stat(s.Socket); err != nil {
		return
	}
	for _, path := range []string{
		"/v1/status", "/v1/batches", "/v1/devices", "/v1/devices/CG000005", "/v1/ledger/stats", "/v1/ledger/backup", "/v1/nosuch",
	} {
		s.raw(path)
	}
}

// restore makes another station of the last backup, and frees its rows.
func (s *shift) restore() (dir string) {
	s.t.Helper()
	dir = s.t.TempDir()
	for _, part := range []string{"station.toml", "profiles", "authority"} {
		if out, err := exec.CommandContext(s.t.Context(), "cp", "-a", filepath.Join(s.Dir, part), dir).CombinedOutput(); err != nil {
			s.t.Fatalf("copy %s: %v\n%s", part, err, out)
		}
	}
	backups, err := filepath.Glob(filepath.Join(s.out, "backup-*"))
	if err != nil || len(backups) == 0 {
		s.t.Fatalf("no backups: %v", err)
	}
	at := func(args ...string) *exec.Cmd {
		return exec.CommandContext(s.t.Context(), s.bin, append(args, "--config", filepath.Join(dir, "station.toml"))...)
	}
	s.run(0, at("ledger", "restore", backups[len(backups)-1]))
	since := filepath.Join(s.t.TempDir(), "since")
	if err := os.WriteFile(since, []byte("CI000020\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.run(0, at("ledger", "thaw", "--product", factory.Imported, "--provisioned", since, "--json"))
	s.run(0, at("ledger", "verify", "--json"))
	return dir
}

// search looks for all secrets in all that is left. It first makes sure that it
// would find them.
func (s *shift) search(restored string) {
	s.t.Helper()
	secrets, n := s.secrets(), s.net()
	for name, v := range secrets {
		if len(n.Bytes("here", []byte(v))) == 0 {
			s.t.Errorf("the net does not find %s", name)
		}
	}
	where := []string{s.Dir, s.out, restored}
	files, size := 0, int64(0)
	for _, dir := range where {
		f, b := count(s.t, dir)
		files, size = files+f, size+b
		for _, h := range look(s.t, n, dir) {
			s.t.Errorf("leak: %v", h)
		}
	}
	s.t.Logf("looked for %d secrets in %d files with %d MiB", len(secrets), files, size>>20)
	if len(secrets) < 100 || files < 150 || size < 50<<20 {
		s.t.Error("that is less than there should be, so it says little")
	}
	s.transcribed()
	s.positive(n, secrets, where)
	s.keys(where)
}

// look looks through a folder.
func look(t *testing.T, n *canary.Net, dir string) []canary.Hit {
	t.Helper()
	hits, err := n.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return hits
}

func count(t *testing.T, dir string) (files int, size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			files, size = files+1, size+info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files, size
}

// transcribed makes sure that logs, and notes of what the kernel shows, have what
// a secret could be in.
func (s *shift) transcribed() {
	s.t.Helper()
	all := ""
	files, err := filepath.Glob(filepath.Join(s.out, "*-daemon.log"))
	notes, nerr := filepath.Glob(filepath.Join(s.out, "*-proc"))
	if err := errors.Join(err, nerr); err != nil {
		s.t.Fatal(err)
	}
	for _, f := range append(files, notes...) {
		text, err := os.ReadFile(f)
		if err != nil {
			s.t.Fatal(err)
		}
		all += string(text)
	}
	for text, least := range map[string]int{
		`text="passwd admin {admin}"`: 20, "bytes_withheld=": 40, "device done": 30, "goroutine 1 ": 1,
		"/cmdline: " + s.bin + "\x00run\x00--debug": 3,
	} {
		if got := strings.Count(all, text); got < least {
			s.t.Errorf("logs and notes have %q %d times, want at least %d", text, got, least)
		}
	}
}

// positive puts two secrets where they may not be, and wants them found.
func (s *shift) positive(n *canary.Net, secrets map[string]string, where []string) {
	s.t.Helper()
	v := []byte(secrets["line 2 of I1.csv"])
	sum := sha256.Sum256(v)
	for i, text := range []string{base64.StdEncoding.EncodeToString(append([]byte("x"), v...)), hex.EncodeToString(sum[:])} {
		path := filepath.Join(where[i], "planted")
		if err := os.WriteFile(path, []byte("in the middle of it: "+text), 0o600); err != nil {
			s.t.Fatal(err)
		}
		if hits := look(s.t, n, where[i]); len(hits) != 1 || hits[0].Where != path || hits[0].Secret != "line 2 of I1.csv" {
			s.t.Errorf("planted a secret in %s, found %v", path, hits)
		}
	}
}

// keys looks for the authority's keys outside of its folder.
func (s *shift) keys(where []string) {
	s.t.Helper()
	n := canary.New()
	for _, name := range []string{"index.key", "wrap.key"} {
		b, err := os.ReadFile(filepath.Join(s.Dir, "authority", name))
		if err != nil || len(b) < 60 {
			s.t.Fatalf("read %s: %d bytes, %v", name, len(b), err)
		}
		n.Add(name, b[28:60]) // see the package comment of hsm/soft
	}
	inside := 0
	for _, dir := range where {
		for _, h := range look(s.t, n, dir) {
			if filepath.Base(filepath.Dir(h.Where)) == "authority" {
				inside++
			} else {
				s.t.Errorf("leak: %v", h)
			}
		}
	}
	if inside != 4 { // two keys in two stations
		s.t.Errorf("found %d keys in the folders of the authority, want 4", inside)
	}
}

package presets_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mintmark/daemon/profile"
	"mintmark/fixtures/getty"
	"mintmark/fixtures/uboot"
	"mintmark/hsm"
	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
	"mintmark/records"
	"mintmark/station"
	"mintmark/station/console"
	"mintmark/station/port"
)

// A bench is one slot with a ledger, an authority and a profile of its own.
type bench struct {
	t       *testing.T
	profile *profile.Profile
	ledger  *records.Ledger
	keys    *soft.Authority
	log     bytes.Buffer
}

// openBench makes a station for the product of a profile, with an open batch.
func openBench(t *testing.T, text string) *bench {
	t.Helper()
	b := &bench{t: t}
	var err error
	if b.profile, err = profile.Parse([]byte(text), "device.toml", time.Now()); err != nil {
		t.Fatal(err)
	}
	dir, authority := t.TempDir(), filepath.Join(t.TempDir(), "authority")
	if err := soft.Create(authority); err != nil {
		t.Fatal(err)
	}
	if b.keys, err = soft.Open(authority); err != nil {
		t.Fatal(err)
	}
	o := records.Options{Ballast: 1 << 20}
	if err := records.Create(t.Context(), dir, b.keys, o); err != nil {
		t.Fatal(err)
	}
	if b.ledger, err = records.Open(t.Context(), dir, b.keys, b.keys, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.ledger.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", &b.log)
		}
	})
	_, err = b.ledger.OpenBatch(t.Context(), records.OpenRequest{
		Product: b.profile.Product(), Batch: "B1", Quota: 10, Actor: records.Actor{Name: "ann", Supervisor: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Draw, Verifier and ID make the bench the slot's source of credentials.
func (b *bench) Draw(ctx context.Context, credential string) (*secret.Value, error) {
	g, _ := b.profile.Generator(credential)
	return g.Draw(ctx, b.keys)
}

func (b *bench) Verifier(ctx context.Context, credential string, v *secret.Value) (*secret.Value, error) {
	c, _ := b.profile.Credential(credential)
	if c.Verifier == "" {
		return nil, nil
	}
	return hsm.Verifier(ctx, c.Verifier, v, b.keys)
}

func (b *bench) ID() string { return b.keys.ID() }

// work takes the device at path through a slot, and returns what the slot shows
// at the end and what the ledger remembers.
func (b *bench) work(path string, power func(context.Context, bool) error) (station.Snapshot, records.Device) {
	b.t.Helper()
	log := slog.New(slog.NewTextHandler(&b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, err := console.New(b.profile.Driver.Script)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	slot, err := station.New(station.Config{
		Name: "station-1", Slot: "1", Product: b.profile.Station(), Ledger: b.ledger, Driver: d.WithLog(log), Source: b, Log: log,
		Open:  func(context.Context) (station.Port, error) { return port.Open(path, port.Config{}) },
		Power: power,
		Present: func(ctx context.Context, want bool) error {
			if want {
				return nil
			}
			<-ctx.Done() // nobody takes the device out, and its port stays
			return ctx.Err()
		},
		Timeouts: station.Timeouts{Vanish: 100 * time.Millisecond},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- slot.Run(ctx) }()
	n, changed := slot.Snapshot()
	for n.State != station.Pass && n.State != station.Fail {
		<-changed
		n, changed = slot.Snapshot()
	}
	cancel()
	if err := <-ended; err != nil {
		b.t.Error(err)
	}
	device, err := b.ledger.Device(b.t.Context(), "device", n.Serial)
	if err != nil && !errors.Is(err, records.ErrNotFound) {
		b.t.Fatal(err)
	}
	return n, device
}

// product is the profile of a whole product.
func product(driver, credential, rest string) string {
	text := strings.Replace(device, "origin = \"generated\"\n", "origin = \"generated\"\n"+credential, 1)
	head, _, _ := strings.Cut(text, "[proof]")
	_, compliance, _ := strings.Cut(text, "[compliance]")
	return head + rest + "\n[compliance]" + compliance + driver
}

const storedVerifier = `[proof]
class = "stored-verifier"
[reset]
share = 0.0
`

func TestABoardIsSealedByItsStoredVerifier(t *testing.T) {
	for _, board := range []uboot.Board{uboot.NanoPiNEO, uboot.OrangePiPlus} {
		t.Run(string(board), func(t *testing.T) {
			t.Parallel()
			m, err := uboot.Start(t.Context(), board, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer m.Stop()
			b := openBench(t, product(nanopi, "verifier = \"sha512-crypt\"\n", storedVerifier))
			n, d := b.work(m.Path, m.Power)
			if n.State != station.Pass || d.State != records.Sealed || d.HardwareID != "02:81:4a:58:bd:80" || d.Serial != "02c000814a58bd80" {
				t.Fatalf("slot shows %+v, ledger has %+v, want a sealed device", n, d)
			}
			if a := d.Attempts[0]; a.Proof != "stored-verifier" || a.Firmware != "2023.01+dfsg-2+deb12u3" {
				t.Errorf("attempt is %+v", a)
			}
			if env, err := m.Env(); err != nil || !strings.HasPrefix(env["admin_pw_hash"], "$6$") {
				t.Errorf("card has %q, %v, want a SHA-512 crypt hash", env["admin_pw_hash"], err)
			}
		})
	}
}

func TestABoardThatCannotSaveEndsAsFail(t *testing.T) {
	t.Parallel()
	m, err := uboot.Start(t.Context(), uboot.QEMUArm64, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Stop()
	b := openBench(t, product(`
[driver]
preset = "uboot"
[driver.vars]
hardware_id = "printenv fdtcontroladdr"
hardware_id_match = '=(\S+)$'
serial = "printenv fdtcontroladdr"
`, "verifier = \"sha512-crypt\"\n", storedVerifier))
	n, d := b.work(m.Path, m.Power)
	if n.State != station.Fail || n.Step != "inject" || d.State != records.Burned || !strings.Contains(n.Remedy, "can't store its environment") {
		t.Errorf("slot shows %+v, ledger has %+v, want FAIL at inject, burned", n, d)
	}
}

const login = `[proof]
class = "login"
old = [{ user = "admin", password = "factory-123" }]
[reset]
share = 1.0
universal = [{ user = "admin", password = "admin" }]
`

func TestALinuxDeviceIsSealedByItsLoginAlsoAfterAFactoryReset(t *testing.T) {
	for name, keeps := range map[string]bool{"a reset that keeps the password passes": true, "one that brings the old one back fails": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, err := getty.Start(t.Context(), t.TempDir(), getty.Options{ResetKeeps: keeps, HardwareID: "52:54:00:aa:bb:cc"})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Stop()
			b := openBench(t, product(gateway+"serial = \"cat /etc/hwid\"\n", "", login))
			n, d := b.work(m.Path, m.Power)
			if keeps && (n.State != station.Pass || d.State != records.Sealed || !d.Attempts[0].Probed || d.Attempts[0].Proof != "login") {
				t.Errorf("slot shows %+v, ledger has %+v, want a sealed and probed device", n, d)
			}
			if !keeps && (n.State != station.Fail || n.Step != "reset probe" || !strings.Contains(n.Error, "C-RESET") || d.State == records.Sealed) {
				t.Errorf("slot shows %+v, ledger has %+v, want FAIL at the reset probe", n, d)
			}
		})
	}
}

package daemon_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mintmark/daemon"
	"mintmark/daemon/profile"
	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
	"mintmark/hsm/soft"
)

func TestSourceDrawsWhatTheProfileSays(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	if err := soft.Create(dir); err != nil {
		t.Fatal(err)
	}
	a, err := soft.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	text := strings.Replace(factory.Profile(factory.Generated, 0), `user = "admin"`, "user = \"admin\"\nverifier = \"sha512-crypt\"", 1)
	text = strings.Replace(text, "passwd admin {admin}", "passwd admin {admin.verifier}", 1)
	p, err := profile.Parse([]byte(text), "cam.toml", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := daemon.SourceOf(p, a)
	for name, verifier := range map[string]string{"admin": "$6$", "wifi": ""} {
		v, err := s.Draw(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		g, _ := p.Generator(name)
		if err := g.CheckValue(v.Bytes()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		got, err := s.Verifier(t.Context(), name, v)
		switch {
		case err != nil:
			t.Fatal(err)
		case (got == nil) != (verifier == ""):
			t.Errorf("%s: verifier is %v, want one only where the profile names it", name, got)
		case got != nil && !bytes.HasPrefix(got.Bytes(), []byte(verifier)):
			t.Errorf("%s: verifier doesn't begin with %s", name, verifier)
		}
		got.Close()
		v.Close()
	}
	if s.ID() != a.ID() {
		t.Errorf("ID = %s, want %s", s.ID(), a.ID())
	}
}

func TestPowerCommandIsToldWhatToDo(t *testing.T) {
	said := filepath.Join(t.TempDir(), "said")
	switches := daemon.PowerOf([]string{"/bin/sh", "-c", `echo "$0 $1" >> ` + said, "relay"})
	for _, on := range []bool{false, true} {
		if err := switches(t.Context(), on); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(said); err != nil || string(got) != "relay off\nrelay on\n" {
		t.Errorf("command said %q (%v), want off, then on", got, err)
	}
	err := daemon.PowerOf([]string{"/bin/sh", "-c", "echo relay is stuck >&2; exit 3"})(t.Context(), false)
	if err == nil || !strings.Contains(err.Error(), "switch power off") || !strings.Contains(err.Error(), "relay is stuck") {
		t.Errorf("a failing command = %v, want what it said", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := daemon.PowerOf([]string{"/bin/sh", "-c", "sleep 60"})(ctx, true); err == nil {
		t.Error("a command that hangs outlived its deadline")
	}
	if daemon.PowerOf(nil) != nil {
		t.Error("a slot without a command has power control")
	}
}

// relay obeys a power command that writes what it wants to one pipe and waits for
// the other. It ends when the pipe says so.
func relay(ctx context.Context, s *line.Socket, asked, done string) error {
	for {
		text, err := os.ReadFile(asked) // until the writer closes it
		if err != nil {
			return err
		}
		order := strings.TrimSpace(string(text))
		if order == "end" {
			return nil
		}
		if err := s.Power(ctx, order == "on"); err != nil {
			return err
		}
		if err := os.WriteFile(done, []byte("ok\n"), 0); err != nil {
			return err
		}
	}
}

func TestASlotRestartsItsDeviceByItsPowerCommand(t *testing.T) {
	dir := t.TempDir()
	asked, done := filepath.Join(dir, "asked"), filepath.Join(dir, "done")
	for _, pipe := range []string{asked, done} {
		if err := unix.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := run(t, factory.Options{Slots: []string{factory.Generated}}, func(f *factory.Factory) {
		command := fmt.Sprintf("echo $1 > %s; read ok < %s", asked, done)
		change(t, f.Config, func(s string) string {
			return strings.Replace(s, "[[slot]]", fmt.Sprintf("[[slot]]\npower = [\"/bin/sh\", \"-c\", %q, \"sh\"]", command), 1)
		})
		change(t, filepath.Join(f.Dir, "profiles", "cam.toml"), func(s string) string {
			return strings.Replace(s, "[driver.vars]", "[driver.vars]\nrestart = \"power\"", 1)
		})
	})
	var g errgroup.Group
	g.Go(func() error { return relay(t.Context(), p.Sockets[0], asked, done) })
	if _, err := p.client.OpenBatch(t.Context(), "G1", factory.Generated, 1, false); err != nil {
		t.Fatal(err)
	}
	devices := factory.Devices(factory.Generated, 1, 1)
	if got := p.make(t, 0, devices); got["CG000001"] != line.Pass {
		t.Errorf("device ended as %v, want PASS", got)
	}
	if devices[0].Boots() < 2 {
		t.Errorf("device was started %d times, want a power cycle", devices[0].Boots())
	}
	f, err := os.OpenFile(asked, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, "end")
	f.Close()
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
}

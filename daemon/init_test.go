package daemon_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mintmark/daemon"
	"mintmark/records"
)

// newStation makes a station with init.
func newStation(t *testing.T) daemon.Config {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "d")
	if err := daemon.Init(t.Context(), dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	return read(t, dir)
}

func read(t *testing.T, dir string) daemon.Config {
	t.Helper()
	c, err := daemon.ReadConfig(filepath.Join(dir, "station.toml"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestInitMakesAStationThatWorksAtOnce(t *testing.T) {
	conn, err := daemon.Connect(t.Context(), newStation(t), "test")
	if err != nil {
		t.Fatal(err)
	}
	check, err := conn.Verify(t.Context(), nil)
	if err := errors.Join(err, conn.Close()); err != nil || len(check.Problems) > 0 {
		t.Errorf("Verify = %+v, %v", check, err)
	}
}

func TestInitRefusesAFolderWithSomethingInIt(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Init(t.Context(), dir, time.Now()); !errors.Is(err, records.ErrRefused) {
		t.Errorf("Init = %v, want a refusal", err)
	}
	c := newStation(t)
	before, err := os.ReadFile(filepath.Join(c.Authority, "index.key"))
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Init(t.Context(), filepath.Dir(c.Authority), time.Now()); !errors.Is(err, records.ErrRefused) {
		t.Errorf("Init of a station = %v, want a refusal", err)
	}
	if after, err := os.ReadFile(filepath.Join(c.Authority, "index.key")); err != nil || string(after) != string(before) {
		t.Errorf("a refused Init changed the key (%v)", err)
	}
}

// TestInitCanBeRunAgainWhereverItWasCutOff puts a new station back to each state
// that a crash can leave, and runs Init again.
func TestInitCanBeRunAgainWhereverItWasCutOff(t *testing.T) {
	parts := []string{"profiles", "authority", "ledger", "station.toml"}
	for moved := range len(parts) + 1 {
		c := newStation(t)
		dir := filepath.Dir(c.Ledger)
		work := filepath.Join(dir, ".building")
		if err := os.Mkdir(work, 0o700); err != nil {
			t.Fatal(err)
		}
		for _, p := range parts[moved:] {
			if err := os.Rename(filepath.Join(dir, p), filepath.Join(work, p)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(work, "complete"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		again(t, dir)
	}
	t.Run("while it was built", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, ".building", "ledger"), 0o700); err != nil {
			t.Fatal(err)
		}
		again(t, dir)
	})
	t.Run("with the context done", func(t *testing.T) {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := daemon.Init(ctx, dir, time.Now()); err == nil {
			t.Error("Init with its context done succeeded")
		}
		again(t, dir)
	})
}

func again(t *testing.T, dir string) {
	t.Helper()
	if err := daemon.Init(t.Context(), dir, time.Now()); err != nil {
		t.Fatalf("Init again = %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, ".building")); !os.IsNotExist(err) {
		t.Errorf("Init left its work: %v", err)
	}
	conn, err := daemon.Connect(t.Context(), read(t, dir), "test")
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestInitSaysSupportEndsInTheFuture(t *testing.T) {
	c := newStation(t)
	text, err := os.ReadFile(filepath.Join(c.Profiles, "camera.toml"))
	if err != nil || strings.Contains(string(text), "{{") {
		t.Errorf("profile has a hole (%v)", err)
	}
}

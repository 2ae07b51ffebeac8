package api_test

import (
	"errors"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"mintmark/daemon/api"
	"mintmark/records"
)

func TestListenReplacesAStaleSocketOnly(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	l, err := net.Listen("unix", stale)
	if err != nil {
		t.Fatal(err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if _, err := api.Dial(t.Context(), stale); !errors.Is(err, api.ErrNoDaemon) {
		t.Errorf("Dial of a stale socket = %v, want ErrNoDaemon", err)
	}
	again, err := api.Listen(t.Context(), stale, "")
	if err != nil {
		t.Fatalf("Listen over a stale socket = %v", err)
	}
	defer again.Close()
	if info, err := os.Stat(stale); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("socket has mode %v (%v), want 0660", info.Mode(), err)
	}
	if _, err := api.Listen(t.Context(), stale, ""); err == nil || !strings.Contains(err.Error(), "another daemon answers") {
		t.Errorf("Listen over a live socket = %v", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(t.Context(), file, ""); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("Listen over a file = %v", err)
	}
}

func TestListenRefusesAFolderThatAnybodyCanWrite(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Listen(t.Context(), filepath.Join(dir, "s"), ""); err == nil || !strings.Contains(err.Error(), "writable by everybody") {
		t.Errorf("Listen = %v", err)
	}
	if _, err := api.Listen(t.Context(), filepath.Join(dir, strings.Repeat("x", 120)), ""); err == nil || !strings.Contains(err.Error(), "want at most 107") {
		t.Errorf("Listen on a long path = %v", err)
	}
}

func TestRolesAreThoseOfUnixGroups(t *testing.T) {
	roles := api.Roles{Quality: "daemon", Supervisor: "nosuchgroup"}
	for _, tt := range []struct {
		uid  int
		want records.Actor
	}{
		{0, records.Actor{Name: "root", UID: 0, Quality: true, Supervisor: true}},
		{1, records.Actor{Name: "daemon", UID: 1, Quality: true}},
		{2, records.Actor{Name: "bin", UID: 2}},
		{987654, records.Actor{Name: "uid 987654", UID: 987654}},
	} {
		if got := roles.Actor(tt.uid); got != tt.want {
			t.Errorf("Actor(%d) = %+v, want %+v", tt.uid, got, tt.want)
		}
	}
	if got := (api.Roles{}).Actor(1); got.Quality || got.Supervisor {
		t.Errorf("without groups Actor(1) = %+v, want no role", got)
	}
}

func TestTheSocketsGroupIsTheOneThatWasNamed(t *testing.T) {
	own, err := user.LookupGroupId(strconv.Itoa(os.Getgid()))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l, err := api.Listen(t.Context(), filepath.Join(dir, "s"), own.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := api.Listen(t.Context(), filepath.Join(dir, "t"), "nosuchgroup"); err == nil {
		t.Error("Listen for a group that isn't there succeeded")
	}
	if _, err := os.Lstat(filepath.Join(dir, "t")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a refused Listen left its socket: %v", err)
	}
}

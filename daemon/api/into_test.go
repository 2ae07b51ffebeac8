package api_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mintmark/daemon/api"
	"mintmark/records"
)

// TestABackupIntoAFolderIsNotForEverybody has the files made with the rights of
// the daemon.
func TestABackupIntoAFolderIsNotForEverybody(t *testing.T) {
	h := api.Handler(api.Config{Ledger: open(t), Product: products})
	stranger := os.Geteuid() + 7
	for _, tt := range []struct {
		name string
		by   records.Actor
		may  bool
	}{
		{"the station's user", records.Actor{UID: os.Geteuid()}, true},
		{"root", records.Actor{UID: 0}, true},
		{"a supervisor", records.Actor{UID: stranger, Supervisor: true}, true},
		{"quality", records.Actor{UID: stranger, Quality: true}, false},
		{"somebody", records.Actor{UID: stranger}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Chmod(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			c := api.NewLocal(h, tt.by)
			defer c.Close()
			b, err := c.BackupInto(t.Context(), dir, 0, nil)
			files, globErr := filepath.Glob(filepath.Join(dir, "*"))
			if globErr != nil {
				t.Fatal(globErr)
			}
			if tt.may {
				if err != nil || filepath.Dir(b.File) != dir || len(files) != 3 {
					t.Errorf("backup is %+v, %v, with %v, want lock, segments and itself", b, err, files)
				}
				return
			}
			var e *api.Error
			if !errors.As(err, &e) || e.Status != http.StatusForbidden || len(files) > 0 {
				t.Errorf("backup is %+v, %v, with %v, want 403 and nothing written", b, err, files)
			}
		})
	}
}

func TestABackupIntoAFolderSaysWhatItWants(t *testing.T) {
	socket, local := serve(t, api.Config{Ledger: open(t)})
	for name, c := range map[string]*api.Client{"socket": dial(t, socket), "process": local} {
		for _, tt := range []struct {
			folder string
			keep   int
			want   string
		}{
			{"backups", 0, "want an absolute path"},
			{t.TempDir(), -1, "want an absolute path, and 0 or more"},
			{filepath.Join(t.TempDir(), "none"), 0, "no such file or directory"},
		} {
			if b, err := c.BackupInto(t.Context(), tt.folder, tt.keep, nil); err == nil || !strings.Contains(err.Error(), tt.want) || b.File != "" {
				t.Errorf("over %s: backup is %+v, %v, want %q", name, b, err, tt.want)
			}
		}
	}
}

// TestAnErrorAboutOlderBackupsComesWithTheNewOne damages the first.
func TestAnErrorAboutOlderBackupsComesWithTheNewOne(t *testing.T) {
	socket, _ := serve(t, api.Config{Ledger: open(t)})
	c, dir := dial(t, socket), filepath.Join(t.TempDir(), "backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	old, err := c.BackupInto(t.Context(), dir, 0, nil)
	if err := errors.Join(err, os.Truncate(old.File, 50)); err != nil {
		t.Fatal(err)
	}
	b, err := c.BackupInto(t.Context(), dir, 1, nil)
	if err == nil || !strings.Contains(err.Error(), "nothing older was removed") || b.File == "" || b.File == old.File {
		t.Errorf("backup is %+v, %v, want a new one and the damage of the old", b, err)
	}
}

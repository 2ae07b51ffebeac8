package daemon

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
	"mintmark/records"
)

//go:embed template/station.toml
var stationTemplate string

//go:embed template/camera.toml
var profileTemplate string

// building is the folder inside a new station in which it is built, and
// complete the sign that it is, so that nothing but moving is left to do.
const (
	building = ".building"
	complete = "complete"
)

// parts are what a station consists of. station.toml comes last, for it makes
// the folder a station.
var parts = [...]string{"profiles", "authority", "ledger", "station.toml"}

// Init makes a station folder that works at once: station.toml, an example
// profile, a development authority and an empty ledger. It refuses a folder with
// something in it, unless that is what an Init left that was cut off: then it
// ends what that began.
func Init(ctx context.Context, dir string, now time.Time) error {
	if err := initialise(ctx, dir, now); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	return nil
}

func initialise(ctx context.Context, dir string, now time.Time) error {
	if err := secret.Harden(); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := lockFolder(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	work := filepath.Join(dir, building)
	if _, err := os.Lstat(filepath.Join(work, complete)); err == nil {
		return move(work, dir)
	}
	if err := os.RemoveAll(work); err != nil { // never complete, so nobody has used it
		return err
	}
	if err := wantEmpty(dir); err != nil {
		return err
	}
	if err := build(ctx, work, now); err != nil {
		return errors.Join(err, os.RemoveAll(work))
	}
	return move(work, dir)
}

// lockFolder keeps two of us from building in the same folder.
func lockFolder(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("another init works in %s", dir), d.Close())
	}
	return d, nil
}

func wantEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	return &records.Refusal{
		Text: fmt.Sprintf("folder %s has something in it, want a new or an empty one", dir),
		Hint: "a station that is there already is left alone: choose another folder",
	}
}

// build makes all parts in work, then the sign that they are complete.
func build(ctx context.Context, work string, now time.Time) error {
	for _, sub := range []string{"", "profiles", "ledger"} {
		if err := os.Mkdir(filepath.Join(work, sub), 0o700); err != nil {
			return err
		}
	}
	end := time.Date(now.Year()+6, 12, 31, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	for name, text := range map[string]string{
		"station.toml":         stationTemplate,
		"profiles/camera.toml": strings.ReplaceAll(profileTemplate, "{{support_end}}", end),
	} {
		if err := writeFile(filepath.Join(work, name), text); err != nil {
			return err
		}
	}
	if err := buildLedger(ctx, filepath.Join(work, "authority"), filepath.Join(work, "ledger")); err != nil {
		return err
	}
	for _, sub := range []string{"profiles", ""} {
		if err := syncFolder(filepath.Join(work, sub)); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(work, complete), ""); err != nil {
		return err
	}
	return syncFolder(work)
}

func buildLedger(ctx context.Context, authority, ledger string) error {
	if err := soft.Create(authority); err != nil {
		return err
	}
	a, err := soft.Open(authority)
	if err != nil {
		return err
	}
	defer a.Close()
	return records.Create(ctx, ledger, a, records.Options{})
}

// move puts the parts in their places, and can be done again after a crash.
func move(work, dir string) error {
	for _, p := range parts {
		err := os.Rename(filepath.Join(work, p), filepath.Join(dir, p))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // moved before
			return err
		}
		if err := syncFolder(dir); err != nil {
			return err
		}
	}
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	return syncFolder(dir)
}

func writeFile(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mintmark/daemon"
	"mintmark/daemon/api"
	"mintmark/records"
)

type ledgerCommand struct {
	Verify  verifyCommand  `cmd:"" help:"Read the whole ledger and say what is wrong with it."`
	Stats   statsCommand   `cmd:"" help:"Show the ledger in numbers."`
	Backup  backupCommand  `cmd:"" help:"Write a consistent copy; it carries no key."`
	Restore restoreCommand `cmd:"" help:"Fill an empty ledger folder from a backup."`
	Thaw    thawCommand    `cmd:"" help:"Free the rows that a restore froze."`
}

type verifyCommand struct {
	stationFlag
	jsonFlag
}

func (c verifyCommand) Run(ctx context.Context, a *app) error {
	return c.with(ctx, func(client *api.Client) error {
		m := newMeter(a.err, "verify")
		check, err := client.Verify(ctx, m.tell)
		m.end(err)
		if err != nil {
			return err
		}
		if err := c.show(a, check); err != nil {
			return err
		}
		if n := len(check.Problems); n > 0 {
			return fmt.Errorf("ledger has %s", plural(n, "problem"))
		}
		return nil
	})
}

func (c verifyCommand) show(a *app, check records.Check) error {
	if c.JSON {
		return a.print(check)
	}
	result := "clean"
	if len(check.Problems) > 0 {
		result = strings.Join(check.Problems, "\n")
	}
	return pairs(a.out, "groups", check.Groups, "head", check.HeadGroup, "epoch", check.Epoch, "claims", check.Claims,
		"batches", check.Batches, "devices", check.Devices, "open assignments", check.Open,
		"key versions", fmt.Sprint(check.KeyVersions), "result", result)
}

type statsCommand struct {
	stationFlag
	jsonFlag
}

func (c statsCommand) Run(ctx context.Context, a *app) error {
	return c.with(ctx, func(client *api.Client) error {
		s, err := client.Stats(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.print(s)
		}
		return pairs(a.out, "ledger", s.ID, "index key", s.Key, "scope", s.Scope, "epoch", s.Epoch, "groups", s.Groups,
			"claims", s.Claims, "batches", counts(s.Batches), "devices", counts(s.Devices), "checks", s.Checks,
			"rejections", s.Rejected, "bytes", s.Bytes, "free bytes", s.Free)
	})
}

// counts writes a map of numbers in the order of their names.
func counts[K ~string](m map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if m[k] > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", m[k], k))
		}
	}
	return strings.Join(parts, ", ")
}

type backupCommand struct {
	stationFlag
	File string `arg:"" optional:"" help:"File to write, which must not exist; - for stdout."`
	intoFlags
}

func (c backupCommand) Run(ctx context.Context, a *app) error {
	if c.Into != "" {
		return c.with(ctx, func(client *api.Client) error { return c.into(ctx, a, client) })
	}
	return c.with(ctx, func(client *api.Client) error {
		if c.File == "-" {
			return client.Backup(ctx, a.out)
		}
		return a.backupTo(ctx, client, c.File)
	})
}

// backupTo writes a file that is complete and on disk under its name, or not
// there.
func (a *app) backupTo(ctx context.Context, client *api.Client, name string) (err error) {
	if _, err := os.Lstat(name); err == nil {
		return fmt.Errorf("%s exists, want a new file", name)
	}
	f, err := os.OpenFile(name+".part", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	m := newMeter(a.err, "backup")
	err = client.Backup(ctx, &metered{w: f, meter: m})
	err = errors.Join(err, f.Sync(), f.Close())
	m.end(err)
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), name); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(name))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// A metered writer shows how much has gone through it. Nobody knows how long a
// backup will be: most of what a small ledger takes of the disk is its reserve.
type metered struct {
	w     io.Writer
	n     int64
	meter *meter
}

func (m *metered) Write(p []byte) (int, error) {
	n, err := m.w.Write(p)
	m.n += int64(n)
	m.meter.show(m.n, 0)
	return n, err
}

type restoreCommand struct {
	stationFlag
	File string `arg:"" help:"Backup to read; - for stdin."`
}

func (c restoreCommand) Run(ctx context.Context, a *app) error {
	config, err := daemon.ReadConfig(c.Config)
	if err != nil {
		return err
	}
	m := newMeter(a.err, "restore")
	err = c.restore(ctx, a, config, m)
	m.end(err)
	if err != nil {
		return err
	}
	a.talk("restored: waiting rows are frozen until mintmark ledger thaw is told what was provisioned since the backup")
	return nil
}

func (c restoreCommand) restore(ctx context.Context, a *app, config daemon.Config, m *meter) error {
	if c.File != "-" {
		return daemon.RestoreFile(ctx, config, c.File, m.show)
	}
	in, size, err := a.open(ctx, c.File)
	if err != nil {
		return err
	}
	defer in.Close()
	return daemon.Restore(ctx, config, in, func(done int64) { m.show(done, size) })
}

type thawCommand struct {
	stationFlag
	jsonFlag
	Product     string `help:"Product whose rows are freed." required:"" placeholder:"ID"`
	Provisioned string `help:"File with one serial a line: devices that were made since the backup; - for stdin." required:"" placeholder:"FILE"`
}

func (c thawCommand) Run(ctx context.Context, a *app) error {
	serials, err := a.readSerials(ctx, c.Provisioned)
	if err != nil {
		return err
	}
	return c.with(ctx, func(client *api.Client) error {
		t, err := client.Thaw(ctx, c.Product, serials)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.print(t)
		}
		return pairs(a.out, "freed", t.Freed, "burned", t.Burned)
	})
}

func (a *app) readSerials(ctx context.Context, name string) ([]string, error) {
	file, _, err := a.open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	serials := []string{}
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text := strings.TrimSpace(lines.Text())
		if text == "" {
			continue
		}
		serial, err := records.ParseSerial(text)
		if err != nil {
			return nil, fmt.Errorf("%s line %d: %w", name, n, err)
		}
		serials = append(serials, serial)
	}
	return serials, lines.Err()
}

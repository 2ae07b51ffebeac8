package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"mintmark/daemon/api"
	"mintmark/records"
)

// intoFlags are those of a backup into a folder of backups.
type intoFlags struct {
	Into string `help:"Folder of backups, in which each segment is once." placeholder:"DIR"`
	Keep int    `help:"Remove the oldest backups of DIR beyond so many." placeholder:"N"`
}

// Validate is kong's.
func (c backupCommand) Validate() error {
	switch {
	case (c.File == "") == (c.Into == ""):
		return errors.New("want a FILE or --into DIR, one of the two")
	case c.Keep < 0 || c.Keep > 0 && c.Into == "":
		return errors.New("--keep wants a number from 1, and --into DIR")
	}
	return nil
}

// into adds a backup to the folder. Whoever has the ledger writes it: the daemon,
// if one runs.
func (c intoFlags) into(ctx context.Context, a *app, client *api.Client) error {
	dir, err := filepath.Abs(c.Into)
	if err != nil {
		return err
	}
	m := newMeter(a.err, "backup")
	b, err := client.BackupInto(ctx, dir, c.Keep, m.tell)
	if b.File == "" {
		m.end(err)
		return err
	}
	m.end(nil)
	a.talk("%s", contents(b))
	if _, perr := fmt.Fprintln(a.out, b.File); perr != nil {
		return errors.Join(err, perr)
	}
	return err
}

// contents says what became of the segments of a backup.
func contents(b records.Backup) string {
	s := fmt.Sprintf("%s linked, %d copied, %d had", plural(b.Linked, "segment"), b.Copied, b.Had)
	if b.Removed > 0 {
		s += "; " + plural(b.Removed, "older backup") + " removed"
	}
	return s
}

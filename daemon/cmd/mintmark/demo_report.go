package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mintmark/daemon"
	"mintmark/daemon/api"
	"mintmark/fixtures/factory"
	"mintmark/records"
)

// report opens the ledger once more, holds it against the devices and labels
// that are there, and says what came out.
func (d *demo) report(ctx context.Context) error {
	took := time.Since(d.begun)
	c, err := daemon.ReadConfig(d.plant.Config)
	if err != nil {
		return err
	}
	conn, err := daemon.Connect(ctx, c, version())
	if err != nil {
		return err
	}
	problems, err := d.judge(ctx, conn.Client)
	err = errors.Join(err, conn.Close())
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return errors.Join(errors.New("demo: what came out is not what was promised"), errors.Join(problems...))
	}
	d.a.talk("done in %.0f s; everything is left in %s", took.Seconds(), d.dir)
	fmt.Fprintln(d.a.out, "\ntry next:")
	for _, command := range []string{"batch list", "device show " + d.generated[0].Serial, "ledger verify"} {
		fmt.Fprintf(d.a.out, "  %s %s --config %s\n", os.Args[0], command, filepath.Join(d.dir, "station.toml"))
	}
	return nil
}

// judge prints the closing table and returns what is wrong.
func (d *demo) judge(ctx context.Context, c *api.Client) (problems []error, err error) {
	check, err := c.Verify(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, p := range check.Problems {
		problems = append(problems, errors.New(p))
	}
	tally := tally{owner: map[string]string{}, sealed: map[string]int{}, failed: map[string]int{}}
	if err := c.Devices(ctx, "", tally.device); err != nil {
		return nil, err
	}
	labels := d.plant.Printer.Labels()
	judged := factory.Judge(slices.Concat(d.generated, d.imported), labels, tally.serials)
	for _, p := range judged {
		problems = append(problems, errors.New(p))
	}
	problems = append(problems, tally.problems...)

	reusing, err := c.Batch(ctx, reusingAs)
	if err != nil {
		return nil, err
	}
	outcome := string(reusing.State)
	if reusing.State == records.Rejected && tally.sealed[reusingAs]+tally.failed[reusingAs] == 0 {
		outcome = "refused whole"
	}
	fmt.Fprintln(d.a.out)
	t := newTable(d.a.out, "BATCH", "CREDENTIALS", "SEALED", "NOT SEALED", "RESULT")
	t.row(generatedAs, "made on the station", tally.sealed[generatedAs], tally.failed[generatedAs], "")
	t.row(importedAs, "password from a file", tally.sealed[importedAs], tally.failed[importedAs], "")
	t.row(reusingAs, "two of them used before", tally.sealed[reusingAs], tally.failed[reusingAs], outcome)
	if err := t.end(); err != nil {
		return nil, err
	}
	fmt.Fprintln(d.a.out)
	return problems, pairs(d.a.out,
		"claims", fmt.Sprintf("%d, %s", check.Claims, verdict(len(check.Problems), "each one once")),
		"kill", fmt.Sprintf("SIGKILL with %s in their slots; %s open now", plural(d.caught, "device"), plural(check.Open, "assignment")),
		"devices", fmt.Sprintf("%s, %s", plural(len(tally.owner), "hardware id"), verdict(len(judged)+len(tally.problems), "no credential in two of them")),
		"labels", fmt.Sprint(len(labels)),
		"ledger", fmt.Sprintf("%s, %s", plural(int(check.Groups), "group"), verdict(len(check.Problems), "verified clean")),
		"overridden", "limits of station.toml (checks_per_hour, reserve_mib), attempts = 100 in the profiles; no deadline")
}

// verdict is what a promise came to: its text only if nothing speaks against it.
func verdict(problems int, promise string) string {
	if problems > 0 {
		return plural(problems, "problem") + ", see below"
	}
	return promise
}

// A tally counts devices as their records come.
type tally struct {
	owner    map[string]string // serial by hardware id
	sealed   map[string]int    // by batch
	failed   map[string]int    // by batch
	serials  []string          // of sealed devices
	problems []error
}

func (t *tally) device(d records.Device) error {
	if d.HardwareID == "" {
		return nil // a row that still waits
	}
	if other, ok := t.owner[d.HardwareID]; ok {
		t.problems = append(t.problems, fmt.Errorf("%s and %s have the same hardware id", other, d.Serial))
	}
	t.owner[d.HardwareID] = d.Serial
	if d.State == records.Sealed {
		t.sealed[d.Batch]++
		t.serials = append(t.serials, d.Serial)
	} else {
		t.failed[d.Batch]++
	}
	return nil
}

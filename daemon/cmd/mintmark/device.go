package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"mintmark/daemon/api"
	"mintmark/hsm/secret"
	"mintmark/records"
)

type deviceCommand struct {
	Show   deviceShowCommand `cmd:"" help:"Show the record of a device."`
	List   deviceListCommand `cmd:"" help:"List devices."`
	Rework reworkCommand     `cmd:"" help:"Order rework of a sealed or doubtful device; it is done when the device is next in a slot."`
	Scan   scanCommand       `cmd:"" help:"Hand what the scanner read, on stdin, to the slot that waits for it."`
}

type deviceShowCommand struct {
	stationFlag
	jsonFlag
	Serial  string `arg:"" help:"Serial of the device."`
	Product string `help:"Product, if several have the serial." placeholder:"ID"`
}

func (c deviceShowCommand) Run(ctx context.Context, a *app) error {
	return c.with(ctx, func(client *api.Client) error {
		d, err := client.Device(ctx, c.Product, c.Serial)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.print(d)
		}
		return a.showDevice(ctx, client, d)
	})
}

// rowOf is a device's row, and that nobody can use it any more if that is so.
func rowOf(ctx context.Context, client *api.Client, d records.Device) (string, error) {
	if d.Row == 0 {
		return "", nil
	}
	if d.State == records.Waiting {
		b, err := client.Batch(ctx, d.Batch)
		if err != nil {
			return "", err
		}
		if ended(b) {
			return fmt.Sprintf("%d, never used, and can't be any more: batch %s is %s", d.Row, b.Name, b.State), nil
		}
	}
	return fmt.Sprint(d.Row), nil
}

// labelsOf names the labels of a device if there may be several. Otherwise its
// last attempt says which one it has.
func labelsOf(d records.Device) string {
	all := d.Labels()
	if len(all) < 2 {
		return ""
	}
	return strings.Join(all, ", ") + " may exist, one is the device's"
}

func (a *app) showDevice(ctx context.Context, client *api.Client, d records.Device) error {
	row, err := rowOf(ctx, client, d)
	if err != nil {
		return err
	}
	rework := ""
	if d.Rework != nil {
		rework = fmt.Sprintf("%s ordered by %s: %s", d.Rework.Kind, d.Rework.By, d.Rework.Reason)
	}
	err = pairs(a.out, "serial", d.Serial, "product", d.Product, "state", d.State, "hardware id", d.HardwareID,
		"batch", d.Batch, "row", row, "last proved", d.Proved, "rework", rework, "labels", labelsOf(d))
	if err != nil || len(d.Attempts) == 0 {
		return err
	}
	fmt.Fprintln(a.out)
	t := newTable(a.out, "ATTEMPT", "START", "SLOT", "OUTCOME", "PROOF", "MARK", "LABEL", "REASON")
	for _, at := range d.Attempts {
		t.row(at.Number, at.Start, at.Where.Slot, at.Outcome, at.Proof, at.Mark, at.Label, at.Reason)
	}
	if err := t.end(); err != nil {
		return err
	}
	last := d.Attempts[len(d.Attempts)-1]
	fmt.Fprintln(a.out)
	t = newTable(a.out, "CREDENTIAL", "KIND", "ORIGIN", "STATE", "AUTHORITY")
	for _, c := range last.Credentials {
		t.row(c.Name, c.Kind, c.Origin, c.State, c.Authority)
	}
	return t.end()
}

type deviceListCommand struct {
	stationFlag
	jsonFlag
	Batch string `help:"Only devices of this batch." placeholder:"NAME"`
}

func (c deviceListCommand) Run(ctx context.Context, a *app) error {
	return c.with(ctx, func(client *api.Client) error {
		if c.JSON {
			return a.devicesAsJSON(ctx, client, c.Batch)
		}
		t := newTable(a.out, "SERIAL", "PRODUCT", "STATE", "BATCH", "ROW", "HARDWARE ID", "ATTEMPTS")
		err := client.Devices(ctx, c.Batch, func(d records.Device) error {
			t.row(d.Serial, d.Product, d.State, d.Batch, d.Row, d.HardwareID, len(d.Attempts))
			return nil
		})
		return errors.Join(err, t.end())
	})
}

// devicesAsJSON writes a list as it comes: it may be longer than memory.
func (a *app) devicesAsJSON(ctx context.Context, client *api.Client, batch string) error {
	before := "["
	err := client.Devices(ctx, batch, func(d records.Device) error {
		data, err := json.Marshal(d)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s%s", before, data)
		before = ",\n"
		return err
	})
	if err != nil {
		return err // without its end the list is no JSON, so nobody takes it for all
	}
	if before == "[" {
		_, err = fmt.Fprintln(a.out, "[]")
	} else {
		_, err = fmt.Fprintln(a.out, "]")
	}
	return err
}

type reworkCommand struct {
	stationFlag
	jsonFlag
	Serial  string `arg:"" help:"Serial of the device."`
	Kind    string `help:"relabel, reprovision, board-swap or refurbish." enum:"relabel,reprovision,board-swap,refurbish" required:""`
	Reason  string `help:"Why, for the record." required:"" placeholder:"TEXT"`
	Product string `help:"Product, if several have the serial." placeholder:"ID"`
}

func (c reworkCommand) Run(ctx context.Context, a *app) error {
	return c.with(ctx, func(client *api.Client) error {
		d, err := client.Rework(ctx, c.Product, c.Serial, records.ReworkKind(c.Kind), c.Reason)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.print(d)
		}
		return a.showDevice(ctx, client, d)
	})
}

type scanCommand struct {
	stationFlag
	Slot string `arg:"" help:"Name of the slot."`
}

func (c scanCommand) Run(ctx context.Context, a *app) error {
	if err := secret.Harden(); err != nil {
		return err
	}
	code, err := a.readCode(ctx)
	if err != nil {
		return err
	}
	defer code.Close()
	return c.with(ctx, func(client *api.Client) error {
		return client.Scan(ctx, c.Slot, bytes.NewReader(code.Bytes()))
	})
}

// maxCode bounds what a scanner reads, in bytes.
const maxCode = 4000

// readCode reads one line of stdin. A code may be a credential, so it is never
// taken from the command line, which every user of the machine can see.
func (a *app) readCode(ctx context.Context) (code *secret.Value, err error) {
	in, err := newStdin(ctx, a.in)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	if terminal(a.in) {
		show, err := mute(a.in)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, show()) }()
		a.talk("scan now")
	}
	return readLine(in)
}

func readLine(in io.Reader) (*secret.Value, error) {
	line := make([]byte, maxCode)
	defer secret.Wipe(line)
	n := 0
	for n < maxCode {
		m, err := in.Read(line[n : n+1]) // one by one: what follows the line isn't ours
		n += m
		if err == io.EOF || (n > 0 && line[n-1] == '\n') {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("read scan: %w", err)
		}
	}
	code := bytes.TrimRight(line[:n], "\r\n")
	if len(code) == 0 {
		return nil, errors.New("scan is empty, want what the scanner read on stdin")
	}
	v := secret.New(len(code))
	copy(v.Bytes(), code)
	return v, nil
}

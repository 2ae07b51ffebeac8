package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"mintmark/daemon/api"
	"mintmark/records"
)

type batchCommand struct {
	Check   checkCommand   `cmd:"" help:"Say what import would answer, and claim nothing."`
	Import  importCommand  `cmd:"" help:"Admit a file of credentials whole, or refuse it and name the rows."`
	Replace replaceCommand `cmd:"" help:"Give new rows to burned serials of a batch."`
	Open    openCommand    `cmd:"" help:"Open an admitted or held batch, or make a generated one."`
	Hold    holdCommand    `cmd:"" help:"Stop new devices of an open batch."`
	Close   closeCommand   `cmd:"" help:"End a batch and destroy the key of its waiting rows."`
	List    listCommand    `cmd:"" help:"List all batches."`
	Show    showCommand    `cmd:"" help:"Show one batch."`
}

// A fileRequest is a file of credentials for a batch.
type fileRequest struct {
	stationFlag
	jsonFlag
	Product string `help:"Product that the batch is of." required:"" placeholder:"ID"`
	Batch   string `help:"Name of the batch." required:"" placeholder:"NAME"`
	File    string `arg:"" help:"CSV file: serial, then one column for each imported credential; - for stdin."`
}

type checkCommand struct {
	fileRequest
	History bool `help:"Check what another system already used."`
}

type importCommand struct {
	fileRequest
	History bool `help:"Claim what another system already used; no device is made of it."`
}

type replaceCommand struct{ fileRequest }

func (c checkCommand) Run(ctx context.Context, a *app) error {
	return c.send(ctx, a, api.Import{Action: "check", History: c.History})
}

func (c importCommand) Run(ctx context.Context, a *app) error {
	return c.send(ctx, a, api.Import{Action: "import", History: c.History})
}

func (c replaceCommand) Run(ctx context.Context, a *app) error {
	return c.send(ctx, a, api.Import{Action: "replace"})
}

func (r fileRequest) send(ctx context.Context, a *app, i api.Import) error {
	file, size, err := a.open(ctx, r.File)
	if err != nil {
		return err
	}
	defer file.Close()
	i.Batch, i.Product, i.File, i.Size = r.Batch, r.Product, file, size
	return r.with(ctx, func(c *api.Client) error {
		m := newMeter(a.err, i.Action)
		answer, err := c.Import(ctx, i, m.tell)
		m.end(err)
		if answer.State == "" {
			return err // refused before there was anything to answer
		}
		return errors.Join(r.show(a, answer), err)
	})
}

// open opens a file to be read, or stdin for "-". A size of 0 is not known.
func (a *app) open(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	if name == "-" {
		in, err := newStdin(ctx, a.in)
		return in, 0, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	if info.IsDir() {
		return nil, 0, errors.Join(fmt.Errorf("%s is a folder, want a file", name), f.Close())
	}
	return f, info.Size(), nil
}

func (r fileRequest) show(a *app, answer records.Admission) error {
	if r.JSON {
		return a.print(answer)
	}
	if answer.State == records.Rejected {
		return a.violations(answer)
	}
	already, dry := "", ""
	if answer.Already {
		already = ", as answered before"
	}
	if answer.DryRun {
		dry = ", nothing was claimed"
	}
	_, err := fmt.Fprintf(a.out, "%s %s: %s, %s%s%s\n",
		answer.Batch, answer.State, plural(answer.Devices, "device"), plural(answer.Credentials, "credential"), already, dry)
	if answer.Elsewhere > 0 {
		a.talk("%d values are used by another product too, which the scope of their credential allows", answer.Elsewhere)
	}
	return err
}

func (a *app) violations(answer records.Admission) error {
	t := newTable(a.out, "ROW", "SERIAL", "CREDENTIAL", "RULE", "FIRST USED BY")
	for _, v := range answer.Violations {
		first := v.Text
		if v.First != nil {
			first = v.First.String()
		}
		t.row(v.Row, v.Serial, v.Credential, v.Rule, first)
	}
	if more := answer.Total - len(answer.Violations); more > 0 {
		t.row("", "", "", "", fmt.Sprintf("and %d more", more))
	}
	return t.end()
}

// A batchFlags is what commands about one batch share.
type batchFlags struct {
	stationFlag
	jsonFlag
	Name string `arg:"" help:"Name of the batch."`
}

type openCommand struct {
	batchFlags
	Product string `help:"Product to make; not needed for a batch that exists." placeholder:"ID"`
	Quota   int    `help:"Devices that may be made; makes a generated batch." placeholder:"N"`
	Trial   bool   `help:"Golden devices: don't label or lock them, release nothing, burn everything."`
}

func (c openCommand) Run(ctx context.Context, a *app) error {
	return c.about(ctx, a, func(client *api.Client) (records.Batch, error) {
		return client.OpenBatch(ctx, c.Name, c.Product, c.Quota, c.Trial)
	})
}

type holdCommand struct{ batchFlags }

func (c holdCommand) Run(ctx context.Context, a *app) error {
	return c.about(ctx, a, func(client *api.Client) (records.Batch, error) { return client.HoldBatch(ctx, c.Name) })
}

type closeCommand struct{ batchFlags }

func (c closeCommand) Run(ctx context.Context, a *app) error {
	return c.about(ctx, a, func(client *api.Client) (records.Batch, error) { return client.CloseBatch(ctx, c.Name) })
}

type showCommand struct{ batchFlags }

func (c showCommand) Run(ctx context.Context, a *app) error {
	return c.about(ctx, a, func(client *api.Client) (records.Batch, error) { return client.Batch(ctx, c.Name) })
}

// about does something with a batch and shows what became of it.
func (f batchFlags) about(ctx context.Context, a *app, do func(*api.Client) (records.Batch, error)) error {
	return f.with(ctx, func(c *api.Client) error {
		b, err := do(c)
		if err != nil {
			return err
		}
		if f.JSON {
			return a.print(b)
		}
		return a.showBatch(b)
	})
}

func (a *app) showBatch(b records.Batch) error {
	shredded := ""
	switch {
	case b.Shredded != nil && *b.Shredded:
		shredded = "destroyed"
	case b.Shredded != nil:
		shredded = "deleted, but software can't make it unrecoverable"
	}
	waiting, unused := fmt.Sprint(b.Waiting), ""
	if ended(b) && b.Waiting > 0 {
		waiting, unused = "", fmt.Sprintf("%d, and can't be any more", b.Waiting)
	}
	recoverable := ""
	if b.Kind == records.ImportedBatch && b.Shredded == nil {
		recoverable = "recoverable to whoever has station and authority, until the batch is closed"
	}
	return pairs(a.out, "batch", b.Name, "product", b.Product, "state", b.State, "kind", b.Kind, "trial", trial(b),
		"quota", b.Quota, "devices", b.Devices, "credentials", b.Claims, "started", b.Started, "sealed", b.Sealed,
		"burned", b.Burned, "probed", probed(b), "waiting", waiting, "never used", unused, "rows", recoverable, "row key", shredded,
		"reason", b.Reason, "by", b.By, "created", b.Created)
}

// probed is how many seals of a batch were of devices that a factory reset was
// tried on.
func probed(b records.Batch) string {
	if b.Seals == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %s", b.Probed, plural(b.Seals, "seal"))
}

// ended reports whether nothing is made of a batch any more.
func ended(b records.Batch) bool { return b.State == records.Closing || b.State == records.Closed }

// trial is what a batch of golden devices is for.
func trial(b records.Batch) string {
	if b.Trial {
		return "yes: not labelled, not locked, all burned"
	}
	return ""
}

type listCommand struct {
	stationFlag
	jsonFlag
}

func (c listCommand) Run(ctx context.Context, a *app) error {
	return c.with(ctx, func(client *api.Client) error {
		list, err := client.Batches(ctx)
		if err != nil {
			return err
		}
		if c.JSON {
			return a.print(list)
		}
		t := newTable(a.out, "BATCH", "PRODUCT", "STATE", "KIND", "QUOTA", "DEVICES", "STARTED", "SEALED", "BURNED", "CREATED")
		for _, b := range list {
			t.row(b.Name, b.Product, b.State, b.Kind, b.Quota, b.Devices, b.Started, b.Sealed, b.Burned, b.Created)
		}
		return t.end()
	})
}

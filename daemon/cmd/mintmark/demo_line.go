package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"mintmark/daemon/api"
	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
	"mintmark/records"
	"mintmark/station"
)

// misbehaviour is what ten devices do, and at which phase. The first and every
// second one after it are of the generated batch. Three of them hold up a slot
// until a time-out: the first, the second and the fifth.
var misbehaviour = [...]struct {
	phase line.Phase
	fault line.Fault
}{
	{line.Inject, line.Mute},
	{line.Inject, line.Chatter},
	{line.Inject, line.Unplug},
	{line.Restart, line.WrongSerial},
	{line.Lock, line.LockFails},
	{line.Restart, line.Swapped},
	{line.Restart, line.AnswersForAnother},
	{line.Inject, line.ForgetsOnReboot},
	{line.Refuse, line.AcceptsDefault},
	{line.Inject, line.Refusal},
}

// demoRows is how many rows the third batch has.
const demoRows = 50

// demoProbed is the share of devices that get a factory reset, and demoHands how
// long the operator needs from one device to the next.
const (
	demoProbed = 0.05
	demoHands  = 30 * time.Millisecond
)

// misbehave breaks ten devices, early in the queues: those that must be waited
// for shouldn't be waited for at the end.
func (d *demo) misbehave() {
	for i, m := range misbehaviour {
		queue := d.generated
		if i%2 == 1 {
			queue = d.imported
		}
		queue[1+i].Faults = map[line.Phase]line.Fault{m.phase: m.fault}
	}
}

// openBatches makes a generated batch and imports another one.
func (d *demo) openBatches(ctx context.Context) error {
	c, err := d.client(ctx)
	if err != nil {
		return err
	}
	if _, err := c.OpenBatch(ctx, generatedAs, factory.Generated, d.each, false); err != nil {
		return err
	}
	d.file = factory.CSV(d.imported, 1)
	answer, err := c.Import(ctx, api.Import{
		Batch: importedAs, Product: factory.Imported, Action: "import", File: strings.NewReader(d.file), Size: int64(len(d.file)),
	}, nil)
	if err != nil {
		return err
	}
	if _, err := c.OpenBatch(ctx, importedAs, "", 0, false); err != nil {
		return err
	}
	d.view.Note("batch %s open: %d devices get passwords made here; batch %s %s: %d from a file",
		generatedAs, d.each, importedAs, answer.State, answer.Devices)
	return nil
}

// operate has an operator feed the slots of each product.
func (d *demo) operate(ctx context.Context, g *errgroup.Group) {
	d.view.Title("devices come and go at the pace of a 115200 baud console")
	for product, devices := range map[string][]*line.Device{factory.Generated: d.generated, factory.Imported: d.imported} {
		o := &line.Operator{Queue: queued(devices), Hands: demoHands, Done: func(*line.Device, int, string) { d.left <- struct{}{} }}
		var slots []int
		for i, p := range d.plant.Slots {
			if p == product {
				slots = append(slots, i)
				o.Sockets = append(o.Sockets, d.plant.Sockets[i])
			}
		}
		o.Await = func(ctx context.Context, slot int, want ...string) (string, error) {
			return d.board.await(ctx, slots[slot], want...)
		}
		o.Scan = func(ctx context.Context, slot int, dev *line.Device, nth int) error {
			return d.scan(ctx, slots[slot], dev, nth)
		}
		g.Go(func() error { return o.Run(ctx) })
	}
}

func queued(devices []*line.Device) <-chan *line.Device {
	q := make(chan *line.Device, len(devices))
	for _, d := range devices {
		q <- d
	}
	close(q)
	return q
}

// scan is the operator with a scanner: he scans what stands on the label of the
// device, one field after the other.
func (d *demo) scan(ctx context.Context, slot int, dev *line.Device, nth int) error {
	fields := d.labelOf(dev.Serial)
	if len(fields) == 0 {
		return fmt.Errorf("slot %d asks for the label of %s, which has none", slot+1, dev.Serial)
	}
	c, err := d.client(ctx)
	if err != nil {
		return err
	}
	var refused *api.Error
	err = c.Scan(ctx, fmt.Sprint(slot+1), strings.NewReader(fields[(nth-1)%len(fields)]))
	if errors.As(err, &refused) {
		return nil // it has stopped waiting by now
	}
	return err
}

// labelOf returns the secret fields of the newest label of a device.
func (d *demo) labelOf(serial string) []string {
	var fields []string
	for _, l := range d.plant.Printer.Labels() {
		if len(l.Fields) == 4 && l.Fields[0] == serial {
			fields = l.Fields[1:3]
		}
	}
	return fields
}

// tryReuse brings a third batch in which two credentials were used before: one
// from the file of the imported batch, one that the station made and printed.
func (d *demo) tryReuse(ctx context.Context) error {
	printed, serial := d.printedPassword()
	rows := strings.Split(strings.TrimSpace(factory.CSV(factory.Devices(factory.Imported, 1001, demoRows), 2)), "\n")
	reuse := func(row int, value string) {
		name, _, _ := strings.Cut(rows[row], ",")
		rows[row] = name + "," + value
	}
	_, third, _ := strings.Cut(strings.Split(d.file, "\n")[3], ",")
	reuse(17, third)
	reuse(31, printed)

	c, err := d.client(ctx)
	if err != nil {
		return err
	}
	answer, err := c.Import(ctx, api.Import{
		Batch: reusingAs, Product: factory.Imported, Action: "import", File: strings.NewReader(strings.Join(rows, "\n") + "\n"),
	}, nil)
	if answer.State != records.Rejected || !reused(answer.Violations) {
		return fmt.Errorf("batch %s reuses row 3 of %s and the password of %s, but is %s with %d violations (%v)",
			reusingAs, importedAs, serial, answer.State, answer.Total, err)
	}
	d.view.Note("batch %s REFUSED whole, nothing of it is claimed:", reusingAs)
	for _, v := range answer.Violations {
		d.view.Note("  row %d %s: %s was used first by %s (%s)", v.Row, v.Serial, v.Credential, v.First, v.Rule)
	}
	return nil
}

// reused reports whether exactly rows 17 and 31 are refused, and because they
// were used before.
func reused(v []records.Violation) bool {
	return len(v) == 2 && v[0].Row == 17 && v[0].First != nil && v[0].First.Row == 3 &&
		v[1].Row == 31 && v[1].First != nil && v[1].First.Batch == generatedAs
}

// printedPassword is one that stands on a label of the generated batch.
func (d *demo) printedPassword() (password, serial string) {
	for _, dev := range d.generated {
		if fields := d.labelOf(dev.Serial); len(fields) > 0 {
			return strings.ReplaceAll(fields[0], "-", ""), dev.Serial // printed in groups
		}
	}
	return "", ""
}

// killDaemon takes the daemon away in the middle, as a power cut or an
// out-of-memory killer would, and starts it again.
func (d *demo) killDaemon(ctx context.Context) error {
	if err := d.answering(ctx); err != nil {
		return err
	}
	for _, s := range d.board.slots() {
		if s.State != station.Empty {
			d.caught++
		}
	}
	d.view.Title("daemon KILLED with SIGKILL while %d devices are in their slots", d.caught)
	d.child.kill()
	if err := d.child.start(ctx, d.board); err != nil {
		return err
	}
	d.view.Title("daemon started again; ledger checked against its head; devices go on where they are")
	return nil
}

// answering waits until no device that answers nothing sensible is in a slot: a
// daemon that starts with it there would wait for its whole boot time.
func (d *demo) answering(ctx context.Context) error {
	for _, s := range d.plant.Sockets {
		dev := s.Device()
		if dev == nil || (dev.Faults[line.Inject] != line.Mute && dev.Faults[line.Inject] != line.Chatter) {
			continue
		}
		select {
		case <-s.Gone():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

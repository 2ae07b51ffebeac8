package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"mintmark/daemon/api"
	"mintmark/daemon/view"
	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
)

type demoCommand struct {
	Dir     string `arg:"" optional:"" help:"Folder to make, new or empty. Default: demo/ and the time."`
	Devices int    `help:"Devices that come, at least 24." default:"200" hidden:""`
}

// Names of the batches.
const (
	generatedAs = "G1"
	importedAs  = "I1"
	reusingAs   = "I2"
)

// A demo is one run of the demonstration.
type demo struct {
	a         *app
	dir       string
	each      int // devices of each batch: half get their password from a file
	plant     *factory.Factory
	generated []*line.Device
	imported  []*line.Device
	file      string // the imported batch
	view      *view.View
	board     *board
	child     *child
	left      chan struct{} // gets one for each device that leaves its slot
	seen      int           // how many have left
	begun     time.Time
	caught    int // devices in slots when the daemon was killed
}

// Run shows a whole line: real serial ports, real files, a real kill. Only
// devices, printer and operator are simulated.
func (c demoCommand) Run(ctx context.Context, a *app) error {
	d, err := c.build(ctx, a)
	if err != nil {
		return err
	}
	defer d.plant.Close()
	err = errors.Join(d.line(ctx), d.view.Close())
	if err != nil {
		return fmt.Errorf("demo: %w; its folder is %s", err, d.dir)
	}
	return d.report(ctx)
}

// folder makes the folder of the demo and returns its name and whole path.
func (c demoCommand) folder() (dir, full string, err error) {
	dir = c.Dir
	if dir == "" {
		dir = filepath.Join("demo", time.Now().Format("20060102-150405"))
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 {
		return "", "", fmt.Errorf("folder %s has something in it, want a new or an empty one", dir)
	}
	if full, err = filepath.Abs(dir); err != nil {
		return "", "", err
	}
	return dir, full, os.MkdirAll(full, 0o755)
}

func (c demoCommand) build(ctx context.Context, a *app) (*demo, error) {
	each := max(c.Devices, 2*(len(misbehaviour)+2)) / 2
	dir, full, err := c.folder()
	if err != nil {
		return nil, err
	}
	plant, err := factory.Build(ctx, full, factory.Options{ResetShare: demoProbed})
	if err != nil {
		return nil, err
	}
	d := &demo{
		a: a, dir: dir, each: each, plant: plant, view: view.New(a.viewOf()), begun: time.Now(),
		generated: factory.Devices(factory.Generated, 1, each),
		imported:  factory.Devices(factory.Imported, 1, each),
		left:      make(chan struct{}, 2*each),
	}
	d.misbehave()
	d.board = newBoard(plant.Socket)
	return d, nil
}

// line is the demonstration, from the first batch to the last device.
func (d *demo) line(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return d.board.follow(ctx) })
	g.Go(func() error { return d.view.Watch(ctx, d.board) })
	err := d.story(ctx, cancel)
	cancel(err)
	return errors.Join(err, g.Wait())
}

func (d *demo) story(ctx context.Context, cancel context.CancelCauseFunc) (err error) {
	d.view.Title("starting: %d slots on pseudo-terminals, %d devices, %d of which misbehave", len(d.plant.Slots), 2*d.each, len(misbehaviour))
	d.child = newChild(d.plant.Config, filepath.Join(d.dir, "daemon.log"), cancel)
	if err := d.child.start(ctx, d.board); err != nil {
		return err
	}
	defer func() { d.child.kill() }()
	if err := d.openBatches(ctx); err != nil {
		return err
	}
	if err := d.work(ctx); err != nil {
		return errors.Join(context.Cause(ctx), err)
	}
	d.view.Title("every device is done; stopping the daemon")
	return d.child.stop(ctx)
}

// work lets the devices come, and in the middle of them a batch that must be
// refused and a kill.
func (d *demo) work(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	d.operate(ctx, g)
	g.Go(func() error {
		return errors.Join(d.after(ctx, 2*d.each*3/10, d.tryReuse), d.after(ctx, 2*d.each*11/20, d.killDaemon))
	})
	return g.Wait()
}

// after calls f when n devices have left their slots.
func (d *demo) after(ctx context.Context, n int, f func(context.Context) error) error {
	for ; d.seen < n; d.seen++ {
		select {
		case <-d.left:
		case <-ctx.Done():
			return nil // whoever ended it says why
		}
	}
	return f(ctx)
}

// client speaks to the daemon as every command does.
func (d *demo) client(ctx context.Context) (*api.Client, error) { return api.Dial(ctx, d.plant.Socket) }

package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"mintmark/daemon"
	"mintmark/daemon/api"
	"mintmark/daemon/view"
)

type runCommand struct {
	stationFlag
	Debug bool `help:"Log every step."`
}

// Run runs the station until it is told to stop. Its log is on stderr, and in
// the view where both are the same terminal.
func (c runCommand) Run(ctx context.Context, a *app) error {
	config, err := daemon.ReadConfig(c.Config)
	if err != nil {
		return err
	}
	v := view.New(a.viewOf())
	var log io.Writer = a.err
	if terminal(a.out) && terminal(a.err) {
		log = v
	}
	defer context.AfterFunc(ctx, func() { v.Title("stopping: devices in their slots are finished first") })()
	var watching errgroup.Group
	err = daemon.Run(ctx, config, daemon.Parts{
		Log: newLog(log, c.Debug), Version: version(),
		Started: func(self *api.Client) {
			watching.Go(func() error { return v.Watch(context.WithoutCancel(ctx), self) })
		},
	})
	return errors.Join(err, watching.Wait(), v.Close())
}

func newLog(w io.Writer, debug bool) *slog.Logger {
	level := slog.LevelInfo
	if debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level}))
}

// viewOf shows the line on stdout.
func (a *app) viewOf() view.Config {
	c := view.Config{Out: a.out}
	if terminal(a.out) {
		c.Size = func() (int, int) { return size(a.out) }
	}
	return c
}

// size is that of a terminal, or a usual one if it can't be told.
func size(f *os.File) (columns, rows int) {
	columns, rows, err := term.GetSize(int(f.Fd()))
	if err != nil || columns < 1 || rows < 2 {
		return 80, 24
	}
	return columns, rows
}

package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"mintmark/daemon"
)

type initCommand struct {
	Dir string `arg:"" help:"Folder to make, new or empty."`
}

func (c initCommand) Run(ctx context.Context, a *app) error {
	if err := daemon.Init(ctx, c.Dir, time.Now()); err != nil {
		return err
	}
	a.talk("DEVELOPMENT authority made: its keys are files on this machine, for trying out only")
	a.talk("next: look at %s and %s,", filepath.Join(c.Dir, "station.toml"), filepath.Join(c.Dir, "profiles", "camera.toml"))
	a.talk("then: mintmark doctor --config %s", filepath.Join(c.Dir, "station.toml"))
	_, err := fmt.Fprintln(a.out, filepath.Join(c.Dir, "station.toml"))
	return err
}

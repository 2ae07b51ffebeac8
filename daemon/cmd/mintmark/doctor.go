package main

import (
	"context"
	"errors"

	"mintmark/daemon"
)

type doctorCommand struct {
	stationFlag
	jsonFlag
}

func (c doctorCommand) Run(ctx context.Context, a *app) error {
	d := daemon.Doctor{Version: version()}
	findings := d.Examine(ctx, c.Config)
	wrong := 0
	for _, f := range findings {
		if f.Verdict == daemon.Wrong {
			wrong++
		}
	}
	if err := c.show(a, findings); err != nil {
		return err
	}
	if wrong > 0 {
		verb := " are"
		if wrong == 1 {
			verb = " is"
		}
		return errors.New(plural(wrong, "thing") + verb + " wrong on this station")
	}
	return nil
}

func (c doctorCommand) show(a *app, findings []daemon.Finding) error {
	if c.JSON {
		return a.print(findings)
	}
	t := newTable(a.out, "VERDICT", "WHAT", "FOUND")
	for _, f := range findings {
		text := f.Text
		if f.Remedy != "" {
			text += "; " + f.Remedy
		}
		t.row(f.Verdict, f.What, text)
	}
	return t.end()
}

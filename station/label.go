package station

import (
	"context"
	"fmt"
)

// ready fills the label and asks the printer whether it would come out, before
// anything says that one may exist.
func (j *job) ready(ctx context.Context) error {
	if err := j.fill(ctx); err != nil {
		return err
	}
	return j.s.cfg.Printer.Ready(ctx)
}

// fill fills the label with the number that it has by now.
func (j *job) fill(context.Context) (err error) {
	j.zpl.Close()
	if j.zpl, err = j.product().Label.Render(j.labelFields(j.vars.Plain["label"]), j.vars.Secret); err != nil {
		return fmt.Errorf("fill label: %w", err)
	}
	return nil
}

func (j *job) print(ctx context.Context) error { return j.s.cfg.Printer.Print(ctx, j.zpl) }

// labelFields are the fields of a label that are no secrets.
func (j *job) labelFields(number string) map[string]string {
	return map[string]string{"serial": j.serial, "product": j.product().ID, "label": number}
}

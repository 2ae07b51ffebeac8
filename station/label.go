package station

import (
	"context"
	"fmt"
)

// ready fills the label and asks the printer whether it would come out, before
// anything says that one may exist.
func (j *job) ready(ctx context.Context) (err error) {
	if j.zpl, err = j.product().Label.Render(j.labelFields(), j.vars.Secret); err != nil {
		return fmt.Errorf("fill label: %w", err)
	}
	return j.s.cfg.Printer.Ready(ctx)
}

func (j *job) print(ctx context.Context) error { return j.s.cfg.Printer.Print(ctx, j.zpl) }

// labelFields are the fields of a label that are no secrets.
func (j *job) labelFields() map[string]string {
	return map[string]string{"serial": j.serial, "product": j.product().ID, "label": j.vars.Plain["label"]}
}

package crash_test

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"mintmark/daemon/api"
	"mintmark/records"
)

// closeBatch closes a batch of which no device was ever on the line.
func (w *world) closeBatch(ctx context.Context, name string) error {
	w.tell(func(a *answers) { a.closing[name] = true })
	var b records.Batch
	err := w.persist(ctx, func(c *api.Client) (err error) {
		b, err = c.CloseBatch(ctx, name)
		return err
	})
	if err != nil || b.State != records.Closed {
		return fmt.Errorf("close batch %s: it is %q, %w", name, b.State, err)
	}
	w.tell(func(a *answers) { a.closed[name] = true })
	return nil
}

// backups takes one backup after the other, with a breath in between.
func (w *world) backups(ctx, stop context.Context) error {
	for pause(stop, 300*time.Millisecond) == nil {
		var b bytes.Buffer
		if err := w.persist(ctx, func(c *api.Client) error {
			b.Reset()
			return c.Backup(ctx, &b)
		}); err != nil {
			return err
		}
		w.tell(func(a *answers) { a.backups, a.backup = a.backups+1, b.Bytes() })
	}
	return nil
}

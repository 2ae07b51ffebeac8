package daemon

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"

	"mintmark/station"
	"mintmark/station/console"
	"mintmark/station/label"
)

// newSlots makes the slots of a station, or says everything that is wrong with
// any of them at once. A device or port that isn't there is no mistake: the slot
// waits for it.
func newSlots(c Config, store *Store, p Parts) ([]*station.Slot, error) {
	var printer station.Printer
	if c.Printer.Address != "" {
		printer = label.NewPrinter(c.Printer.Address)
	}
	var slots []*station.Slot
	var errs []error
	for _, sc := range c.Slots {
		s, err := newSlot(c, sc, store, p, printer)
		if err != nil {
			errs = append(errs, fmt.Errorf("slot %s: %w", sc.Name, err))
			continue
		}
		slots = append(slots, s)
	}
	return slots, errors.Join(errs...)
}

func newSlot(c Config, sc SlotConfig, store *Store, p Parts, printer station.Printer) (*station.Slot, error) {
	prof, err := store.Products.pin(sc.Product)
	if err != nil {
		return nil, err
	}
	driver, err := console.New(prof.Driver.Script)
	if err != nil {
		return nil, err
	}
	place, err := newPlace(sc, prof)
	if err != nil {
		return nil, err
	}
	return station.New(station.Config{
		Name: c.Station, Slot: sc.Name, Product: prof.Station(), Ledger: store.Ledger,
		Driver: driver.WithLog(p.Log.With("slot", sc.Name)), Source: source{prof, store.Authority}, Printer: printer,
		Open: place.open, Present: place.present, Power: power(sc.Power),
		Timeouts: prof.Timeouts.Station(), Log: p.Log,
	})
}

// power returns what switches the power of a slot by its command, or nil.
func power(argv []string) func(context.Context, bool) error {
	if len(argv) == 0 {
		return nil
	}
	return func(ctx context.Context, on bool) error {
		last := "off"
		if on {
			last = "on"
		}
		args := append(append([]string{}, argv[1:]...), last)
		cmd := exec.CommandContext(ctx, argv[0], args...)
		cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
		cmd.WaitDelay = 2 * time.Second // a child of it may keep its output open
		var said tail
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("switch power %s with %s: %w: %s", last, argv[0], err, said.end())
		}
		return nil
	}
}

// maxSaid is how much of what a power command says is kept, in bytes.
const maxSaid = 4 << 10

// A tail keeps the end of what is written to it: a command that talks without end
// must not fill memory.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p[max(0, len(p)-maxSaid):]...)
	if more := len(*t) - maxSaid; more > 0 {
		*t = append((*t)[:0], (*t)[more:]...)
	}
	return len(p), nil
}

// end is as much as an operator reads.
func (t tail) end() string {
	text := strings.TrimSpace(string(t))
	return text[max(0, len(text)-200):]
}

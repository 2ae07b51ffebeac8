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
		out, err := cmd.CombinedOutput()
		if err != nil {
			return fmt.Errorf("switch power %s with %s: %w: %.200s", last, argv[0], err, strings.TrimSpace(string(out)))
		}
		return nil
	}
}

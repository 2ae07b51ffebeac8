// Package daemon puts a line together: configuration, lifetimes, people. It
// opens the authority and the ledger, runs a slot for each place of station.toml
// and answers on a socket. Nothing below it knows of anything beside it.
package daemon

import (
	"context"
	"errors"
	"log/slog"

	"golang.org/x/sync/errgroup"

	"mintmark/daemon/api"
	"mintmark/hsm/secret"
	"mintmark/records"
	"mintmark/station"
)

// Parts are what a daemon is given. The zero value is right for production.
type Parts struct {
	Log     *slog.Logger // nil means discard
	Version string

	// FoldClaims is records.Options.FoldClaims, for tests that fold all the time.
	FoldClaims int

	// Started is called with a client of the daemon as soon as its socket
	// answers. It must return soon. Nil is fine.
	Started func(*api.Client)
}

// Run runs the station until ctx is done, or until something breaks that the
// line can't go on without. It returns when every device is settled, nobody is
// being answered and the ledger is closed, in that order.
func Run(ctx context.Context, c Config, p Parts) (err error) {
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	o := c.options(p.Log)
	o.FoldClaims = p.FoldClaims
	store, err := open(ctx, c, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	slots, err := newSlots(c, store, p)
	if err != nil {
		return err
	}
	listener, err := api.Listen(ctx, c.Socket, c.Groups.Users)
	if err != nil {
		return err
	}

	// Slots stop first, and finish the device they hold; people are answered
	// until then, and can see it.
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	h := store.handler(c, api.Config{
		Slots: asSeen(slots), Stopping: serving.Done(), Log: p.Log, About: api.About{Version: p.Version},
	})
	var server errgroup.Group
	server.Go(func() error { return api.Serve(serving, listener, h, c.roles(), p.Log) })
	self := api.NewLocal(h, records.Actor{Name: "station", UID: -1})
	started(p, c, store, len(slots))
	if p.Started != nil {
		p.Started(self)
	}

	err = runSlots(ctx, slots, store.Ledger)
	stopServing()
	err = errors.Join(err, server.Wait())
	self.Close()
	p.Log.InfoContext(ctx, "station stopped")
	return err
}

func started(p Parts, c Config, store *Store, slots int) {
	name := store.Authority.ID()
	if store.Authority.Development() {
		name += " (DEVELOPMENT, not for devices that are sold)"
	}
	p.Log.Info("station running", "station", c.Station, "slots", slots, "authority", name, "socket", c.Socket)
	if err := secret.Locked(); err != nil {
		p.Log.Warn("memory not locked", "err", err)
	}
}

// runSlots runs all slots until ctx is done, one of them says that the line must
// stop, or the ledger breaks. It returns when all have finished their device.
func runSlots(ctx context.Context, slots []*station.Slot, ledger *records.Ledger) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range slots {
		g.Go(func() error { return s.Run(ctx) })
	}
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-ledger.Broken():
			return ledger.Err()
		}
	})
	return g.Wait()
}

func asSeen(slots []*station.Slot) []api.Slot {
	seen := make([]api.Slot, len(slots))
	for i, s := range slots {
		seen[i] = s
	}
	return seen
}

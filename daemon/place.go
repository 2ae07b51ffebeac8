package daemon

import (
	"context"

	"mintmark/daemon/profile"
	"mintmark/station"
	"mintmark/station/port"
	"mintmark/station/usb"
)

// A place is where the device of a slot is plugged in.
type place struct {
	address usb.Address
	port    port.Config
}

func newPlace(sc SlotConfig, prof *profile.Profile) (place, error) {
	address, err := usb.ParseAddress(sc.Port)
	if err != nil {
		return place{}, err
	}
	return place{address, port.Config{Baud: prof.Driver.Baud, Flow: port.Flow(prof.Driver.Flow)}}, nil
}

// open opens the port of the device that is in the slot now.
func (p place) open(ctx context.Context) (station.Port, error) {
	opened, err := p.address.Open(ctx, p.port)
	if err != nil {
		return nil, err // an untyped nil: a nil *port.Port would not be one
	}
	return opened, nil
}

// present waits until a device is in the slot, or until it is empty.
func (p place) present(ctx context.Context, want bool) error {
	if !want {
		return p.address.Gone(ctx, "")
	}
	_, err := p.address.Wait(ctx)
	return err
}

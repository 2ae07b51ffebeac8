package records

import (
	"context"
	"fmt"
)

// Interlock says what may be done with the device in a slot, or refuses with a
// reason and a remedy. It changes nothing.
func (l *Ledger) Interlock(_ context.Context, s Sight) (c Clearance, err error) {
	err = l.view(func(r reader) error {
		c, err = clearance(r, s, func() (*batchRecord, error) { return pickBatch(r, s.Product) })
		return err
	})
	return c, err
}

// clearance is the interlock: it says what may be done with the device that s sees,
// as the ledger is in g. A device that belongs to no batch gets the one that
// pick returns.
func clearance(g getter, s Sight, pick func() (*batchRecord, error)) (Clearance, error) {
	if err := s.check(); err != nil {
		return Clearance{}, err
	}
	serial, err := serialOf(g, s)
	if err != nil {
		return Clearance{}, err
	}
	var d *Device
	if serial != "" {
		if d, err = getDevice(g, s.Product.ID, serial); err != nil {
			return Clearance{}, err
		}
	}
	do, err := doWith(d, s)
	if err != nil {
		return Clearance{}, err
	}
	c := Clearance{Do: do, Serial: serial, Device: d}
	if do != DoProvision {
		c.Batch, c.Row = d.Batch, d.Row
		return c, nil
	}
	b, err := batchFor(g, d, s.Product, pick)
	if err != nil {
		return Clearance{}, err
	}
	if b.Trial && d != nil && (d.State == Sealed || d.State == Doubtful) {
		return Clearance{}, refuse("open a batch that is no trial", "batch %s is a trial, which burns what a device in rework holds", b.Name)
	}
	c.Batch, c.Trial = b.Name, b.Trial
	if d != nil && b.Name == d.Batch {
		c.Row = d.Row
	}
	return c, nil
}

// check parses what the device says of itself.
func (s Sight) check() error {
	if _, err := parseName("product", s.Product.ID, 64); err != nil {
		return err
	}
	if s.HardwareID != "" {
		if _, err := ParseHardwareID(s.HardwareID); err != nil {
			return refuse("look at what the device answers", "%v", err)
		}
	}
	if s.Serial != "" {
		if _, err := ParseSerial(s.Serial); err != nil {
			return refuse("look at what was scanned, or at what the device answers", "%v", err)
		}
	}
	return nil
}

// serialOf finds the serial of the device. Empty means: a new one, from the
// counter.
func serialOf(g getter, s Sight) (string, error) {
	if s.HardwareID != "" {
		val, found, err := g.get(hardKey(s.Product.ID, s.HardwareID))
		if err != nil {
			return "", err
		}
		if bound := string(val); found && s.Serial != "" && bound != s.Serial {
			return "", refuse("check the label and the board: a swapped board needs a rework order",
				"hardware id is bound to another serial")
		} else if found {
			return bound, nil
		}
	}
	if s.Serial == "" && s.Counter == "" {
		return "", refuse("scan its serial", "device is new and its serial is not known")
	}
	return s.Serial, nil
}

// doWith says what may be done with a device by its state, whatever its batch.
// A new device is nil.
func doWith(d *Device, s Sight) (Do, error) {
	if d == nil {
		if s.Product.imports() {
			return "", refuse("import a batch that has it", "serial is in no imported batch")
		}
		return DoProvision, nil
	}
	swap := d.Rework != nil && d.Rework.Kind == BoardSwap
	if d.HardwareID != "" && d.HardwareID != s.HardwareID && !swap {
		return "", refuse("check the label and the board: a swapped board needs a rework order",
			"serial is bound to another hardware id")
	}
	if len(d.Attempts) >= maxAttempts {
		return "", refuse("scrap the device", "device had %d attempts, want less than %d", len(d.Attempts), maxAttempts)
	}
	switch d.State {
	case Assigned:
		return "", refuse("wait for the other slot", "an attempt at this device is open")
	case Frozen:
		return "", refuse("a supervisor frees it, against the serials provisioned since the backup",
			"its row is frozen, because the ledger was restored")
	case Sealed, Doubtful:
		if d.Rework == nil {
			return DoProve, nil
		}
		if d.Rework.Kind == Relabel {
			return DoRelabel, nil
		}
	}
	if s.Product.imports() && !d.rowFree(s.HardwareID) {
		return "", refuse("give it a new row: mintmark batch replace", "its imported credentials are used up, it waits for batch replace")
	}
	return DoProvision, nil
}

// imports reports whether the product has imported credentials.
func (p Product) imports() bool {
	for _, c := range p.Credentials {
		if c.Origin == Imported {
			return true
		}
	}
	return false
}

// batchFor returns the batch to work d in: its own, if it has a row there or the
// batch still makes devices, else the one picked.
func batchFor(g getter, d *Device, p Product, pick func() (*batchRecord, error)) (*batchRecord, error) {
	if d != nil && d.Batch != "" { // a device that only Thaw's list knows has none
		b, err := batchNamed(g, d.Batch)
		if err != nil {
			return nil, err
		}
		err = b.admits(p, d.attemptsIn(b.Name) > 0)
		if err == nil || d.Row > 0 {
			return b, err
		}
	}
	return pick()
}

// admits says why the batch can't work a device of the product. One that was
// started in it is counted already.
func (b *batchRecord) admits(p Product, started bool) error {
	switch {
	case b.Product != p.ID:
		return refuse("open a batch of this product", "batch %s is of product %s", b.Name, b.Product)
	case b.State == Held || b.State == Admitted:
		return refuse("open it: mintmark batch open "+b.Name, "batch %s is %s", b.Name, b.State)
	case b.State != Opened:
		return refuse("open another batch", "batch %s is %s", b.Name, b.State)
	case b.Profile != p.Profile:
		return refuse("put back the profile that the batch was opened with, or open another batch",
			"the profile is not the one that batch %s pinned", b.Name)
	case b.Kind == GeneratedBatch && !started && b.Started >= b.Quota:
		return refuse("open another batch", "batch %s has used up its quota of %d", b.Name, b.Quota)
	}
	return nil
}

// pickBatch returns the oldest batch that can make new devices of the product,
// or says what is in the way of the newest.
func pickBatch(r reader, p Product) (*batchRecord, error) {
	var picked *batchRecord
	why := refuse(fmt.Sprintf("open one: mintmark batch open NAME --product %s --quota N", p.ID), "no batch of product %s is open", p.ID)
	err := r.scan([]byte{keyBatch}, func(_, val []byte) error {
		b, err := decode[batchRecord](val)
		if err != nil {
			return err
		}
		if b.Kind != GeneratedBatch || b.Product != p.ID || b.State == Closed || b.State == Rejected {
			return nil
		}
		if err := b.admits(p, false); err != nil {
			why = err
			return nil
		}
		picked = b
		return errStop
	})
	if picked != nil {
		return picked, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, why
}

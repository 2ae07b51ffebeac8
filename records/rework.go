package records

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mintmark/hsm/secret"
)

// A ReworkKind is one of the four explicit, recorded kinds of rework.
type ReworkKind string

// The kinds: relabel prints again what the device proves to hold; the others
// supersede its credentials. A board swap also binds a new hardware id.
const (
	Relabel     ReworkKind = "relabel"
	Reprovision ReworkKind = "reprovision"
	BoardSwap   ReworkKind = "board-swap"
	Refurbish   ReworkKind = "refurbish"
)

// A Rework is an explicit order to touch a sealed or doubtful device again.
// A relabel makes no attempt, so its mark is here.
type Rework struct {
	Kind   ReworkKind `cbor:"1,keyasint" json:"kind"`
	Reason string     `cbor:"2,keyasint" json:"reason"`
	By     string     `cbor:"3,keyasint" json:"by"`
	At     time.Time  `cbor:"4,keyasint" json:"at"`

	Mark    Mark      `cbor:"5,keyasint,omitempty" json:"mark,omitempty"`    // labelling: set before a label is printed
	Label   string    `cbor:"6,keyasint,omitempty" json:"label,omitempty"`   // printed number of that label
	Attempt int       `cbor:"7,keyasint,omitempty" json:"attempt,omitempty"` // whose credentials are on it
	Done    time.Time `cbor:"8,keyasint,omitzero" json:"done,omitzero"`      // when it was printed; else it only may be
}

// Seen records that a sealed or doubtful device was seen again, with the class
// of its proof, or none. A doubtful one that proved what it holds is sealed. A
// relabel order is done with it, if its label was marked and so is printed by now.
func (l *Ledger) Seen(ctx context.Context, p Product, serial string, proof string, where Where) (state DeviceState, err error) {
	err = l.commit(ctx, func(t *txn) error {
		d, err := getDevice(t, p.ID, serial)
		if err != nil {
			return err
		}
		if d == nil {
			return fmt.Errorf("device: %w", ErrNotFound)
		}
		if d.State != Sealed && d.State != Doubtful {
			return refuse("put the device in again", "device is %s, want sealed or doubtful", d.State)
		}
		was := d.standing()
		d.Seen = &Sighting{At: t.now(), Where: where.bound(), Proof: bound(proof)}
		if proof != "" {
			if err := d.proved(t, proof); err != nil {
				return err
			}
		}
		state = d.State
		return putDevice(t, was, d)
	})
	return state, err
}

func (d *Device) proved(t *txn, proof string) error {
	d.Proved = t.now()
	if r := d.Rework; r != nil && r.Mark == Labelling {
		r.Done = d.Proved
		d.keepLabel()
		d.Rework = nil
	}
	if d.State == Sealed {
		return nil
	}
	d.State = Sealed
	at := d.holds()
	at.Outcome, at.Proof = Sealed, bound(proof)
	d.fate(at, false)
	return countSeal(t, at)
}

// Recognise says whether a scanned value is the one in the device's record. It
// is recorded and limited like a check.
func (l *Ledger) Recognise(ctx context.Context, p Product, serial, credential string, v *secret.Value, by Actor) (bool, error) {
	spec, err := p.spec(credential)
	if err != nil {
		return false, err
	}
	set, err := l.indexesOf(ctx, p.ID, spec, v)
	if err != nil {
		return false, err
	}
	d, err := l.Device(ctx, p.ID, serial)
	if err != nil {
		return false, err
	}
	hits := 0
	if at := d.holds(); at != nil {
		for _, c := range at.Credentials {
			if c.Name == credential && slices.Contains(set.Lookup, c.Index) {
				hits++
			}
		}
	}
	if err := l.recordCheck(ctx, by, 1, hits); err != nil {
		return false, err // who asked too often learns nothing
	}
	return hits > 0, nil
}

func (p Product) spec(credential string) (Spec, error) {
	for _, s := range p.Credentials {
		if s.Name == credential {
			return s, nil
		}
	}
	return Spec{}, fmt.Errorf("product %s has no credential %s", p.ID, credential)
}

// Recall returns the values of a device's imported credentials while its row is
// still recoverable, or ErrNotFound. The caller closes them.
func (l *Ledger) Recall(ctx context.Context, p Product, serial string) (map[string]*secret.Value, error) {
	d, err := l.Device(ctx, p.ID, serial)
	if err != nil {
		return nil, err
	}
	at := d.holds()
	if at == nil || at.Row == 0 {
		return nil, fmt.Errorf("imported credentials of the device: %w", ErrNotFound)
	}
	var b *batchRecord
	if err := l.view(func(r reader) error { b, err = batchNamed(r, at.Batch); return err }); err != nil {
		return nil, err
	}
	return l.openRow(ctx, b.Number, at.Row, serial)
}

// OrderRework records a supervisor's order. It is carried out when the device is
// next in a slot. Relabel, reprovision and refurbish are for sealed and doubtful
// devices; a board swap is for any that is bound to a hardware id.
func (l *Ledger) OrderRework(ctx context.Context, product, serial string, r Rework, by Actor) (Device, error) {
	if !by.Supervisor {
		return Device{}, refuse("ask a supervisor", "rework needs a supervisor's order")
	}
	if r.Reason == "" {
		return Device{}, refuse("say why", "rework needs a reason")
	}
	d, err := l.Device(ctx, product, serial) // finds the product where none was named
	if err != nil {
		return Device{}, err
	}
	err = l.commit(ctx, func(t *txn) error {
		have, err := getDevice(t, d.Product, serial)
		if err != nil {
			return err
		}
		if have == nil { // its import was taken back since
			return fmt.Errorf("device: %w", ErrNotFound)
		}
		d = *have
		was := d.standing()
		if err := d.neverMade(t); err != nil {
			return err
		}
		if err := d.mayRework(r.Kind); err != nil {
			return err
		}
		d.keepLabel()
		d.Rework = &Rework{Kind: r.Kind, Reason: bound(r.Reason), By: bound(by.Name), At: t.now()}
		if d.State == Kept { // its row belongs to the old board
			d.State = Burned
			at := &d.Attempts[len(d.Attempts)-1]
			at.Outcome = Burned
			d.fate(at, false)
		}
		return putDevice(t, was, &d)
	})
	return d, err
}

// neverMade refuses a device whose row waited until its batch was closed: no slot
// can make it.
func (d *Device) neverMade(g getter) error {
	if d.State != Waiting {
		return nil
	}
	b, err := batchNamed(g, d.Batch)
	if err != nil || b.State != Closing && b.State != Closed {
		return err
	}
	return refuse("import a new batch, with new values and another serial",
		"device was never made, and can't be any more: batch %s is %s", b.Name, b.State)
}

func (d *Device) mayRework(k ReworkKind) error {
	held := d.State == Sealed || d.State == Doubtful
	switch k {
	case Relabel, Reprovision, Refurbish:
		if !held {
			return refuse("put the device in a slot", "device is %s, want sealed or doubtful", d.State)
		}
	case BoardSwap:
		if d.HardwareID == "" || !held && d.State != Kept && d.State != Burned {
			return refuse("put the device in a slot", "device is %s, want one that is bound to a hardware id and not at work", d.State)
		}
	default:
		return refuse("", "rework is %q, want %s, %s, %s or %s", k, Relabel, Reprovision, BoardSwap, Refurbish)
	}
	return nil
}

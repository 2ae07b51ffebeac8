package records

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"mintmark/hsm/secret"
)

const defaultAttempts = 3 // of an imported row

// Assign makes the durable facts "these indexes are used" (for generated values;
// imported ones were claimed at admission) and "these credentials belong to this
// hardware id" in one commit, before the first byte of them leaves the daemon.
// A generated value that was used before is a *ReuseError: the caller draws again
// if the space is small, and stops the line if it isn't.
//
// The interlock is asked again inside the commit, so what changed since is a
// Refusal, and parallel slots never exceed a quota or share a row.
func (l *Ledger) Assign(ctx context.Context, r AssignRequest) (*Assignment, error) {
	if r.Sight.Serial == "" {
		r.Sight.Serial = r.Clearance.Serial
	}
	w := &assigning{req: r, made: &Assignment{Product: r.Sight.Product, Row: r.Clearance.Row}}
	if err := l.prepare(ctx, w); err != nil {
		w.made.close()
		return nil, err
	}
	if err := l.commitNew(ctx, w.write); err != nil {
		w.made.close()
		return nil, err
	}
	return w.made, nil
}

func (a *Assignment) close() {
	for _, v := range a.Values {
		v.Close()
	}
}

// An assigning is an Assign under way: what was computed before the writer is
// entered, and what the writer makes of it.
type assigning struct {
	req  AssignRequest
	sets map[string]indexSet // by credential
	made *Assignment
}

// prepare does what needs the authority: it opens the row and computes every
// index.
func (l *Ledger) prepare(ctx context.Context, w *assigning) (err error) {
	if row := w.req.Clearance.Row; row > 0 {
		var b *batchRecord
		if err = l.view(func(r reader) error { b, err = batchNamed(r, w.req.Clearance.Batch); return err }); err != nil {
			return err
		}
		if w.made.Values, err = l.openRow(ctx, b.Number, row, w.req.Sight.Serial); err != nil {
			return err
		}
	}
	values, err := w.values()
	if err != nil {
		return err
	}
	w.sets, err = l.indexes(ctx, w.req.Sight.Product, values)
	return err
}

// values returns the value of each credential of the product. None may be
// missing, and no two the same.
func (w *assigning) values() (map[string]*secret.Value, error) {
	values := map[string]*secret.Value{}
	for _, c := range w.req.Sight.Product.Credentials {
		from := w.req.Generated
		if c.Origin == Imported {
			from = w.made.Values
		}
		v := from[c.Name]
		if v == nil {
			return nil, fmt.Errorf("assign: credential %s has no value", c.Name)
		}
		for _, other := range values {
			if v.Equal(other) {
				return nil, &ReuseError{c.Name, Owner{Batch: w.req.Clearance.Batch, Row: w.req.Clearance.Row, Serial: w.req.Sight.Serial}}
			}
		}
		values[c.Name] = v
	}
	return values, nil
}

// write is the commit: everything that must be one fact.
func (w *assigning) write(t *txn) error {
	s, c := w.req.Sight, w.req.Clearance
	now, err := clearance(t, s, func() (*batchRecord, error) {
		b, err := batchNamed(t, c.Batch)
		if err != nil {
			return nil, err
		}
		return b, b.admits(s.Product, false)
	})
	if err != nil {
		return err
	}
	if now.Do != DoProvision || now.Batch != c.Batch || now.Row != c.Row {
		return refuse("put the device in again", "the device changed since it was cleared")
	}
	d := now.Device
	if d == nil {
		if d, err = newDevice(t, s); err != nil {
			return err
		}
	}
	was := standing{}
	if now.Device != nil {
		was = d.standing()
	}
	if err := w.bind(t, d); err != nil {
		return err
	}
	a := Attempt{
		Number: len(d.Attempts) + 1, Batch: c.Batch, Row: c.Row, Start: t.now(), Where: w.req.Where.bound(),
		HardwareID: s.HardwareID, Limit: s.Product.Attempts, From: d.State, Rework: d.Rework,
	}
	if a.Limit == 0 {
		a.Limit = defaultAttempts
	}
	if a.Label, err = nextLabel(t); err != nil {
		return err
	}
	if a.Credentials, err = w.claim(t, d.Serial, a.Number); err != nil {
		return err
	}
	d.Attempts = append(d.Attempts, a)
	d.State, d.Batch, d.Row = Assigned, c.Batch, c.Row
	w.made.Serial, w.made.Attempt, w.made.Label = d.Serial, a.Number, a.Label
	if err := putDevice(t, was, d); err != nil {
		return err
	}
	w.made.Sample, err = sampleOf(t, c.Batch)
	return err
}

// newDevice is a device that the ledger sees for the first time.
func newDevice(t *txn, s Sight) (*Device, error) {
	serial := s.Serial
	for serial == "" {
		n, err := nextNumber(t, counterKey(s.Product.ID))
		if err != nil {
			return nil, err
		}
		next, err := ParseSerial(fmt.Sprintf(s.Counter, n))
		if err != nil {
			return nil, refuse("correct serial.format in the profile", "%v", err)
		}
		d, err := getDevice(t, s.Product.ID, next)
		if err != nil {
			return nil, err
		}
		if d == nil {
			serial = next
		}
	}
	return &Device{Product: s.Product.ID, Serial: serial}, nil
}

// bind makes the device and its hardware id each other's only partner. A board
// swap gives the serial a new one; the old one stays known.
func (w *assigning) bind(t *txn, d *Device) error {
	id := w.req.Sight.HardwareID
	if id == "" || id == d.HardwareID {
		return nil
	}
	d.HardwareID = id
	t.set(hardKey(d.Product, id), []byte(d.Serial))
	return nil
}

// nextNumber counts one on. Numbers are used once, also by operations that end
// in nothing.
func nextNumber(t *txn, key []byte) (uint64, error) {
	val, found, err := t.get(key)
	if err != nil {
		return 0, err
	}
	n := uint64(1)
	unknown := !found && key[0] == keyCounter && t.g.l.meta.Epoch > 0 // of a product that is newer than the backup
	if unknown || bytes.HasPrefix(val, frozenCounter) {
		return 0, refuse("a supervisor frees it, against the serials provisioned since the backup",
			"the serial counter is frozen, because the ledger was restored")
	}
	if len(val) > 0 {
		if n, err = strconv.ParseUint(string(val), 10, 64); err != nil {
			return 0, fmt.Errorf("counter: %w", err)
		}
		n++
	}
	t.set(key, strconv.AppendUint(nil, n, 10))
	return n, nil
}

// nextLabel returns a printed number for a label. No two labels have the same,
// also after a restore, which doesn't know the last ones.
func nextLabel(t *txn) (string, error) {
	n, err := nextNumber(t, []byte{keyLabel})
	label := strconv.FormatUint(n, 10)
	if epoch := t.g.l.meta.Epoch; epoch > 0 {
		label = fmt.Sprintf("%d-%s", epoch, label)
	}
	return label, err
}

// claim claims each generated value and finds the claim of each imported one.
func (w *assigning) claim(t *txn, serial string, attempt int) ([]Credential, error) {
	b, err := batchNamed(t, w.req.Clearance.Batch)
	if err != nil {
		return nil, err
	}
	var creds []Credential
	for place, c := range w.req.Sight.Product.Credentials {
		have := Credential{Name: c.Name, Kind: c.Kind, Origin: c.Origin, State: claimed}
		o := ownerRef{Batch: b.Number, Position: uint8(place)}
		if c.Origin == Imported {
			o.Row = uint32(w.req.Clearance.Row)
			have.Index, have.KeyVersion, err = t.claimed(w.sets[c.Name], o)
		} else {
			o.Attempt, o.Serial = uint32(attempt), serial
			have.Authority = bound(w.req.Authority)
			have.Index, have.KeyVersion, err = t.claimSet(w.sets[c.Name], o)
		}
		if err != nil {
			return nil, fmt.Errorf("credential %s: %w", c.Name, err)
		}
		creds = append(creds, have)
	}
	return creds, nil
}

// claimSet claims a value that is used under no key version.
func (t *txn) claimSet(set indexSet, o ownerRef) (Index, uint32, error) {
	for _, i := range set.Lookup {
		if first, found, err := t.claimOwner(i); err != nil {
			return Index{}, 0, err
		} else if found {
			return Index{}, 0, t.reuse(first)
		}
	}
	o.KeyVersion = set.Version
	for _, i := range set.Wide {
		t.noteWide(i, o)
	}
	return set.Claim, set.Version, t.claim(set.Claim, o)
}

// claimed finds the claim that was made of a row's value at its admission, under
// whatever key version it was.
func (t *txn) claimed(set indexSet, want ownerRef) (Index, uint32, error) {
	for _, i := range set.Lookup {
		o, found, err := t.claimOwner(i)
		if err != nil {
			return Index{}, 0, err
		}
		if found && o.Batch == want.Batch && o.Row == want.Row && o.Position == want.Position {
			return i, o.KeyVersion, nil
		}
	}
	return Index{}, 0, fmt.Errorf("row %d doesn't hold what was admitted", want.Row)
}

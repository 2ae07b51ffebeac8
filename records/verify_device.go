package records

import (
	"slices"
	"strings"
)

func (v *verifier) devices() error {
	return v.scan(keyDevice, func(key, val []byte) error {
		d, err := decode[Device](val)
		if err != nil {
			return err
		}
		v.Devices++
		if string(key) != d.Product+"\x00"+d.Serial {
			v.problem("device %s has another identity than its key", d.Serial)
		}
		return v.device(d)
	})
}

// device checks one device against its batches, its claims, its hardware id and
// its open attempt.
func (v *verifier) device(d *Device) error {
	if d.Batch != "" {
		t := v.named[d.Batch]
		if t == nil || t.Product != d.Product {
			v.problem("device %s is of batch %s, which is not there for its product", d.Serial, d.Batch)
			return nil
		}
		*t.is.devices(d.State)++
	}
	v.rows(d)
	if d.HardwareID != "" {
		if val, _, err := v.r.get(hardKey(d.Product, d.HardwareID)); err != nil {
			return err
		} else if string(val) != d.Serial {
			v.problem("device %s can't be found by its hardware id", d.Serial)
		}
	}
	_, listed, err := v.r.get(pairKey(keyOpen, d.Product, d.Serial))
	if err != nil {
		return err
	}
	if open := d.open() != nil; open != listed || open != (d.State == Assigned) {
		v.problem("device %s is %s, its attempt says otherwise", d.Serial, d.State)
	} else if open {
		v.Open++
	}
	return v.attempts(d)
}

// rows notes the rows that d has and had: no other device may have them.
func (v *verifier) rows(d *Device) {
	type place struct {
		batch string
		row   int
	}
	mine := map[place]bool{{d.Batch, d.Row}: true}
	for _, at := range d.Attempts {
		mine[place{at.Batch, at.Row}] = true
	}
	for p := range mine {
		t := v.named[p.batch]
		if p.row == 0 || t == nil {
			continue
		}
		if p.row > t.Rows {
			v.problem("device %s has row %d of batch %s, which has %d", d.Serial, p.row, t.Name, t.Rows)
		} else if t.rows.note(p.row) {
			v.problem("row %d of batch %s has two devices, one is %s", p.row, t.Name, d.Serial)
		}
	}
}

func (v *verifier) attempts(d *Device) error {
	started := map[string]bool{}
	hard := map[Index]string{}
	for n, at := range d.Attempts {
		t := v.named[at.Batch]
		if t == nil || at.Number != n+1 || at.Outcome == "" && n+1 < len(d.Attempts) {
			v.problem("attempt %d of device %s is out of place", n+1, d.Serial)
			continue
		}
		if !started[at.Batch] {
			started[at.Batch] = true
			t.is.Started++
		}
		if at.Counted {
			t.is.countSeal(&at)
		}
		if at.Counted && at.Outcome != Sealed {
			v.problem("attempt %d of device %s is counted as a seal and is none", n+1, d.Serial)
		}
		for _, c := range at.Credentials {
			if was, again := hard[c.Index]; again && was != at.HardwareID {
				v.problem("a credential of device %s was assigned to two hardware ids", d.Serial)
			}
			hard[c.Index] = at.HardwareID
			if err := v.credential(d, t, &at, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// credential finds the claim of a credential. One that was generated has been
// claimed for this very attempt.
func (v *verifier) credential(d *Device, t *tally, at *Attempt, c Credential) error {
	o, found, err := v.owner(c.Index)
	if err != nil {
		return v.damaged(err)
	}
	if !found {
		v.problem("device %s holds a credential that is not claimed", d.Serial)
		return nil
	}
	same := o.Batch == t.Number && int(o.Row) == at.Row
	if c.Origin == Generated {
		same = o.Batch == t.Number && o.Row == 0 && o.Serial == d.Serial && int(o.Attempt) == at.Number
	}
	if !same || o.KeyVersion != c.KeyVersion {
		v.problem("device %s holds a credential that is claimed for someone else", d.Serial)
	}
	return nil
}

func (v *verifier) hardwareIDs() error {
	return v.scan(keyHard, func(key, val []byte) error {
		product, id, _ := strings.Cut(string(key), "\x00")
		d, err := getDevice(v.r, product, string(val))
		if err != nil {
			return err
		}
		if d == nil || d.HardwareID != id && !slices.ContainsFunc(d.Attempts, func(at Attempt) bool { return at.HardwareID == id }) {
			v.problem("hardware id %s leads to a device that doesn't have it", id)
		}
		return nil
	})
}

func (v *verifier) openAttempts() error {
	return v.scan(keyOpen, func(key, _ []byte) error {
		product, serial, _ := strings.Cut(string(key), "\x00")
		d, err := getDevice(v.r, product, serial)
		if err == nil && (d == nil || d.open() == nil) {
			v.problem("device %s is listed as open and is not", serial)
		}
		return err
	})
}

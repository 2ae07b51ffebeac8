package records

import (
	"cmp"
	"context"
	"slices"
	"strings"
)

// SetMark makes the durable mark before its effect. Marks only go forward; one
// that is there already is kept. A trial has no mark behind injecting, so that no
// golden device is ever labelled or locked.
func (l *Ledger) SetMark(ctx context.Context, a *Assignment, m Mark) error {
	return l.commit(ctx, func(t *txn) error {
		d, at, err := openAttempt(t, a)
		if err != nil {
			return err
		}
		if have, want := markOrder(at.Mark), markOrder(m); want < 1 || want < have || have == 0 && want > 1 {
			return refuse("", "mark %s can't follow mark %q", m, at.Mark)
		}
		if b, err := batchNamed(t, at.Batch); err != nil || b.Trial && m != Injecting {
			return cmp.Or(err, refuse("", "a golden device is neither labelled nor locked"))
		}
		at.Mark = m
		return putDevice(t, d.standing(), d)
	})
}

func markOrder(m Mark) int { return slices.Index([]Mark{NotMarked, Injecting, Labelling, Locking}, m) }

// openAttempt returns the device of a and its open attempt.
func openAttempt(g getter, a *Assignment) (*Device, *Attempt, error) {
	d, err := getDevice(g, a.Product.ID, a.Serial)
	if err != nil {
		return nil, nil, err
	}
	if d == nil {
		return nil, nil, ErrNotFound
	}
	at := d.open()
	if at == nil || at.Number != a.Attempt {
		return nil, nil, refuse("put the device in again", "attempt %d is settled already", a.Attempt)
	}
	return d, at, nil
}

// Settle ends the attempt and returns what became of the device: sealed, or by
// the table at outcomeOf burned, kept or doubtful. Settling twice is refused.
func (l *Ledger) Settle(ctx context.Context, a *Assignment, s Settlement) (state DeviceState, err error) {
	batch := ""
	err = l.commit(ctx, func(t *txn) error {
		d, at, err := openAttempt(t, a)
		if err != nil {
			return err
		}
		if s.Sealed && (at.Mark == NotMarked || s.Proof == "") {
			return refuse("", "a device is sealed only after it was injected and proved")
		}
		batch = at.Batch
		state, err = end(t, d, s)
		return err
	})
	if err == nil {
		l.closeIdle(ctx, batch)
	}
	return state, err
}

// settleLeft ends what a crash left open, before anyone can ask.
func (l *Ledger) settleLeft(ctx context.Context) error {
	var left [][2]string
	if err := l.view(func(r reader) error {
		return r.keys([]byte{keyOpen}, func(key []byte) error {
			product, serial, _ := strings.Cut(string(key[1:]), "\x00")
			left = append(left, [2]string{product, serial})
			return nil
		})
	}); err != nil {
		return err
	}
	for _, id := range left {
		if err := l.commit(ctx, func(t *txn) error {
			d, err := getDevice(t, id[0], id[1])
			if err != nil || d == nil || d.open() == nil {
				return err
			}
			_, err = end(t, d, Settlement{Reason: "the station stopped during the attempt"})
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// An ending is all that decides what becomes of a device.
type ending struct {
	sealed bool
	trial  bool
	stray  bool        // another device may have taken the credentials
	mark   Mark        // the last durable one
	row    bool        // its credentials were imported
	hard   bool        // it has a trustworthy hardware id
	tries  int         // attempts at the row that reached injecting, this one included
	limit  int         // of tries
	from   DeviceState // before the attempt, where the device may still hold what it held
}

// outcomeOf is the table of outcomes. The first line that fits decides. An
// attempt that a crash cut off ends as one that failed.
//
//	| sealed | trial | last mark   | imported | hardware id | tries    | device is     |
//	|--------|-------|-------------|----------|-------------|----------|---------------|
//	| no     | any   | none        | any      | any         | any      | as before, if it was sealed or doubtful |
//	| any    | yes   | any         | any      | any         | any      | burned        |
//	| yes    | no    | injecting.. | any      | any         | any      | sealed        |
//	| strayed | no   | any but none | any     | any         | any      | burned        |
//	| no     | no    | locking     | any      | any         | any      | doubtful      |
//	| no     | no    | any         | no       | any         | any      | burned: generated again |
//	| no     | no    | none        | yes      | any         | any      | kept          |
//	| no     | no    | any other   | yes      | no          | any      | burned: waits for batch replace |
//	| no     | no    | any other   | yes      | yes         | < limit  | kept for the same hardware id |
//	| no     | no    | any other   | yes      | yes         | >= limit | burned: waits for batch replace |
func outcomeOf(e ending) DeviceState {
	switch {
	case e.asBefore():
		return e.from
	case e.trial:
		return Burned
	case e.sealed:
		return Sealed
	case e.stray && e.mark != NotMarked:
		return Burned
	case e.mark == Locking:
		return Doubtful
	case !e.row:
		return Burned
	case e.mark == NotMarked:
		return Kept
	case e.hard && e.tries < e.limit:
		return Kept
	default:
		return Burned
	}
}

// asBefore reports whether the attempt left a device in rework untouched.
func (e ending) asBefore() bool {
	return !e.sealed && e.mark == NotMarked && (e.from == Sealed || e.from == Doubtful)
}

// end settles the open attempt of d.
func end(t *txn, d *Device, s Settlement) (DeviceState, error) {
	at, was := d.open(), d.standing()
	b, err := batchNamed(t, at.Batch)
	if err != nil {
		return "", err
	}
	swap := at.Rework != nil && at.Rework.Kind == BoardSwap
	e := ending{
		sealed: s.Sealed, trial: b.Trial, stray: s.Strayed, mark: at.Mark, row: at.Row > 0, hard: at.HardwareID != "",
		tries: d.injections(), limit: at.Limit, from: at.From,
	}
	if swap {
		e.from = "" // the new board never held anything
	}
	d.State = outcomeOf(e)
	at.End, at.Outcome = t.now(), d.State
	if e.asBefore() { // the device still holds what it held; the attempt failed
		at.Outcome = Burned
		if e.row {
			at.Outcome = Kept
		}
	} else {
		d.Rework = nil
	}
	at.Reason, at.Proof, at.Firmware = bound(s.Reason), bound(s.Proof), bound(s.Firmware)
	at.Steps = boundSteps(s.Steps)
	if d.State == Sealed && s.Sealed {
		d.Proved = at.End
	}
	d.fate(at, at.Mark != NotMarked || swap)
	if err := countSeal(t, at); err != nil {
		return "", err
	}
	return d.State, putDevice(t, was, d)
}

// States of a credential.
const (
	claimed    = "claimed" // and what will become of it is open
	sealed     = "sealed"
	burned     = "burned"
	superseded = "superseded"
)

// fate settles the credentials of an attempt that ended. If the device may have
// taken them, or is another board, those that it held before are superseded.
func (d *Device) fate(at *Attempt, supersede bool) {
	for i := range d.Attempts {
		a := &d.Attempts[i]
		for j := range a.Credentials {
			c := &a.Credentials[j]
			if now := at.find(c.Index); now != nil {
				c.State = stateAfter(at.Outcome, c.Origin)
			} else if supersede && (c.State == sealed || c.State == claimed) {
				c.State = superseded
			}
		}
	}
}

func (a *Attempt) find(i Index) *Credential {
	for j := range a.Credentials {
		if a.Credentials[j].Index == i {
			return &a.Credentials[j]
		}
	}
	return nil
}

func stateAfter(o DeviceState, from Origin) string {
	switch {
	case o == Sealed:
		return sealed
	case o == Doubtful || o == Kept && from == Imported:
		return claimed
	default:
		return burned
	}
}

func boundSteps(steps []Step) []Step {
	if len(steps) > maxSteps {
		steps = steps[len(steps)-maxSteps:] // the end says why
	}
	steps = slices.Clone(steps)
	for i := range steps {
		steps[i].Name, steps[i].Err = bound(steps[i].Name), bound(steps[i].Err)
	}
	return steps
}

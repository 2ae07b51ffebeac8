package records

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"mintmark/hsm/secret"
)

// A DeviceState is where a device, known by product and serial, stands.
type DeviceState string

// The states of a device.
const (
	Waiting  DeviceState = "waiting"  // an imported row waits for it; no attempt has been made
	Assigned DeviceState = "assigned" // an attempt is open
	Kept     DeviceState = "kept"     // the imported row waits for the same hardware id
	Doubtful DeviceState = "doubtful" // power or contact was lost after locking: prove it, or rework
	Sealed   DeviceState = "sealed"
	Burned   DeviceState = "burned" // no credential; a generated device starts again, an imported one waits for replace
	Frozen   DeviceState = "frozen" // its row waits, but the ledger was restored: a supervisor must free it
)

// A Mark is a durable sign that an effect may have happened that can't be told
// apart afterwards. It is set before the effect.
type Mark string

// The marks, in the order of the path.
const (
	NotMarked Mark = ""
	Injecting Mark = "injecting"
	Labelling Mark = "labelling"
	Locking   Mark = "locking"
)

// A Step is one phase of an attempt as it went.
type Step struct {
	Name  string        `cbor:"1,keyasint" json:"step"`
	Start time.Time     `cbor:"2,keyasint" json:"start"`
	Took  time.Duration `cbor:"3,keyasint" json:"took_ns"`
	Err   string        `cbor:"4,keyasint,omitempty" json:"error,omitempty"`
}

// A Credential is one credential of an attempt, by name; the value is not here.
type Credential struct {
	Name       string `cbor:"1,keyasint" json:"name"`
	Kind       Kind   `cbor:"2,keyasint" json:"kind"`
	Origin     Origin `cbor:"3,keyasint" json:"origin"`
	Authority  string `cbor:"4,keyasint,omitempty" json:"authority,omitempty"`
	KeyVersion uint32 `cbor:"5,keyasint" json:"key_version"`
	State      string `cbor:"6,keyasint" json:"state"` // claimed, sealed, burned, superseded
	Index      Index  `cbor:"7,keyasint" json:"-"`
}

// An Attempt is one try at giving a device its credentials.
type Attempt struct {
	Number      int          `cbor:"1,keyasint" json:"attempt"` // from 1, within the device
	Batch       string       `cbor:"2,keyasint" json:"batch"`
	Row         int          `cbor:"3,keyasint,omitempty" json:"row,omitempty"`
	Label       string       `cbor:"4,keyasint,omitempty" json:"label,omitempty"` // printed number of its label
	Start       time.Time    `cbor:"5,keyasint" json:"start"`
	End         time.Time    `cbor:"6,keyasint,omitzero" json:"end,omitzero"`
	Where       Where        `cbor:"7,keyasint" json:"where"`
	Mark        Mark         `cbor:"8,keyasint,omitempty" json:"mark,omitempty"`
	Outcome     DeviceState  `cbor:"9,keyasint,omitempty" json:"outcome,omitempty"` // empty while open
	Reason      string       `cbor:"10,keyasint,omitempty" json:"reason,omitempty"`
	Proof       string       `cbor:"11,keyasint,omitempty" json:"proof,omitempty"` // signature, login, stored-verifier
	Probed      bool         `cbor:"12,keyasint,omitempty" json:"reset_probed,omitempty"`
	Firmware    string       `cbor:"13,keyasint,omitempty" json:"firmware,omitempty"`
	Steps       []Step       `cbor:"14,keyasint,omitempty" json:"steps,omitempty"`
	Credentials []Credential `cbor:"15,keyasint" json:"credentials"`
	Rework      *Rework      `cbor:"16,keyasint,omitempty" json:"rework,omitempty"` // the order it was made under
	HardwareID  string       `cbor:"17,keyasint,omitempty" json:"hardware_id,omitempty"`
	Limit       int          `cbor:"18,keyasint" json:"-"`           // attempts of its row that may inject
	From        DeviceState  `cbor:"19,keyasint,omitempty" json:"-"` // the device's state before it
	Counted     bool         `cbor:"20,keyasint,omitempty" json:"-"` // its seal is one of the batch's; not in ledgers from before that count
}

// A Device is the record of one (product, serial).
type Device struct {
	Product    string      `cbor:"1,keyasint" json:"product"`
	Serial     string      `cbor:"2,keyasint" json:"serial"`
	HardwareID string      `cbor:"3,keyasint,omitempty" json:"hardware_id,omitempty"`
	State      DeviceState `cbor:"4,keyasint" json:"state"`
	Batch      string      `cbor:"5,keyasint" json:"batch"`
	Row        int         `cbor:"6,keyasint,omitempty" json:"row,omitempty"`
	Rework     *Rework     `cbor:"7,keyasint,omitempty" json:"rework,omitempty"` // ordered, not yet begun
	Attempts   []Attempt   `cbor:"8,keyasint,omitempty" json:"attempts,omitempty"`
	Proved     time.Time   `cbor:"9,keyasint,omitzero" json:"last_proved,omitzero"` // when it last proved what it holds
	Seen       *Sighting   `cbor:"10,keyasint,omitempty" json:"last_seen,omitempty"`
	Relabelled []Rework    `cbor:"11,keyasint,omitempty" json:"relabelled,omitempty"` // labels that relabelling printed or may have, the last 20
}

// A Sighting is a device that came to a slot after its seal.
type Sighting struct {
	At    time.Time `cbor:"1,keyasint" json:"at"`
	Where Where     `cbor:"2,keyasint" json:"where"`
	Proof string    `cbor:"3,keyasint,omitempty" json:"proof,omitempty"` // empty: sealed earlier, not re-proved
}

// A Do is what to do with the device in a slot.
type Do string

// The answers of Interlock.
const (
	DoProvision Do = "provision" // assign and inject
	DoProve     Do = "prove"     // sealed or doubtful: prove what it holds, assign nothing
	DoRelabel   Do = "relabel"   // prove, then print the label again
)

// A Clearance is Interlock's permission to work on a device.
type Clearance struct {
	Do     Do
	Serial string // as bound; empty where Assign will take it from the counter
	Batch  string
	Row    int  // imported row, or 0
	Trial  bool // golden device: nothing is released
	Device *Device
}

// A Sight is a device as a slot sees it.
type Sight struct {
	Product    Product
	Serial     string // empty: the ledger knows it by hardware id, or takes it from the product's counter
	Counter    string // for serial.from = counter: a format with one %d, such as "AC%06d"
	HardwareID string // what the device itself says it is; empty when the profile has no trustworthy one
}

// AssignRequest asks to bind credentials to a hardware id.
type AssignRequest struct {
	Sight     Sight
	Clearance Clearance
	Where     Where
	Generated map[string]*secret.Value // one per generated credential; stays the caller's
	Authority string                   // who made the generated values, for the record
}

// An Assignment is an open attempt. It must be settled, whatever happens next.
type Assignment struct {
	Product Product
	Serial  string
	Attempt int
	Label   string                   // the printed number of the label
	Values  map[string]*secret.Value // imported ones, from the row; the caller closes them
	Row     int
	Sample  Sample // of its batch, as of the commit
}

// A Sample says how many of a batch's seals were of devices that were probed by a
// factory reset. Open and doubtful devices count as seals that were not, because
// they may become so: a share that is kept with them is kept whatever happens.
type Sample struct{ Probed, Seals int }

// A Settlement ends an attempt.
type Settlement struct {
	Sealed   bool   // the device proved that it holds its credentials, is labelled and locked
	Strayed  bool   // another device may have taken the credentials: nobody gets them again
	Reason   string // why not, for the operator and the record
	Proof    string
	Firmware string
	Steps    []Step
}

// Limits of a device record, so that it always fits into one operation.
const (
	maxAttempts = 100 // then the device itself is at fault
	maxSteps    = 24
	maxText     = 160 // bytes of a text that came from a device or a person
)

// bound cuts a text that came from outside and makes it valid.
func bound(s string) string {
	s = strings.ToValidUTF8(s, "?")
	for len(s) > maxText {
		_, n := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-n]
	}
	return s
}

func (w Where) bound() Where {
	return Where{bound(w.Station), bound(w.Slot), bound(w.Operator)}
}

// open returns the attempt that is not settled, or nil.
func (d *Device) open() *Attempt {
	if n := len(d.Attempts); n > 0 && d.Attempts[n-1].Outcome == "" {
		return &d.Attempts[n-1]
	}
	return nil
}

// holds returns the attempt whose credentials the device holds, as far as is
// known: the newest that was sealed or left in doubt. Nil if there is none.
func (d *Device) holds() *Attempt {
	for i := len(d.Attempts) - 1; i >= 0; i-- {
		if a := &d.Attempts[i]; a.Outcome == Sealed || a.Outcome == Doubtful {
			return a
		}
	}
	return nil
}

// rowFree reports whether the device's row may be assigned to a hardware id:
// nothing was done with it, or only by the same hardware id and it was kept.
func (d *Device) rowFree(hardwareID string) bool {
	for _, a := range d.ofRow() {
		if a.HardwareID != hardwareID || a.Outcome != Kept {
			return false
		}
	}
	return d.Row > 0 && d.State != Burned
}

// wantsRow reports whether only a new imported row lets the device go on: its own
// is burned, or was used up before a rework that supersedes it.
func (d *Device) wantsRow() bool {
	if d.Row == 0 || d.State == Burned {
		return d.Row > 0
	}
	rework := d.Rework != nil && d.Rework.Kind != Relabel
	return rework && (d.State == Sealed || d.State == Doubtful) && len(d.ofRow()) > 0
}

// giveRow gives the device a new row. One in rework keeps its state until the
// row is assigned.
func (d *Device) giveRow(row int) {
	d.Row = row
	if d.State == Burned {
		d.State = Waiting
	}
}

// ofRow returns the attempts at the device's present row.
func (d *Device) ofRow() []*Attempt {
	var at []*Attempt
	for i := range d.Attempts {
		if a := &d.Attempts[i]; a.Batch == d.Batch && a.Row == d.Row {
			at = append(at, a)
		}
	}
	return at
}

// injections counts the attempts at the device's present row that reached it.
func (d *Device) injections() (n int) {
	for _, a := range d.ofRow() {
		if a.Mark != NotMarked {
			n++
		}
	}
	return n
}

// A standing is what of a device is counted in its batch.
type standing struct {
	batch    string
	state    DeviceState
	attempts int
}

func (d *Device) standing() standing { return standing{d.Batch, d.State, len(d.Attempts)} }

// putDevice stores d, keeps the counts of its batch before and after, and the
// list of open attempts. The zero standing is that of a new device.
func putDevice(t *txn, was standing, d *Device) error {
	if was == (standing{}) {
		if err := t.noRival(d); err != nil {
			return err
		}
	}
	t.set(deviceKey(d.Product, d.Serial), encode(d))
	if d.State == Assigned {
		t.set(pairKey(keyOpen, d.Product, d.Serial), nil)
	} else if was.state == Assigned {
		t.del(pairKey(keyOpen, d.Product, d.Serial))
	}
	if was == d.standing() {
		return nil
	}
	if was.batch != "" {
		if err := recount(t, was.batch, func(b *batchRecord) { *b.devices(was.state)-- }); err != nil {
			return err
		}
	}
	if d.Batch == "" { // known from a list only, see Thaw
		return nil
	}
	return recount(t, d.Batch, func(b *batchRecord) {
		*b.devices(d.State)++
		if len(d.Attempts) > was.attempts && d.attemptsIn(d.Batch) == 1 {
			b.Started++
		}
	})
}

func recount(t *txn, batch string, f func(*batchRecord)) error {
	b, err := batchNamed(t, batch)
	if err != nil {
		return err
	}
	f(b)
	putBatch(t, b)
	return nil
}

func (d *Device) attemptsIn(batch string) (n int) {
	for _, a := range d.Attempts {
		if a.Batch == batch {
			n++
		}
	}
	return n
}

// Device returns the record of (product, serial), or ErrNotFound. An empty
// product finds the serial in any product, and refuses if several have it.
func (l *Ledger) Device(_ context.Context, product, serial string) (Device, error) {
	var found []*Device
	err := l.view(func(r reader) error {
		products := []string{product}
		if product == "" {
			var err error
			if products, err = r.products(); err != nil {
				return err
			}
		}
		for _, p := range products {
			if d, err := getDevice(r, p, serial); err != nil {
				return err
			} else if d != nil {
				found = append(found, d)
			}
		}
		return nil
	})
	switch {
	case err != nil:
		return Device{}, err
	case len(found) == 0:
		return Device{}, fmt.Errorf("device: %w", ErrNotFound)
	case len(found) > 1:
		return Device{}, refuse("name the product", "%d products have a device of this serial", len(found))
	}
	return *found[0], nil
}

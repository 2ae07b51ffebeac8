package records

import (
	"context"
	"time"

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
}

// A Rework is an explicit order to touch a sealed or doubtful device again.
type Rework struct {
	Kind   ReworkKind `cbor:"1,keyasint" json:"kind"`
	Reason string     `cbor:"2,keyasint" json:"reason"`
	By     string     `cbor:"3,keyasint" json:"by"`
	At     time.Time  `cbor:"4,keyasint" json:"at"`
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
	Do      Do
	Serial  string // as bound; made from the counter where Sight.Serial was empty
	Batch   string
	Row     int  // imported row, or 0
	Trial   bool // golden device: nothing is released
	Ordinal int  // how many devices of the batch were started before this one, for sampling
	Device  *Device
}

// A Sight is a device as a slot sees it.
type Sight struct {
	Product    Product
	Serial     string // empty: the ledger knows it by hardware id, or takes it from the product's counter
	Counter    string // for serial.from = counter: a format with one %d, such as "AC%06d"
	HardwareID string // what the device itself says it is; empty when the profile has no trustworthy one
}

// Interlock says what may be done with the device in a slot, or refuses with a
// reason and a remedy. It changes nothing.
func (l *Ledger) Interlock(ctx context.Context, s Sight) (Clearance, error) { panic("todo") }

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
}

// Assign makes the durable facts "these indexes are used" (for generated values;
// imported ones were claimed at admission) and "these credentials belong to this
// hardware id" in one commit, before the first byte of them leaves the daemon.
// A generated value that was used before is a *ReuseError: the caller draws again
// if the space is small, and stops the line if it isn't.
func (l *Ledger) Assign(ctx context.Context, r AssignRequest) (*Assignment, error) { panic("todo") }

// SetMark makes the durable mark before its effect.
func (l *Ledger) SetMark(ctx context.Context, a *Assignment, m Mark) error { panic("todo") }

// A Settlement ends an attempt.
type Settlement struct {
	Sealed   bool   // the device proved that it holds its credentials, is labelled and locked
	Reason   string // why not, for the operator and the record
	Proof    string
	Probed   bool
	Firmware string
	Steps    []Step
}

// Settle ends the attempt and returns what became of the device: sealed, or by
// the table of docs/architecture.md burned, kept or doubtful. Settling twice is
// refused.
func (l *Ledger) Settle(ctx context.Context, a *Assignment, s Settlement) (DeviceState, error) {
	panic("todo")
}

// Recognise says whether a scanned value is the one in the device's record. It
// is recorded and limited like a check.
func (l *Ledger) Recognise(ctx context.Context, p Product, serial, credential string, v *secret.Value, by Actor) (bool, error) {
	panic("todo")
}

// Recall returns the value of an imported credential of a device whose row is
// still recoverable, or ErrNotFound.
func (l *Ledger) Recall(ctx context.Context, p Product, serial string) (map[string]*secret.Value, error) {
	panic("todo")
}

// Seen records that a sealed or doubtful device was seen again. A doubtful one
// that proved what it holds is sealed.
func (l *Ledger) Seen(ctx context.Context, p Product, serial string, proof string, where Where) (DeviceState, error) {
	panic("todo")
}

// OrderRework records a supervisor's order. It is carried out when the device is
// next in a slot.
func (l *Ledger) OrderRework(ctx context.Context, product, serial string, r Rework, by Actor) (Device, error) {
	panic("todo")
}

// Device returns the record of (product, serial), or ErrNotFound. An empty
// product finds the serial in any product, and refuses if several have it.
func (l *Ledger) Device(ctx context.Context, product, serial string) (Device, error) { panic("todo") }

// Devices calls f for each device of a batch in serial order, of all batches if
// batch is empty, until f returns false.
func (l *Ledger) Devices(ctx context.Context, batch string, f func(Device) bool) error { panic("todo") }

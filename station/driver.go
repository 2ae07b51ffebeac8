package station

import (
	"context"
	"io"
	"time"

	"mintmark/hsm/secret"
)

// A Port is a byte stream to the device in a slot. After a deadline Read and
// Write fail with an error that matches [os.ErrDeadlineExceeded].
type Port interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
}

// A Link is the station's hold on the device in one slot.
type Link interface {
	// Port is the open port. It changes after Reopen and Cycle.
	Port() Port
	// Reopen closes the port, waits until the slot has a device again, and opens
	// it: for devices that vanish from the bus when they restart.
	Reopen(ctx context.Context) error
	// Cycle takes the device's power away and gives it back, with Reopen in
	// between where the port vanishes. A slot without power control says so.
	Cycle(ctx context.Context) error
}

// A Phase is a part of the path that a driver carries out.
type Phase string

// The phases of a driver, in the order of the path. Refuse checks that the
// device refuses one wrong credential, the candidate.
const (
	Identify Phase = "identify"
	Inject   Phase = "inject"
	Restart  Phase = "restart"
	Prove    Phase = "prove" // that the device holds its own credentials
	Refuse   Phase = "refuse"
	Reset    Phase = "reset" // trigger a factory reset
	Lock     Phase = "lock"
)

// Vars are the values that a driver may send. Secret ones never reach a log, an
// error or a transcript.
type Vars struct {
	Plain  map[string]string        // serial, product, hardware_id, label
	Secret map[string]*secret.Value // credential, credential.verifier; candidate.user and candidate in Refuse
}

// Facts are what a phase read from the device, such as hardware_id, serial and
// firmware. Every one is bounded and printable.
type Facts map[string]string

// A Driver knows one way of talking to devices.
//
// Do runs one phase. It may be called from several slots at once, returns soon
// after ctx is done, trusts no byte that the device sends, and returns an error
// that names the step, what was wanted and a remedy ([Faultf]). It sends nothing
// of v that the phase doesn't name. Refuse returns an error that matches
// [ErrAccepted] if the device let the candidate in. Lock succeeds on a device
// that is locked already.
type Driver interface {
	// Has says whether the driver can carry out p.
	Has(p Phase) bool
	// Needs lists the names in [Vars].Secret that p may send. Without them Do
	// fails before its first byte.
	Needs(p Phase) []string
	// Do carries out p.
	Do(ctx context.Context, l Link, p Phase, v Vars) (Facts, error)
}

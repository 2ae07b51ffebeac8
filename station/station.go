// Package station gives the devices of one production station their own
// credentials, and proves that they use them.
//
// A [Slot] carries one device after the other along the path: detect, identify,
// interlock, assign, inject, restart, prove, reset probe, label, lock, settle,
// release. The path is one function (path.go), and these promises are its order:
//
//   - Credentials are claimed and bound to the device's hardware id, durably,
//     before their first byte leaves the daemon.
//   - A durable mark precedes each effect that can't be told apart afterwards:
//     injecting, labelling, locking.
//   - A device is sealed only after it restarted, said again who it is, proved
//     that it holds its own credentials, and refused those that others know.
//   - Every way out after assign settles the attempt. What became of its
//     credentials is the ledger's decision; the slot says what happened.
//   - A device that is swapped at any step is never written to again.
//   - Every secret is wiped when the device's path ends, whichever way.
//
// What the device sends is trusted nowhere: a driver bounds it, and each step has
// a deadline of its own.
package station

import (
	"context"
	"errors"
	"fmt"

	"mintmark/hsm/secret"
)

// Errors that callers act on.
var (
	// ErrStop is matched by every error of [Slot.Run]: the outcome of a device
	// could not be recorded, or the generator can't be trusted. The line must not
	// go on.
	ErrStop = errors.New("line stopped")

	// ErrNotWaiting refuses a scan that no slot asked for.
	ErrNotWaiting = errors.New("slot waits for no scan")

	// ErrAccepted is what a driver's Refuse returns when the device let the
	// candidate in. Any other error means that nothing is known.
	ErrAccepted = errors.New("device accepts a credential that it must refuse")

	// ErrAnother is matched when another device answers than the one that was
	// identified.
	ErrAnother = errors.New("another device")
)

// A Fault is something that a device, a printer or a person did other than was
// wanted, with what the operator can do about it.
type Fault struct {
	Err    error
	Remedy string // a short sentence for the operator, lower case, no period
}

// Faultf returns a Fault. Its text says what was wanted.
func Faultf(remedy, format string, args ...any) error {
	return &Fault{Err: fmt.Errorf(format, args...), Remedy: remedy}
}

func (f *Fault) Error() string { return f.Err.Error() }

func (f *Fault) Unwrap() error { return f.Err }

// A StepError names the step of the path that failed.
type StepError struct {
	Step string
	Err  error
}

func (e *StepError) Error() string { return e.Step + ": " + e.Err.Error() }

func (e *StepError) Unwrap() error { return e.Err }

// A Source is what a slot needs of an authority. Both methods may be called from
// several slots at once, return soon after ctx is done, and may fail: the device
// then fails, and the line goes on. The caller closes what it gets.
type Source interface {
	// Draw makes a fresh value for a generated credential.
	Draw(ctx context.Context, credential string) (*secret.Value, error)
	// Verifier derives what the device stores instead of the value; nil where the
	// profile has it store the value itself. The same value always has the same
	// verifier, so that a device seen again can be asked for it.
	Verifier(ctx context.Context, credential string, v *secret.Value) (*secret.Value, error)
	// ID names the authority for the record.
	ID() string
}

// A Printer prints labels, one at a time. It may be shared by slots.
type Printer interface {
	// Ready says whether a label would come out now.
	Ready(ctx context.Context) error
	// Print returns nil when the printer says that it has printed. After an
	// error a label may exist all the same.
	Print(ctx context.Context, zpl *secret.Value) error
}

// Package records is the ledger: what was used, by whom, in what order.
//
// A [Ledger] makes these promises, and everything here exists to keep them:
//
//   - Once a claim is answered it is on stable storage. No crash, power cut or
//     restart makes that credential available again.
//   - No index is claimed twice, in any batch, ever; burned and superseded ones
//     stay claimed. No credential is assigned to two hardware ids.
//   - An imported batch is admitted whole or not at all, also across a crash.
//   - A ledger that lost history refuses to open and says what to do.
//
// Credentials are stored as keyed digests only ([Index]); the key never enters
// this package. Whoever steals the disk learns how many devices were made, their
// serials and when, but not one credential.
//
// docs/ledger.md has every byte on disk.
package records

import (
	"errors"
	"fmt"
	"time"
)

// Errors that callers act on. Everything else from this package is a fault of
// the machine and means: stop the line.
var (
	// ErrReused is matched by every [*ReuseError].
	ErrReused = errors.New("already used")

	// ErrRejected is matched by the error of an import that was refused as a
	// whole; the [Admission] beside it names the rows.
	ErrRejected = errors.New("batch rejected")

	// ErrRefused is matched by every [*Refusal]: the line goes on.
	ErrRefused = errors.New("refused")

	// ErrBroken is returned once a commit or sync has failed. What is on disk
	// is unknown, so the ledger must be closed and opened again.
	ErrBroken = errors.New("ledger is broken, close and open it to recover")

	// ErrDiskFull refuses new claims while the disk is nearly full. Open
	// attempts can still be settled.
	ErrDiskFull = errors.New("disk is nearly full: new claims are refused, open ones can be settled")

	// ErrClock refuses new claims while the clock is behind the last record.
	ErrClock = errors.New("clock is behind the last record")

	// ErrBehind refuses to open a ledger that has lost history.
	ErrBehind = errors.New("ledger has lost history")

	// ErrHeld refuses to open a ledger that another process holds.
	ErrHeld = errors.New("ledger is held by another process")

	// ErrNewer refuses a ledger or backup of a newer schema.
	ErrNewer = errors.New("ledger is of a newer schema than this program")

	// ErrWrongKey refuses an index key that isn't this ledger's.
	ErrWrongKey = errors.New("index key is not this ledger's")

	// ErrNotFound is returned for a batch or device that the ledger doesn't know.
	ErrNotFound = errors.New("not in the ledger")

	// ErrLimited refuses a check or import by someone who asked too often.
	ErrLimited = errors.New("too many checks")
)

// A Refusal says why the ledger won't do something, and what the asker can do.
// It is not a fault: nothing was changed and the line goes on.
type Refusal struct {
	Text string // what was wanted, lower case, no period
	Hint string // the remedy, or empty
}

func (r *Refusal) Error() string { return r.Text }

// Is makes errors.Is(err, ErrRefused) true for every Refusal.
func (r *Refusal) Is(target error) bool { return target == ErrRefused }

func refuse(hint, format string, args ...any) error {
	return &Refusal{Text: fmt.Sprintf(format, args...), Hint: hint}
}

// plural counts things: 1 cell, 2 cells.
func plural(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}

// An Owner says who claimed an index first. It never holds the value.
type Owner struct {
	Batch      string `json:"batch,omitempty"`
	Row        int    `json:"row,omitempty"`    // data row from 1, for an imported or historical claim
	Serial     string `json:"serial,omitempty"` // for a generated claim
	Credential string `json:"credential,omitempty"`
}

func (o Owner) String() string {
	switch {
	case o.Batch == "":
		return fmt.Sprintf("row %d of the same file", o.Row)
	case o.Row > 0:
		return fmt.Sprintf("batch %s row %d", o.Batch, o.Row)
	default:
		return fmt.Sprintf("batch %s serial %s", o.Batch, o.Serial)
	}
}

// A ReuseError refuses a claim because the credential was used before.
type ReuseError struct {
	Credential string // name within the product
	First      Owner
}

func (e *ReuseError) Error() string {
	return fmt.Sprintf("credential %s already used by %s", e.Credential, e.First)
}

// Is makes errors.Is(err, ErrReused) true for every ReuseError.
func (e *ReuseError) Is(target error) bool { return target == ErrReused }

// An Actor is who asks: the caller of a command, known by its peer credentials,
// or the station itself. Roles come from Unix groups until people have accounts.
type Actor struct {
	Name       string // user name, or "station"
	UID        int
	Quality    bool
	Supervisor bool
}

// Where says where and under whose hands something was done (IPC-1782: who,
// what, where, when, how).
type Where struct {
	Station  string `cbor:"1,keyasint,omitempty" json:"station,omitempty"`
	Slot     string `cbor:"2,keyasint,omitempty" json:"slot,omitempty"`
	Operator string `cbor:"3,keyasint,omitempty" json:"operator,omitempty"`
}

// MaxSerial is the longest serial, in characters.
const MaxSerial = 40

// ParseSerial returns s, or an error that says what is wrong with it.
func ParseSerial(s string) (string, error) { return parseName("serial", s, MaxSerial) }

// ParseBatch returns s, or an error that says what is wrong with it.
func ParseBatch(s string) (string, error) { return parseName("batch name", s, 64) }

// ParseHardwareID returns s, or an error that says what is wrong with it.
func ParseHardwareID(s string) (string, error) { return parseName("hardware id", s, 64) }

func parseName(what, s string, limit int) (string, error) {
	if s == "" || len(s) > limit {
		return "", fmt.Errorf("%s has %d characters, want 1 to %d", what, len(s), limit)
	}
	for _, r := range s {
		if !nameRune(r) {
			return "", fmt.Errorf("%s has %q, want only A-Z, a-z, 0-9 and - _ . : /", what, r)
		}
	}
	return s, nil
}

func nameRune(r rune) bool {
	switch {
	case r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', r >= '0' && r <= '9':
		return true
	}
	return r == '-' || r == '_' || r == '.' || r == ':' || r == '/'
}

// now is the ledger's clock, in UTC and whole milliseconds.
func (l *Ledger) now() time.Time { return l.opts.now() }

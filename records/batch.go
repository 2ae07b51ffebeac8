package records

import (
	"context"
	"io"
	"time"
)

// A BatchState is where a batch is in its life.
type BatchState string

// The states: checking → admitted → open ⇄ held → closing → closed, or rejected.
const (
	Checking BatchState = "checking"
	Admitted BatchState = "admitted"
	Opened   BatchState = "open"
	Held     BatchState = "held"
	Closing  BatchState = "closing"
	Closed   BatchState = "closed"
	Rejected BatchState = "rejected"
)

// A BatchKind says where the batch's credentials come from.
type BatchKind string

// A generated batch has a quota; an imported one has rows; history is only
// claimed, no device is ever made of it.
const (
	GeneratedBatch BatchKind = "generated"
	ImportedBatch  BatchKind = "imported"
	HistoryBatch   BatchKind = "history"
)

// A Batch is a set of devices made together.
type Batch struct {
	Number   uint32     `json:"number"` // within the ledger, from 1
	Name     string     `json:"batch"`
	Product  string     `json:"product"`
	Profile  [32]byte   `json:"-"` // digest of the profile, pinned
	State    BatchState `json:"state"`
	Kind     BatchKind  `json:"kind"`
	Trial    bool       `json:"trial,omitempty"` // releases nothing, burns everything
	Quota    int        `json:"quota"`
	Started  int        `json:"started"` // devices that were assigned credentials at least once
	Sealed   int        `json:"sealed"`
	Burned   int        `json:"burned"`
	Devices  int        `json:"devices"`     // rows, for an imported batch
	Claims   int        `json:"credentials"` // credentials claimed at admission
	Reason   string     `json:"reason,omitempty"`
	By       string     `json:"by"`
	Created  time.Time  `json:"created"`
	Shredded *bool      `json:"shredded,omitempty"` // after closing: whether the row key is beyond recovery
	Waiting  int        `json:"waiting"`            // rows that no device has used; recoverable until the batch is closed
}

// OpenRequest opens an admitted or held batch, or makes a generated one.
type OpenRequest struct {
	Product Product
	Batch   string
	Quota   int // for a generated batch, 1 to 100,000,000
	Trial   bool
	Actor   Actor
}

// OpenBatch opens a batch for devices. It refuses a profile other than the one
// that the batch pinned.
func (l *Ledger) OpenBatch(ctx context.Context, r OpenRequest) (Batch, error) { panic("todo") }

// HoldBatch stops new devices of an open batch until it is opened again.
func (l *Ledger) HoldBatch(ctx context.Context, name string, by Actor) (Batch, error) { panic("todo") }

// CloseBatch ends a batch: it waits in state closing until no attempt is open,
// then destroys the key of its waiting rows as far as the authority can.
func (l *Ledger) CloseBatch(ctx context.Context, name string, by Actor) (Batch, error) {
	panic("todo")
}

// Batch returns one batch by name, or ErrNotFound.
func (l *Ledger) Batch(ctx context.Context, name string) (Batch, error) { panic("todo") }

// Batches lists all batches, oldest first.
func (l *Ledger) Batches(ctx context.Context) ([]Batch, error) { panic("todo") }

// ImportRequest asks to admit a batch whose credentials come from outside.
type ImportRequest struct {
	Product Product
	Batch   string
	Actor   Actor
	DryRun  bool // check only: claims nothing, is recorded and counted all the same
	History bool // claim what another system already used; no rows wait
	Replace bool // give new rows to burned serials of the batch
	// Progress is called now and then with bytes read; nil is fine.
	Progress func(done int64)
}

// A Violation is one reason for rejecting a batch. It never holds the value.
type Violation struct {
	Row        int    `json:"row"` // data row from 1
	Serial     string `json:"serial"`
	Credential string `json:"credential,omitempty"`
	Rule       string `json:"rule"` // C-UNIQ, C-FORMAT, SERIAL
	First      *Owner `json:"first,omitempty"`
	Text       string `json:"text,omitempty"`
}

// An Admission is the answer to an import or a check.
type Admission struct {
	Batch       string      `json:"batch"`
	State       BatchState  `json:"state"`
	Devices     int         `json:"devices"`
	Credentials int         `json:"credentials"`
	Already     bool        `json:"already"` // a retry: this is the first answer again
	DryRun      bool        `json:"dry_run,omitempty"`
	Total       int         `json:"violations_total,omitempty"`
	Violations  []Violation `json:"violations,omitempty"` // the first 1,000
	// Elsewhere counts values of a product scope that another product uses too:
	// reported, never refused.
	Elsewhere int    `json:"elsewhere,omitempty"`
	Scope     string `json:"scope"` // what "unique" covers: this ledger
}

// Import reads a CSV file and admits it whole or not at all. A rejection is
// returned as the Admission and an error that matches ErrRejected; a file that
// can't be read as CSV of this product is a Refusal that names the line and what
// was wanted. The same batch name with the same content is a retry and gets the
// first answer again; the same name with other content is refused.
func (l *Ledger) Import(ctx context.Context, r ImportRequest, file io.Reader) (Admission, error) {
	panic("todo")
}

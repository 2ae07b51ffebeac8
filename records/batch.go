package records

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
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
	Seals    int        `json:"seals"`       // made in it, also of devices that were reworked since
	Probed   int        `json:"probed"`      // of these, after a factory reset that the device's credentials survived
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

// OpenBatch opens a batch for devices: one that was admitted or held, or a new
// generated one. It refuses a profile other than the one that the batch pinned.
func (l *Ledger) OpenBatch(ctx context.Context, r OpenRequest) (Batch, error) {
	if err := r.check(); err != nil {
		return Batch{}, err
	}
	number, release, err := l.reserve(r.Batch)
	if err != nil {
		return Batch{}, err
	}
	defer release()
	warn, full := "", error(nil)
	if err := l.view(func(g reader) error {
		warn, full = capacity(g, r.Product, Generated, r.Quota)
		return nil
	}); err != nil {
		return Batch{}, err
	}
	return l.changeBatch(ctx, func(t *txn) (*batchRecord, error) {
		if err := t.pinScopes(r.Product); err != nil {
			return nil, err
		}
		b, err := batchNamed(t, r.Batch)
		if err == nil && b.State != Rejected {
			return b, b.open(r)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return nil, err
		}
		if err := cmp.Or(r.mayGenerate(), full); err != nil {
			return nil, err
		}
		b = &batchRecord{
			Number: number, Name: r.Batch, Product: r.Product.ID, Profile: r.Product.Profile, State: Opened, Kind: GeneratedBatch,
			Trial: r.Trial, Quota: r.Quota, Warning: warn, By: r.Actor.Name, Created: t.now(), Names: r.Product.names(),
		}
		t.name(b)
		return b, nil
	})
}

func (r OpenRequest) check() error {
	if _, err := ParseBatch(r.Batch); err != nil {
		return refuse("", "%v", err)
	}
	return r.Product.check()
}

const maxQuota = 100_000_000

// mayGenerate refuses what a generated batch can't be made of.
func (r OpenRequest) mayGenerate() error {
	if r.Product.imports() {
		return refuse("import it: mintmark batch import", "there is no batch %s, and product %s has imported credentials", r.Batch, r.Product.ID)
	}
	if r.Quota < 1 || r.Quota > maxQuota {
		return refuse("say how many devices: --quota N", "quota is %d, want 1 to %d", r.Quota, maxQuota)
	}
	return nil
}

// open opens a batch that exists.
func (b *batchRecord) open(r OpenRequest) error {
	switch {
	case b.Kind == HistoryBatch:
		return refuse("", "batch %s is history: no device is made of it", b.Name)
	case b.State != Admitted && b.State != Held && b.State != Opened:
		return refuse("open another batch", "batch %s is %s", b.Name, b.State)
	case b.Product != r.Product.ID:
		return refuse("", "batch %s is of product %s", b.Name, b.Product)
	case b.Profile != r.Product.Profile:
		return refuse("put back the profile that it was made with, or make another batch", "the profile is not the one that batch %s pinned", b.Name)
	case r.Quota != 0 && r.Quota != b.Quota:
		return refuse("leave the quota out", "batch %s has a quota of %d", b.Name, b.Quota)
	case r.Trial != b.Trial && b.State != Admitted:
		return refuse("", "batch %s was opened before: whether it is a trial can't change", b.Name)
	}
	b.State, b.Trial, b.Reason = Opened, r.Trial, ""
	return nil
}

// capacity returns a warning or a refusal if so many devices more would use up
// much of a product scope (C-CAP, R-LED-06). What open batches may still claim
// counts as used.
func capacity(r reader, p Product, from Origin, more int) (warn string, err error) {
	used := more
	if err := r.scan([]byte{keyBatch}, func(_, val []byte) error {
		b, err := decode[batchRecord](val)
		if err == nil && b.Product == p.ID && b.State != Rejected {
			used += b.issued()
		}
		return err
	}); err != nil {
		return "", err
	}
	for _, s := range p.Credentials {
		if !s.ProductScope || s.Origin != from || s.Bits <= 0 {
			continue
		}
		share := 100 * float64(used) / math.Exp2(s.Bits)
		text := fmt.Sprintf("%d devices use %.2g %% of all values of %s in product %s", used, share, s.Name, p.ID)
		switch {
		case share > 1 && s.Kind == LoginPassword:
			return "", refuse("give it a longer value or ledger scope", "%s, want at most 1 %%", text)
		case share > 0.1 && warn == "":
			warn = text
		}
	}
	return warn, nil
}

// issued is how many devices the batch has or may still get values for.
func (b *batchRecord) issued() int {
	if b.Kind == GeneratedBatch && b.State != Closed {
		return max(b.Quota, b.Started)
	}
	return max(b.Rows, b.Started)
}

// HoldBatch stops new devices of an open batch until it is opened again. The
// reason may be empty.
func (l *Ledger) HoldBatch(ctx context.Context, name, reason string, by Actor) (Batch, error) {
	return l.changeBatch(ctx, func(t *txn) (*batchRecord, error) {
		b, err := batchNamed(t, name)
		if err != nil {
			return nil, err
		}
		if b.State != Opened && b.State != Held {
			return nil, refuse("", "batch %s is %s, want it open", name, b.State)
		}
		b.State, b.Reason = Held, "held by "+by.Name
		if reason != "" {
			b.Reason = bound(b.Reason + ": " + reason)
		}
		return b, nil
	})
}

// changeBatch stores the batch that f returns and answers with it.
func (l *Ledger) changeBatch(ctx context.Context, f func(*txn) (*batchRecord, error)) (Batch, error) {
	var b *batchRecord
	err := l.commit(ctx, func(t *txn) (err error) {
		if b, err = f(t); err == nil {
			putBatch(t, b)
		}
		return err
	})
	if err != nil {
		return Batch{}, err
	}
	return b.batch(), nil
}

// Batch returns one batch by name, or ErrNotFound.
func (l *Ledger) Batch(_ context.Context, name string) (Batch, error) {
	var b *batchRecord
	if err := l.view(func(r reader) (err error) { b, err = batchNamed(r, name); return err }); err != nil {
		return Batch{}, err
	}
	return b.batch(), nil
}

// Batches lists all batches, oldest first.
func (l *Ledger) Batches(context.Context) ([]Batch, error) {
	records, err := l.batchRecords()
	list := make([]Batch, 0, len(records))
	for _, b := range records {
		list = append(list, b.batch())
	}
	return list, err
}

func (l *Ledger) batchRecords() (list []*batchRecord, err error) {
	err = l.view(func(r reader) error {
		return r.scan([]byte{keyBatch}, func(_, val []byte) error {
			b, err := decode[batchRecord](val)
			list = append(list, b)
			return err
		})
	})
	return list, err
}

// batch is what is shown of a record.
func (b *batchRecord) batch() Batch {
	v := Batch{
		Number: b.Number, Name: b.Name, Product: b.Product, Profile: b.Profile, State: b.State, Kind: b.Kind, Trial: b.Trial,
		Quota: b.Quota, Started: b.Started, Sealed: b.Sealed, Burned: b.Burned, Seals: b.Seals, Probed: b.Probed, Claims: b.Claims,
		By: b.By, Created: b.Created, Shredded: b.Shredded, Waiting: b.Waiting + b.Frozen,
	}
	if len(b.Imports) > 0 && b.Imports[0].Admitted {
		v.Devices = b.Imports[0].Rows
	}
	v.Reason = b.Reason
	if b.Warning != "" {
		v.Reason = strings.TrimPrefix(b.Reason+"; "+b.Warning, "; ")
	}
	return v
}

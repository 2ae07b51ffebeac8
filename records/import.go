package records

import (
	"context"
	"errors"
	"fmt"
	"io"
)

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
	if err := r.check(); err != nil {
		return Admission{}, err
	}
	number, release, err := l.reserve(r.Batch)
	if err != nil {
		return Admission{}, err
	}
	defer release()
	im := &importing{l: l, r: r, number: number, in: newIntake(r.Product, l.keys, r.Actor), rec: importRecord{First: 1, By: r.Actor.Name}}
	a, err := im.run(ctx, file)
	if im.in.rows != nil {
		err = errors.Join(err, im.in.rows.discard(ctx))
	}
	return a, suddenlyFull(err)
}

// check refuses what can't be imported whatever the file says.
func (r ImportRequest) check() error {
	if _, err := ParseBatch(r.Batch); err != nil {
		return refuse("", "%v", err)
	}
	if r.History && r.Replace {
		return refuse("", "history has no devices that could get new rows")
	}
	if err := r.Product.check(); err != nil {
		return err
	}
	if !r.Product.imports() {
		return refuse("open a generated batch: mintmark batch open NAME --quota N", "product %s has no imported credential", r.Product.ID)
	}
	return nil
}

// check refuses a product that the ledger can't index.
func (p Product) check() error {
	if _, err := parseName("product", p.ID, 64); err != nil {
		return refuse("", "%v", err)
	}
	if len(p.Credentials) == 0 || len(p.Credentials) > 100 {
		return refuse("", "product %s has %d credentials, want 1 to 100", p.ID, len(p.Credentials))
	}
	for _, s := range p.Credentials {
		if s.Kind.class() == "" {
			return refuse("", "credential %s is a %s, which the ledger can't index yet", s.Name, s.Kind)
		}
	}
	return nil
}

func (r ImportRequest) kind() BatchKind {
	if r.History {
		return HistoryBatch
	}
	return ImportedBatch
}

// what names the question in its record.
func (r ImportRequest) what() string {
	switch {
	case r.DryRun:
		return "check"
	case r.History:
		return "history"
	case r.Replace:
		return "replace"
	}
	return "import"
}

// An importing is one Import under way.
type importing struct {
	l      *Ledger
	r      ImportRequest
	number uint32
	in     *intake
	rec    importRecord
	asked  uint64 // number of its check record
	warn   string // for the batch's Reason
}

// run is an import from start to end. Row file and key are the caller's to
// discard as long as in.rows is set.
func (im *importing) run(ctx context.Context, file io.Reader) (Admission, error) {
	old, err := im.find()
	if err != nil {
		return Admission{}, err
	}
	retry := old != nil && !im.r.Replace
	if im.r.Replace {
		im.number, im.rec.First = old.Number, old.Rows+1
	}
	if !retry && !im.r.DryRun && !im.r.History {
		if im.in.rows, err = im.l.createRows(ctx, im.number, im.rec.First); err != nil {
			return Admission{}, err
		}
	}
	if err := im.in.read(ctx, file, im.r.Progress); err != nil {
		return Admission{}, err
	}
	im.rec.Rows, im.rec.Columns = im.in.serials.len(), im.in.places
	if first, err := im.earlier(ctx, old); err != nil || first != nil {
		return im.again(ctx, first, err)
	}
	if retry {
		return Admission{}, refuse("choose another name", "batch %s was made from other content", im.r.Batch)
	}
	im.asked, err = im.l.ask(ctx, checkRecord{
		By: im.r.Actor.Name, UID: im.r.Actor.UID, What: im.r.what(), Product: im.r.Product.ID, Batch: im.r.Batch, Rows: im.rec.Rows,
	})
	if err != nil {
		return Admission{}, err
	}
	if err := im.l.beginWriting(ctx); err != nil {
		return Admission{}, err
	}
	defer im.l.endWriting()
	return im.decide(ctx)
}

// find returns the batch that has the name, or nil if the name is free.
func (im *importing) find() (*batchRecord, error) {
	var b *batchRecord
	err := im.l.view(func(r reader) (err error) { b, err = batchNamed(r, im.r.Batch); return err })
	if errors.Is(err, ErrNotFound) || err == nil && b.State == Rejected {
		b, err = nil, nil
	}
	switch {
	case err != nil:
		return nil, err
	case b == nil && im.r.Replace:
		return nil, fmt.Errorf("batch %s: %w", im.r.Batch, ErrNotFound)
	case b == nil:
		return nil, nil
	case b.Product != im.r.Product.ID:
		return nil, refuse("choose another name", "batch %s is of product %s", b.Name, b.Product)
	case b.Kind == GeneratedBatch:
		return nil, refuse("choose another name", "batch %s is a generated one", b.Name)
	case im.r.Replace:
		return b, b.mayReplace(im.r.Product)
	}
	return b, nil
}

// mayReplace refuses a replacement for a batch that can't use it.
func (b *batchRecord) mayReplace(p Product) error {
	switch {
	case b.Kind != ImportedBatch:
		return refuse("", "batch %s has no rows to replace", b.Name)
	case b.State == Closing || b.State == Closed:
		return refuse("import a new batch", "batch %s is %s", b.Name, b.State)
	case b.Profile != p.Profile:
		return refuse("put back the profile that the batch was opened with", "the profile is not the one that batch %s pinned", b.Name)
	}
	return nil
}

// earlier returns the admitted import of the same content into the batch, if there
// was one.
func (im *importing) earlier(ctx context.Context, old *batchRecord) (*importRecord, error) {
	if old == nil {
		var err error
		im.rec.Version = im.in.version()
		im.rec.Digest, err = im.in.digest(ctx, im.r.kind(), im.rec.Version)
		return nil, err
	}
	for i := range old.Imports {
		rec := &old.Imports[i]
		if !rec.Admitted {
			continue
		}
		digest, err := im.in.digest(ctx, old.Kind, rec.Version)
		if err != nil {
			return nil, err
		}
		if digest == rec.Digest && (rec.First > 1) == im.r.Replace && old.Kind == im.r.kind() {
			return rec, nil
		}
	}
	return im.earlier(ctx, nil)
}

// again is the answer to a retry: the first one, once new rows that were not
// given out yet are.
func (im *importing) again(ctx context.Context, first *importRecord, err error) (Admission, error) {
	if err != nil {
		return Admission{}, err
	}
	im.rec = *first
	if !first.Applied && !im.r.DryRun {
		if err := im.applyReplacement(ctx); err != nil {
			return Admission{}, err
		}
	}
	a := im.admission()
	a.Already = true
	return a, nil
}

// admission is the answer where nothing was objected to. Nothing will be made of a
// history, so its batch is closed at once.
func (im *importing) admission() Admission {
	state := Admitted
	if im.r.History {
		state = Closed
	}
	return Admission{
		Batch: im.r.Batch, State: state, DryRun: im.r.DryRun, Elsewhere: im.rec.Elsewhere, Scope: "this ledger",
		Devices: im.rec.Rows, Credentials: im.rec.Rows * len(im.rec.Columns),
	}
}

// decide judges what was read, and admits or rejects it. What was claimed while
// it was written is found by the second look.
func (im *importing) decide(ctx context.Context) (Admission, error) {
	if err := im.capacity(); err != nil {
		return Admission{}, err
	}
	for {
		if err := im.judge(ctx); err != nil {
			return Admission{}, err
		}
		if im.in.objections.total > 0 {
			return im.reject(ctx)
		}
		if im.r.DryRun {
			return im.admission(), im.l.commit(ctx, func(t *txn) error { return t.answer(im.asked, im.rec.Rows, 0) })
		}
		if err := im.admit(ctx); err == nil {
			im.l.isDue() // there is one more to merge
			return im.admission(), nil
		} else if !errors.Is(err, ErrReused) {
			return Admission{}, err
		}
	}
}

func (im *importing) judge(ctx context.Context) (err error) {
	burned := ""
	if im.r.Replace {
		burned = im.r.Batch
	}
	if err := im.l.judge(ctx, im.in, im.r.History, burned); err != nil {
		return err
	}
	im.rec.Elsewhere, err = im.l.elsewhere(ctx, im.in)
	return err
}

// capacity keeps product scopes of small spaces from filling up (C-CAP), and
// scopes from changing.
func (im *importing) capacity() error {
	return im.l.view(func(r reader) (err error) {
		if err := checkScopes(r, im.r.Product); err != nil {
			return err
		}
		im.warn, err = capacity(r, im.r.Product, Imported, im.rec.Rows)
		return err
	})
}

// reject records that the file was refused and says why. No claim is left.
func (im *importing) reject(ctx context.Context) (Admission, error) {
	total := im.in.objections.total
	list, err := im.l.violations(im.in)
	if err != nil {
		return Admission{}, err
	}
	if err := im.l.commit(ctx, func(t *txn) error {
		if !im.r.DryRun && !im.r.Replace {
			b := im.batch(t, Rejected)
			b.Reason = plural(total, "violation") + " in " + plural(im.rec.Rows, "row")
			putBatch(t, b)
			t.name(b)
		}
		return t.answer(im.asked, im.rec.Rows, total)
	}); err != nil {
		return Admission{}, err
	}
	a := im.admission()
	a.State, a.Total, a.Violations = Rejected, total, list
	return a, fmt.Errorf("%w: %s in %s", ErrRejected, plural(total, "violation"), plural(im.rec.Rows, "row"))
}

// batch is the record of a new batch.
func (im *importing) batch(t *txn, state BatchState) *batchRecord {
	return &batchRecord{
		Number: im.number, Name: im.r.Batch, Product: im.r.Product.ID, Profile: im.r.Product.Profile,
		State: state, Kind: im.r.kind(), Warning: im.warn, By: im.r.Actor.Name, Created: t.now(), Names: im.r.Product.names(),
	}
}

// name gives b its name; the batch that had it was rejected.
func (t *txn) name(b *batchRecord) { t.set(nameKey(b.Name), batchKey(b.Number)[1:]) }

func (p Product) names() (names []string) {
	for _, s := range p.Credentials {
		names = append(names, s.Name)
	}
	return names
}

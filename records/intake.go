package records

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"mintmark/hsm/secret"
)

// maxRows is the most rows one import may have, so that what is kept of them
// fits into memory: about 70 bytes of each at the most, with one credential.
const maxRows = 12_000_000

// An entry is an index of the value that a row holds at a place.
type entry struct {
	index Index
	row   uint32 // from 1
	place uint8  // of the credential, in Product.Credentials
}

func compareEntries(a, b entry) int {
	return cmp.Or(bytes.Compare(a.index[:], b.index[:]), cmp.Compare(a.row, b.row), cmp.Compare(a.place, b.place))
}

// An intake is the content of an import: of each row its serial and its indexes,
// which is all that is kept of it in memory. Its values are checked, indexed and
// sealed in passing, a chunk at a time.
type intake struct {
	// Not changed after newIntake.
	product  Product
	places   []uint8 // imported credentials, as places in product.Credentials
	versions []uint32
	keys     Keys
	limit    int        // of rows
	rows     *rowWriter // nil: no rows are to wait

	// Owned by read.
	serials serialList
	content hash.Hash // over everything that the file says

	objections objections

	// Of judge.
	judged []*layer // that claims were held to
	order  []uint32 // rows in the order of their serials

	// What the values turned into; set when read is done.
	claims []entry // under the last key version
	older  []entry // under the others
	wide   []entry // ledger-wide indexes of product-scope values, under the last version
	wider  []entry // and under the others

	mu    sync.Mutex // guards below while read runs
	found [foundKinds][][]entry
}

// The lists of an intake, as places in found.
const (
	foundClaims = iota
	foundOlder
	foundWide
	foundWider
	foundKinds
)

// keep keeps what was found in a chunk. A list is never copied before all are
// there: a list that grows would take twice its room.
func (in *intake) keep(found *[foundKinds][]entry) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i, entries := range found {
		if len(entries) > 0 {
			in.found[i] = append(in.found[i], entries)
		}
	}
}

// join makes one list of each kind of entries.
func (in *intake) join() {
	for i, list := range []*[]entry{foundClaims: &in.claims, foundOlder: &in.older, foundWide: &in.wide, foundWider: &in.wider} {
		*list = slices.Concat(in.found[i]...)
		in.found[i] = nil
	}
}

func newIntake(p Product, keys Keys, by Actor) *intake {
	in := &intake{product: p, keys: keys, versions: keys.Versions(), limit: maxRows, content: sha256.New(), objections: objections{product: p, by: by}}
	for i, s := range p.Credentials {
		if s.Origin == Imported {
			in.places = append(in.places, uint8(i))
		}
	}
	return in
}

// columns names the imported credentials.
func (in *intake) columns() (names []string) {
	for _, p := range in.places {
		names = append(names, in.product.Credentials[p].Name)
	}
	return names
}

// read takes in a file: one goroutine parses, one per processor does the rest.
func (in *intake) read(ctx context.Context, file io.Reader, progress func(int64)) error {
	t, err := openTable(file, in.columns())
	defer t.close()
	if err != nil {
		return err
	}
	workers := runtime.GOMAXPROCS(0)
	free := make(chan *chunk, 2*workers)
	for range cap(free) {
		k := newChunk(1 + len(in.places))
		defer k.close()
		free <- k
	}
	full := make(chan *chunk)
	g, ctx := errgroup.WithContext(ctx)
	for range workers {
		g.Go(func() error {
			w := newWorker(in)
			defer w.close()
			for k := range full {
				if err := w.take(ctx, k); err != nil {
					return err
				}
				free <- k
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(full)
		return in.parse(ctx, t, free, full, progress)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	in.join()
	return nil
}

// parse reads chunk after chunk. It notes the serials and the content, for which
// order matters.
func (in *intake) parse(ctx context.Context, t *table, free, full chan *chunk, progress func(int64)) error {
	in.begin()
	said := secret.New(64 << 10)
	defer said.Close()
	for {
		var k *chunk
		select {
		case k = <-free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := t.read(k); errors.Is(err, io.EOF) {
			return in.end()
		} else if err != nil {
			return err
		}
		if t.rows > in.limit {
			return refuse("split the file", "file has more than %d rows", in.limit)
		}
		in.note(k, said)
		if progress != nil {
			progress(t.csv.done)
		}
		select {
		case full <- k:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// begin, note and end compute the digest of the content: of what the file says,
// not of how it is quoted, ordered or ended.
func (in *intake) begin() {
	b := appendField(nil, in.product.ID)
	for _, name := range in.columns() {
		b = appendField(b, name)
	}
	in.content.Write(b)
}

func (in *intake) note(k *chunk, said *secret.Value) {
	buf := said.Bytes()[:0] // many cells at once: the digest is slow to begin
	for r := range k.rows {
		for i := range k.cols {
			cell := k.cell(r, i)
			if len(buf)+4+len(cell) > cap(buf) {
				in.content.Write(buf)
				buf = buf[:0]
			}
			buf = appendField(buf, cell)
		}
		in.serials.add(k.cell(r, 0))
	}
	in.content.Write(buf)
}

func (in *intake) end() error {
	sum := in.content.Sum(nil)
	in.content.Write(make([]byte, in.content.BlockSize())) // wipes what it held of the last values
	in.content.Reset()
	in.content.Write(sum)
	if in.serials.len() == 0 {
		return refuse("", "file has no rows")
	}
	return nil
}

// digest returns the keyed digest of the content under a key version: what makes
// a retry one. It asks the authority.
func (in *intake) digest(ctx context.Context, kind BatchKind, version uint32) ([32]byte, error) {
	m := appendField(nil, "mintmark/import")
	m = binary.BigEndian.AppendUint32(append(m, 0, 0, 0, 4), version)
	m = appendField(m, kind)
	m = appendField(m, in.content.Sum(nil))
	var out [1][32]byte
	if err := in.keys.Sum(ctx, version, [][]byte{m}, out[:]); err != nil {
		return out[0], fmt.Errorf("compute digest of the file: %w", err)
	}
	return out[0], nil
}

// version is the key version that claims are made under.
func (in *intake) version() uint32 { return in.versions[len(in.versions)-1] }

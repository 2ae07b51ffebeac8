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
// fits into memory.
const maxRows = 4_000_000

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

	mu sync.Mutex // guards below while read runs
	findings
}

// findings are what the values of some rows turned into.
type findings struct {
	claims []entry // under the last key version
	older  []entry // under the others
	wide   []entry // ledger-wide indexes of product-scope values, under the last version
	wider  []entry // and under the others
}

// add moves what g holds into f.
func (f *findings) add(g *findings) {
	f.claims, f.older = append(f.claims, g.claims...), append(f.older, g.older...)
	f.wide, f.wider = append(f.wide, g.wide...), append(f.wider, g.wider...)
	g.claims, g.older, g.wide, g.wider = g.claims[:0], g.older[:0], g.wide[:0], g.wider[:0]
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
	return g.Wait()
}

// parse reads chunk after chunk. It notes the serials and the content, for which
// order matters.
func (in *intake) parse(ctx context.Context, t *table, free, full chan *chunk, progress func(int64)) error {
	in.begin()
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
		in.note(k)
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

func (in *intake) note(k *chunk) {
	var n [4]byte
	for r := range k.rows {
		for i := range k.cols {
			cell := k.cell(r, i)
			binary.BigEndian.PutUint32(n[:], uint32(len(cell)))
			in.content.Write(n[:])
			in.content.Write(cell)
		}
		in.serials.add(k.cell(r, 0))
	}
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

// A serialList holds the serial of each row. One that is too long is kept empty;
// it is refused anyway.
type serialList struct {
	data []byte
	ends []uint32
}

func (s *serialList) add(serial []byte) {
	if len(serial) <= MaxSerial {
		s.data = append(s.data, serial...)
	}
	s.ends = append(s.ends, uint32(len(s.data)))
}

func (s *serialList) len() int { return len(s.ends) }

// at returns the serial of a row, from 1.
func (s *serialList) at(row uint32) []byte {
	start := uint32(0)
	if row > 1 {
		start = s.ends[row-2]
	}
	return s.data[start:s.ends[row-1]]
}

// sorted returns the rows in the order of their serials, equal ones by row.
func (s *serialList) sorted() []uint32 {
	rows := make([]uint32, s.len())
	for i := range rows {
		rows[i] = uint32(i + 1)
	}
	slices.SortStableFunc(rows, func(a, b uint32) int { return bytes.Compare(s.at(a), s.at(b)) })
	return rows
}

// A worker checks, indexes and seals the rows of chunks. Its buffers are secret
// memory.
type worker struct {
	in     *intake
	sums   summer
	canon  *secret.Value
	plain  *secret.Value
	sealed []byte // boxes, no secret
	starts []int
	values []canonical

	findings // of the chunk under way
}

// A canonical is the canonical form of a value, in worker.canon.
type canonical struct {
	row, place int
	bytes      []byte
}

func newWorker(in *intake) *worker {
	cells := (1 + len(in.places)) * (maxCell + 2)
	return &worker{in: in, canon: secret.New(chunkSize(1 + len(in.places))), plain: secret.New(cells + rowPad)}
}

func (w *worker) close() {
	w.sums.close()
	w.canon.Close()
	w.plain.Close()
}

func (w *worker) take(ctx context.Context, k *chunk) error {
	w.check(k)
	for _, version := range w.in.versions {
		if err := w.index(ctx, version); err != nil {
			return err
		}
	}
	if w.in.rows != nil && !w.in.objections.any() { // else they are refused, and a serial that isn't one stays off the disk
		if err := w.seal(k); err != nil {
			return err
		}
	}
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	w.in.add(&w.findings)
	return nil
}

// check finds what is wrong with rows as they stand, and the canonical form of
// what is right.
func (w *worker) check(k *chunk) {
	w.values = w.values[:0]
	canon := w.canon.Bytes()[:0]
	for r := range k.rows {
		row := k.first + r
		if err := checkSerial(k.cell(r, 0)); err != nil {
			w.in.objections.add(hit{row: uint32(row), place: noPlace, kind: badSerial, text: err.Error()})
		}
		first := len(w.values)
		for i, place := range w.in.places {
			spec, cell := &w.in.product.Credentials[place], k.cell(r, i+1)
			start := len(canon)
			end, err := appendCanonical(canon, spec.Kind.class(), cell)
			if err == nil {
				err = spec.check(cell)
			}
			if err != nil {
				w.in.objections.add(hit{row: uint32(row), place: int16(place), kind: badFormat, text: err.Error()})
				continue
			}
			canon = end
			v := canonical{row, int(place), canon[start:]}
			for _, other := range w.values[first:] {
				if bytes.Equal(other.bytes, v.bytes) {
					w.in.objections.add(hit{row: uint32(row), place: int16(place), kind: sameRow, first: uint32(row), other: uint8(other.place)})
					break
				}
			}
			w.values = append(w.values, v)
		}
	}
}

// check holds a value to the profile. A text that shows the value is replaced.
func (s Spec) check(value []byte) error {
	if s.Check == nil {
		return nil
	}
	err := s.Check(value)
	if err != nil && bytes.Contains([]byte(err.Error()), value) {
		return errors.New("value is not what the profile asks for")
	}
	return err
}

// checkSerial is ParseSerial for bytes that may, by mistake, be a credential.
func checkSerial(b []byte) error {
	if len(b) == 0 || len(b) > MaxSerial {
		return fmt.Errorf("serial has %d characters, want 1 to %d", len(b), MaxSerial)
	}
	for _, c := range b {
		if !nameRune(rune(c)) {
			return errors.New("serial has another character than A-Z, a-z, 0-9 and - _ . : /")
		}
	}
	return nil
}

// index computes the indexes of all values under one key version.
func (w *worker) index(ctx context.Context, version uint32) error {
	size := 0
	for _, v := range w.values {
		size += 2 * (messageSize(w.in.product.ID) + len(v.bytes))
	}
	w.sums.reset(size)
	for _, v := range w.values {
		spec := &w.in.product.Credentials[v.place]
		w.sums.add(version, spec.Kind.class(), spec.scope(w.in.product.ID), v.bytes)
		if spec.ProductScope {
			w.sums.add(version, spec.Kind.class(), "", v.bytes)
		}
	}
	out, err := w.sums.sum(ctx, w.in.keys, version)
	if err != nil {
		return err
	}
	narrow, wide := &w.older, &w.wider
	if version == w.in.version() {
		narrow, wide = &w.claims, &w.wide
	}
	for _, v := range w.values {
		e := entry{Index(out[0][:16]), uint32(v.row), uint8(v.place)}
		*narrow, out = append(*narrow, e), out[1:]
		if w.in.product.Credentials[v.place].ProductScope {
			e.index = Index(out[0][:16])
			*wide, out = append(*wide, e), out[1:]
		}
	}
	return nil
}

// seal encrypts the rows, as the file has them, and writes them.
func (w *worker) seal(k *chunk) error {
	w.sealed, w.starts = w.sealed[:0], w.starts[:0]
	for r := range k.rows {
		plain := w.plain.Bytes()[:0]
		for i := range w.in.places {
			plain = appendPlain(plain, k.cell(r, i+1))
		}
		w.starts = append(w.starts, len(w.sealed))
		w.sealed = w.in.rows.box.seal(w.sealed, w.in.rows.first-1+k.first+r, k.cell(r, 0), padRow(plain))
	}
	return w.in.rows.add(k.first, w.sealed, w.starts)
}

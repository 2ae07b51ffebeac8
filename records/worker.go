package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"mintmark/hsm/secret"
)

// A worker checks, indexes and seals the rows of chunks. Its buffers are secret
// memory.
type worker struct {
	in      *intake
	columns []column
	sums    summer
	canon   *secret.Value
	plain   *secret.Value
	box     rowBox
	sealed  []byte // boxes, no secret
	values  []canonical

	found [foundKinds][]entry // in the chunk under way
}

// A column is an imported credential, with the heads of its messages under the
// key version under way.
type column struct {
	*Spec
	place      uint8
	class      Class
	head, wide []byte
}

// A canonical is the canonical form of a value, in worker.canon.
type canonical struct {
	row    uint32
	column uint8 // in worker.columns
	bytes  []byte
}

func newWorker(in *intake) *worker {
	cells := (1 + len(in.places)) * (maxCell + 2)
	w := &worker{in: in, canon: secret.New(chunkSize(1 + len(in.places))), plain: secret.New(cells + rowPad)}
	for _, place := range in.places {
		spec := &in.product.Credentials[place]
		w.columns = append(w.columns, column{Spec: spec, place: place, class: spec.Kind.class()})
	}
	if in.rows != nil {
		w.box = in.rows.box
	}
	return w
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
	w.in.keep(&w.found)
	w.found = [foundKinds][]entry{}
	return nil
}

// breathe lets another goroutine run, in every 256th turn of a loop: on a machine
// with few cores an import would keep live claims waiting for milliseconds.
func breathe(turn int) {
	if turn%256 == 0 {
		runtime.Gosched()
	}
}

// check finds what is wrong with rows as they stand, and the canonical form of
// what is right.
func (w *worker) check(k *chunk) {
	w.values = w.values[:0]
	canon := w.canon.Bytes()[:0]
	for r := range k.rows {
		breathe(r)
		row := uint32(k.first + r)
		if err := checkSerial(k.cell(r, 0)); err != nil {
			w.in.objections.add(hit{row: row, place: noPlace, kind: badSerial, text: err.Error()})
		}
		first := len(w.values)
		for i := range w.columns {
			c, cell := &w.columns[i], k.cell(r, i+1)
			start := len(canon)
			end, err := appendCanonical(canon, c.class, cell)
			if err == nil {
				err = c.check(cell)
			}
			if err != nil {
				w.in.objections.add(hit{row: row, place: int16(c.place), kind: badFormat, text: err.Error()})
				continue
			}
			canon = end
			v := canonical{row, uint8(i), canon[start:]}
			for _, other := range w.values[first:] {
				if bytes.Equal(other.bytes, v.bytes) {
					w.in.objections.add(hit{row: row, place: int16(c.place), kind: sameRow, first: row, other: w.columns[other.column].place})
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
	for i := range w.columns {
		c := &w.columns[i]
		c.head = appendHead(c.head[:0], version, c.class, c.scope(w.in.product.ID))
		c.wide = appendHead(c.wide[:0], version, c.class, "")
	}
	size := 0
	for _, v := range w.values {
		size += 2 * (messageSize(w.in.product.ID) + len(v.bytes))
	}
	w.sums.reset(size)
	for _, v := range w.values {
		c := &w.columns[v.column]
		w.sums.add(c.head, v.bytes)
		if c.ProductScope {
			w.sums.add(c.wide, v.bytes)
		}
	}
	out, err := w.sums.sum(ctx, w.in.keys, version)
	if err != nil {
		return err
	}
	w.note(version, out)
	return nil
}

// note turns the sums of all values into entries.
func (w *worker) note(version uint32, sums [][32]byte) {
	narrow, broad := &w.found[foundOlder], &w.found[foundWider]
	if version == w.in.version() {
		narrow, broad = &w.found[foundClaims], &w.found[foundWide]
	}
	*narrow = slices.Grow(*narrow, len(w.values))
	for _, v := range w.values {
		c := &w.columns[v.column]
		e := entry{Index(sums[0][:16]), v.row, c.place}
		*narrow, sums = append(*narrow, e), sums[1:]
		if c.ProductScope {
			e.index = Index(sums[0][:16])
			*broad, sums = append(*broad, e), sums[1:]
		}
	}
}

// seal encrypts the rows, as the file has them, and writes them.
func (w *worker) seal(k *chunk) error {
	w.sealed = w.sealed[:0]
	starts := make([]uint32, k.rows)
	for r := range starts {
		breathe(r)
		plain := w.plain.Bytes()[:0]
		for i := range w.columns {
			plain = appendPlain(plain, k.cell(r, i+1))
		}
		starts[r] = uint32(len(w.sealed))
		w.sealed = w.box.seal(w.sealed, w.in.rows.first-1+k.first+r, k.cell(r, 0), padRow(plain))
	}
	return w.in.rows.add(k.first, w.sealed, starts)
}

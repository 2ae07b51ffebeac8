package records

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// An ownerRef says for whom an index was claimed. It never changes.
type ownerRef struct {
	Batch      uint32
	Row        uint32 // data row from 1 for an imported or historical claim, else 0
	Position   uint8  // which credential: its place in the batch's Names
	KeyVersion uint32 // version of the index key that made the index
	Attempt    uint32 // attempt of the device, for a generated claim
	Serial     string // for a generated claim
}

const ownerSize = 17

func (o ownerRef) encode() []byte {
	b := make([]byte, 0, ownerSize+len(o.Serial))
	b = binary.BigEndian.AppendUint32(b, o.Batch)
	b = binary.BigEndian.AppendUint32(b, o.Row)
	b = append(b, o.Position)
	b = binary.BigEndian.AppendUint32(b, o.KeyVersion)
	b = binary.BigEndian.AppendUint32(b, o.Attempt)
	return append(b, o.Serial...)
}

func decodeOwner(b []byte) (ownerRef, error) {
	if len(b) < ownerSize {
		return ownerRef{}, fmt.Errorf("claim has %d bytes, want at least %d", len(b), ownerSize)
	}
	return ownerRef{
		Batch:      binary.BigEndian.Uint32(b),
		Row:        binary.BigEndian.Uint32(b[4:]),
		Position:   b[8],
		KeyVersion: binary.BigEndian.Uint32(b[9:]),
		Attempt:    binary.BigEndian.Uint32(b[13:]),
		Serial:     string(b[ownerSize:]),
	}, nil
}

// owner turns o into what may be shown.
func (o ownerRef) owner(g getter) (Owner, error) {
	b, err := getBatch(g, o.Batch)
	if err != nil {
		return Owner{}, err
	}
	w := Owner{Batch: b.Name, Row: int(o.Row), Serial: o.Serial}
	if int(o.Position) < len(b.Names) {
		w.Credential = b.Names[o.Position]
	}
	return w, nil
}

// claim makes i used for ever, or returns a *ReuseError that names the first
// owner.
func (t *txn) claim(i Index, o ownerRef) error {
	first, found, err := t.claimOwner(i)
	if err != nil {
		return err
	}
	if found {
		return t.reuse(first)
	}
	if t.claims == nil {
		t.claims = map[Index]ownerRef{}
	}
	t.claims[i] = o
	t.count.add(i)
	return nil
}

// claimOwner returns who claimed i, if anyone did, as the operation sees it.
func (t *txn) claimOwner(i Index) (ownerRef, bool, error) {
	if o, ok := t.claims[i]; ok {
		return o, true, nil
	}
	if o, ok := t.g.claims[i]; ok {
		return o, true, nil
	}
	return t.known().find(i)
}

// reuse refuses a claim and names the first owner, also one of an import that is
// being judged, whose batch is not in the ledger yet.
func (t *txn) reuse(first ownerRef) error {
	w, err := first.owner(t)
	if g := t.known().pending; errors.Is(err, ErrNotFound) && g != nil {
		w, err = Owner{Batch: g.pending, Row: int(first.Row)}, nil
	}
	if err != nil {
		return err
	}
	return &ReuseError{Credential: w.Credential, First: w}
}

// wideKey is the key of a second, ledger-wide index of a value whose scope is
// narrower. Values of several owners may have the same one.
func wideKey(i Index, o ownerRef) []byte {
	k := append([]byte{keyWide}, i[:]...)
	k = binary.BigEndian.AppendUint32(k, o.Batch)
	k = binary.BigEndian.AppendUint32(k, o.Row)
	return append(k, o.Serial...)
}

// noteWide records a value of a narrower scope for reports; it never refuses.
func (t *txn) noteWide(i Index, o ownerRef) { t.set(wideKey(i, o), o.encode()) }

// A claimCount is the number of claims and the sum of their indexes modulo
// 2^128, by which Open finds a claim that the store lost or made up.
type claimCount struct {
	n      uint64
	hi, lo uint64
}

func (c *claimCount) add(i Index) {
	c.plus(claimCount{1, binary.BigEndian.Uint64(i[:]), binary.BigEndian.Uint64(i[8:])})
}

func (c *claimCount) sub(i Index) {
	hi, lo := binary.BigEndian.Uint64(i[:]), binary.BigEndian.Uint64(i[8:])
	var borrow uint64
	c.lo, borrow = bits.Sub64(c.lo, lo, 0)
	c.hi, _ = bits.Sub64(c.hi, hi, borrow)
	c.n--
}

// plus adds d, which may be the outcome of subtractions: all of it is modulo
// a power of two.
func (c *claimCount) plus(d claimCount) {
	var carry uint64
	c.lo, carry = bits.Add64(c.lo, d.lo, 0)
	c.hi, _ = bits.Add64(c.hi, d.hi, carry)
	c.n += d.n
}

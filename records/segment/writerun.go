package segment

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// Run begins a run. Its owners follow, at least one.
func (w *Writer) Run(r Run) error {
	w.beginRun(r)
	return w.err
}

func (w *Writer) beginRun(r Run) {
	if w.err == nil && w.section != nil {
		w.flush()
		w.section = nil
	}
	w.endRun()
	switch {
	case w.err != nil:
	case len(r.Product) > math.MaxUint8:
		w.err = fmt.Errorf("write segment %s: product has %d bytes, want at most 255", w.path, len(r.Product))
	case len(r.Narrow) > math.MaxUint8 || !ascending(r.Narrow):
		w.err = fmt.Errorf("write segment %s: places %v of a run don't ascend", w.path, r.Narrow)
	default:
		r.FirstOwner, r.Owners = w.footer.owners, 0
		w.footer.runs = append(w.footer.runs, run{Run: r})
	}
}

// endRun writes the last block of owners of the run before.
func (w *Writer) endRun() {
	w.flushOwners()
	if r := w.run(); w.err == nil && r != nil && r.Owners == 0 {
		w.err = fmt.Errorf("write segment %s: a run has no owners", w.path)
	}
}

// run returns the run that is being written, or nil.
func (w *Writer) run() *run {
	if n := len(w.footer.runs); n > 0 {
		return &w.footer.runs[n-1]
	}
	return nil
}

// Owner appends an owner to the run. Serials ascend; equal ones may follow each
// other unless they are devices.
func (w *Writer) Owner(serial []byte, row, attempt uint32) error {
	if w.err == nil {
		w.err = w.owner(rawOwner{serial, row, attempt})
	}
	return w.err
}

func (w *Writer) owner(o rawOwner) error {
	r := w.run()
	switch {
	case r == nil:
		return fmt.Errorf("write segment %s: an owner before the first run", w.path)
	case len(o.serial) > math.MaxUint8:
		return fmt.Errorf("write segment %s: serial has %d bytes, want at most 255", w.path, len(o.serial))
	case r.Owners > 0 && !r.follows(bytes.Compare(o.serial, w.before.serial)):
		return fmt.Errorf("write segment %s: owner %d of a run is not above the one before", w.path, r.Owners)
	case w.footer.owners == math.MaxUint32:
		return fmt.Errorf("%w: more than 2^32 owners", ErrTooLarge)
	}
	b := appendOwner(w.owners, w.before, o)
	if len(w.owners) == 0 || len(b)+4 > blockSize {
		w.flushOwners()
		b = appendOwner(w.owners[:0], rawOwner{}, o)
		r.blocks = append(r.blocks, ownerBlock{first: string(o.serial), number: r.Owners})
	}
	w.owners = b
	w.before.serial, w.before.row = append(w.before.serial[:0], o.serial...), o.row
	r.blocks[len(r.blocks)-1].owners++
	r.Owners++
	w.footer.owners++
	return w.err
}

// flushOwners writes the block of owners, if there are any.
func (w *Writer) flushOwners() {
	if len(w.owners) == 0 || w.err != nil {
		return
	}
	b := &w.run().blocks[len(w.run().blocks)-1]
	w.owners = binary.BigEndian.AppendUint32(w.owners, checksum(ownerKind, b.number, w.owners))
	b.length = uint16(len(w.owners))
	w.write(w.owners)
	w.owners = w.owners[:0]
}

// copyOwners appends a block of owners to the run as it is in another segment.
func (w *Writer) copyOwners(b ownerBlock, raw []byte) {
	r := w.run()
	r.blocks = append(r.blocks, b)
	r.Owners += uint32(b.owners)
	w.footer.owners += uint32(b.owners)
	w.write(raw)
}

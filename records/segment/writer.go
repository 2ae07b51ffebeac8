package segment

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// A Writer writes a segment: first claims, then wide entries, then runs with
// their owners. After an error it is of no more use. It is ended by Finish or
// Discard, whichever is first; the other one may be called too.
type Writer struct {
	disk   Disk
	path   string
	file   *os.File // nil once ended
	digest *digest
	chunk  []byte // not yet written
	size   int64  // with the chunk
	footer footer
	err    error // the first

	section *section // being written; nil once there are runs
	order   order
	block   [blockSize]byte
	n       int // entries in block
	highest int64

	owners []byte   // the owner block being filled
	before rawOwner // the last one of the run
}

// Create makes a file for a segment. There must be none of that name.
func Create(path string) (*Writer, error) { return Disk{}.Create(path) }

// Create is the package's Create, on d.
func (d Disk) Create(path string) (*Writer, error) {
	w := &Writer{disk: d, path: path, highest: -1}
	err := d.do("create", path, func() (err error) {
		w.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		return err
	})
	if err != nil && w.file != nil { // made, but reported as failed
		err = errors.Join(err, w.file.Close(), os.Remove(path))
	}
	if err != nil {
		return nil, err
	}
	w.footer.claims.kind, w.footer.wide.kind = claimKind, wideKind
	w.section = &w.footer.claims
	w.digest = newDigest()
	w.chunk = w.digest.chunk()
	return w, nil
}

// Claims appends claims, whose indexes ascend strictly, over all calls. An owner's
// number counts from 0 over all runs that are to follow.
func (w *Writer) Claims(entries []Entry) error { return w.entries(claimKind, entries) }

// Wide appends ledger-wide indexes of values whose scope is narrower. They ascend,
// and equal ones may follow each other.
func (w *Writer) Wide(entries []Entry) error { return w.entries(wideKind, entries) }

func (w *Writer) entries(kind byte, entries []Entry) error {
	w.begin(kind)
	for i := range entries {
		if w.err != nil {
			break
		}
		e := &entries[i]
		hi, lo := halves(e.Index)
		w.add(hi, lo, e.Owner, e.Place)
	}
	return w.err
}

// begin ends the section before, if kind is another one.
func (w *Writer) begin(kind byte) {
	switch {
	case w.err != nil || w.section != nil && w.section.kind == kind:
	case w.section == nil || kind == claimKind:
		w.err = fmt.Errorf("write segment %s: claims, wide entries and runs come in this order", w.path)
	default:
		w.flush()
		w.order = order{equal: true}
		w.section = &w.footer.wide
	}
}

// add appends an entry to the section.
func (w *Writer) add(hi, lo uint64, owner uint32, place uint8) {
	if !w.order.next(hi, lo) {
		w.err = fmt.Errorf("write segment %s: an index is not above the one before", w.path)
		return
	}
	w.highest = max(w.highest, int64(owner))
	b := w.block[w.n*entrySize:][:entrySize]
	binary.BigEndian.PutUint64(b, hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	binary.BigEndian.PutUint32(b[16:], owner)
	b[20] = place
	if w.n++; w.n == perBlock {
		w.flush()
	}
}

// flush writes the block of entries, if there are any.
func (w *Writer) flush() {
	n, s := w.n, w.section
	w.n = 0
	if n == 0 || w.err != nil {
		return
	}
	e := Entries(w.block[:n*entrySize])
	s.count += uint64(n)
	s.fences = append(s.fences, e.Top(0))
	if s.kind == claimKind {
		w.footer.sumHi, w.footer.sumLo = sum(w.footer.sumHi, w.footer.sumLo, e)
	}
	s.seal(w.block[:], n)
	w.write(w.block[:])
}

// write appends b to the file, by way of the chunk.
func (w *Writer) write(b []byte) {
	w.size += int64(len(b))
	for len(b) > 0 && w.err == nil {
		n := min(len(b), chunkSize-len(w.chunk))
		w.chunk, b = append(w.chunk, b[:n]...), b[n:]
		if len(w.chunk) == chunkSize {
			w.writeChunk()
		}
	}
}

func (w *Writer) writeChunk() {
	w.err = w.disk.do("write", w.path, func() error {
		_, err := w.file.Write(w.chunk)
		return err
	})
	w.digest.put(w.chunk)
	w.chunk = w.digest.chunk()
}

// Finish writes the footer and makes the file durable. When it fails the file is
// removed, as far as that goes.
func (w *Writer) Finish() (Manifest, error) {
	if w.file == nil {
		return Manifest{}, w.err
	}
	footer := w.writeFooter()
	if w.err == nil {
		w.err = w.disk.do("sync", w.path, w.file.Sync)
	}
	if w.err != nil {
		return Manifest{}, errors.Join(w.err, w.Discard())
	}
	m := Manifest{Footer: footer, Size: w.size, Sum: w.digest.sum()}
	err := w.close()
	if err == nil {
		err = w.disk.do("sync folder", w.path, func() error { return syncDir(filepath.Dir(w.path)) })
	}
	if err != nil {
		return Manifest{}, errors.Join(err, w.remove())
	}
	return m, nil
}

// writeFooter writes what is left, the footer, which it returns, and the tail.
func (w *Writer) writeFooter() []byte {
	if w.section != nil {
		w.flush()
	}
	w.endRun()
	if w.err == nil && w.highest >= int64(w.footer.owners) {
		w.err = fmt.Errorf("write segment %s: an entry has owner %d, there are %d", w.path, w.highest, w.footer.owners)
	}
	b := w.footer.encode()
	if w.err == nil && len(b) > MaxFooter {
		w.err = fmt.Errorf("%w: its footer has %d bytes, want at most %d", ErrTooLarge, len(b), MaxFooter)
	}
	w.write(b)
	w.write(tail(b))
	if w.err == nil {
		w.writeChunk()
	}
	return b
}

// Discard closes and removes the file if it isn't finished.
func (w *Writer) Discard() error {
	if w.file == nil {
		return nil
	}
	w.digest.sum()
	return errors.Join(w.close(), w.remove())
}

// close closes the file, after which nothing can be written.
func (w *Writer) close() error {
	err := w.disk.do("close", w.path, w.file.Close)
	w.file, w.err = nil, cmp.Or(w.err, os.ErrClosed)
	return err
}

func (w *Writer) remove() error {
	return w.disk.do("remove", w.path, func() error { return os.Remove(w.path) })
}

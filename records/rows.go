package records

import (
	"bytes"
	"cmp"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"mintmark/hsm/secret"
)

// A row file holds the waiting rows of one import, each in an AEAD box of its
// own; docs/ledger-index.md has its bytes. It is made with the name of its key's
// object in it before that object exists, so that a crash leaves no object that
// nobody knows of.
const (
	rowMagic = "mintmark rows 1\n"
	partial  = ".part" // end of the name while it is written
	rowPad   = 64      // boxes grow by this much, so that they hardly show lengths
)

// An importRecord is one import into a batch: the first, or a replacement.
type importRecord struct {
	First     int      `cbor:"1,keyasint"` // row of the batch that its first row is
	Rows      int      `cbor:"2,keyasint"`
	Columns   []uint8  `cbor:"3,keyasint"` // its credentials, as places in Names
	Digest    [32]byte `cbor:"4,keyasint"` // keyed digest of the file's content
	Version   uint32   `cbor:"5,keyasint"` // of the index key that made Digest
	Elsewhere int      `cbor:"6,keyasint,omitempty"`
	By        string   `cbor:"7,keyasint"`
	Admitted  bool     `cbor:"8,keyasint,omitempty"` // else its claims don't count and are swept
	Applied   bool     `cbor:"9,keyasint,omitempty"` // its serials have their rows

	// Of the row file. No object: no rows wait.
	Object string   `cbor:"10,keyasint,omitempty"`
	Key    []byte   `cbor:"11,keyasint,omitempty"` // wrapped
	Size   int64    `cbor:"12,keyasint,omitempty"`
	Sum    [32]byte `cbor:"13,keyasint"` // SHA-256 of the file
}

// rowPath names the row file of an import.
func (l *Ledger) rowPath(batch uint32, first int) string {
	name := fmt.Sprintf("%d.rows", batch)
	if first > 1 {
		name = fmt.Sprintf("%d-%d.rows", batch, first)
	}
	return filepath.Join(l.dir, "rows", name)
}

// A rowWriter writes a row file. Its methods but seal are for one goroutine at a
// time.
type rowWriter struct {
	l       *Ledger
	path    string
	object  string
	wrapped []byte
	box     rowBox
	first   int

	mu   sync.Mutex // guards below
	f    *os.File
	size int64
	sum  hash.Hash
	runs []rowRun
	told int64 // how much the kernel was asked to write already
}

// A rowRun is where rows that were written together begin.
type rowRun struct {
	row    int // the first one, from 1
	at     int64
	starts []uint32 // of each, from at
}

// createRows makes the row file of an import and the key of its rows.
func (l *Ledger) createRows(ctx context.Context, batch uint32, first int) (*rowWriter, error) {
	if l.rows == nil {
		return nil, errNoRowKeys
	}
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return nil, err
	}
	w := &rowWriter{
		l: l, path: l.rowPath(batch, first), first: first, sum: sha256.New(),
		object: fmt.Sprintf("%s%d-%s", l.rowObjects(), batch, hex.EncodeToString(random[:])),
	}
	if err := w.discard(ctx); err != nil { // a file that was kept names a key that lives
		return nil, fmt.Errorf("discard rows of an earlier import: %w", err)
	}
	if err := w.create(ctx, batch); err != nil {
		return nil, errors.Join(fmt.Errorf("create row file: %w", err), w.discard(ctx))
	}
	return w, nil
}

// rowObjects begins the name of every object that this ledger made in its
// present epoch. A restored copy leaves those of the original alone.
func (l *Ledger) rowObjects() string {
	return fmt.Sprintf("mintmark-%s-%d-", hex.EncodeToString(l.meta.ID[:6]), l.meta.Epoch)
}

var errNoRowKeys = errors.New("the ledger was opened without an authority for row keys")

func (w *rowWriter) create(ctx context.Context, batch uint32) error {
	dir := filepath.Dir(w.path)
	if err := w.l.durable("make rows folder", func() error {
		if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return syncDir(w.l.dir)
	}); err != nil {
		return err
	}
	if err := w.l.durable("create row file", func() (err error) {
		if w.f, err = os.OpenFile(w.path+partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
			return err
		}
		if err := w.write(appendRowHeader(nil, w.object)); err != nil {
			return err
		}
		return errors.Join(w.f.Sync(), syncDir(dir))
	}); err != nil {
		return err
	}
	var key *secret.Value
	if err := w.l.durable("make row key", func() (err error) {
		key, w.wrapped, err = w.l.rows.NewRowKey(ctx, w.object)
		return err
	}); err != nil {
		key.Close()
		return err
	}
	defer key.Close()
	var err error
	w.box, err = newRowBox(key, w.l.meta.ID, batch)
	return err
}

func appendRowHeader(dst []byte, object string) []byte {
	dst = append(dst, rowMagic...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(object)))
	return append(dst, object...)
}

func (w *rowWriter) write(b []byte) error {
	if _, err := w.f.Write(b); err != nil {
		return fmt.Errorf("write rows: %w", err)
	}
	w.sum.Write(b)
	w.size += int64(len(b))
	return nil
}

// writeBehind is how many bytes the kernel may hold back before it is asked to
// write them: the sync at the end then has little to do, and those of live claims
// meanwhile don't wait behind it.
const writeBehind = 8 << 20

// add writes sealed rows; starts has where each begins in b and is the writer's
// from now on. Chunks may come in any order.
func (w *rowWriter) add(row int, b []byte, starts []uint32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.l.space.spare(int64(len(b))); err != nil {
		return err
	}
	w.runs = append(w.runs, rowRun{row, w.size, starts})
	if err := w.write(b); err != nil || w.size-w.told < writeBehind {
		return err
	}
	// What fails or isn't done here is done, and reported, by the sync at the end.
	_ = unix.SyncFileRange(int(w.f.Fd()), w.told, w.size-w.told, unix.SYNC_FILE_RANGE_WRITE)
	w.told = w.size
	return nil
}

// table writes where each row begins, in the order of rows.
func (w *rowWriter) table() error {
	slices.SortFunc(w.runs, func(a, b rowRun) int { return cmp.Compare(a.row, b.row) })
	var table []byte
	for i, r := range w.runs {
		for _, s := range r.starts {
			table = binary.BigEndian.AppendUint64(table, uint64(r.at)+uint64(s))
		}
		if last := i == len(w.runs)-1; last || len(table) >= 256<<10 {
			if err := w.write(table); err != nil {
				return err
			}
			table = table[:0]
		}
	}
	return nil
}

// finish makes the row file durable under its name and describes it in rec.
func (w *rowWriter) finish(rec *importRecord) error {
	if err := w.table(); err != nil {
		return err
	}
	if err := w.l.durable("sync row file", w.f.Sync); err != nil {
		return fmt.Errorf("sync rows: %w", err)
	}
	err := w.f.Close()
	w.f = nil
	if err != nil {
		return fmt.Errorf("close rows: %w", err)
	}
	if err := w.l.durable("name row file", func() error {
		if err := os.Rename(w.path+partial, w.path); err != nil {
			return err
		}
		return syncDir(filepath.Dir(w.path))
	}); err != nil {
		return fmt.Errorf("name row file: %w", err)
	}
	rec.Object, rec.Key, rec.Size = w.object, w.wrapped, w.size
	w.sum.Sum(rec.Sum[:0])
	return nil
}

// discard destroys the key and the file of an import that was not admitted.
func (w *rowWriter) discard(ctx context.Context) error {
	if w.f != nil {
		w.f.Close() // it is thrown away
		w.f = nil
	}
	ctx = context.WithoutCancel(ctx)
	return errors.Join(w.l.discardRows(ctx, w.path+partial), w.l.discardRows(ctx, w.path))
}

// discardRows destroys a row file that belongs to no admitted import, and the
// object of its key. A file that isn't there is fine. While the authority is
// away the file stays, because it names the object; the next open tries again.
func (l *Ledger) discardRows(ctx context.Context, path string) error {
	object, err := readRowHeader(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if object != "" && strings.HasPrefix(object, l.rowObjects()) {
		if l.rows == nil {
			return errNoRowKeys
		}
		if err := l.durable("destroy row key", func() error {
			_, err := l.rows.Shred(ctx, object)
			return err
		}); err != nil {
			return fmt.Errorf("destroy row key %s: %w", object, err)
		}
	}
	return l.removeRows(path)
}

// removeRows deletes a row file. One that is gone is fine.
func (l *Ledger) removeRows(path string) error {
	return l.durable("remove row file", func() error {
		l.rowsStay.Lock()
		defer l.rowsStay.Unlock()
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return syncDir(filepath.Dir(path))
	})
}

// readRowHeader returns the object that a row file names. It is empty if a crash
// cut the header off: then there is no object yet.
func readRowHeader(path string) (object string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close() // it was only read
	head := make([]byte, len(rowMagic)+2+256)
	n, err := io.ReadFull(f, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", err
	}
	rest, ok := bytes.CutPrefix(head[:n], []byte(rowMagic))
	if !ok || len(rest) < 2 || len(rest) < 2+int(binary.BigEndian.Uint16(rest)) {
		return "", nil
	}
	return string(rest[2:][:binary.BigEndian.Uint16(rest)]), nil
}

// A rowBox seals and opens rows of one import. A copy of it is for one goroutine.
// The expanded key lies on the Go heap, see docs/secrets.md.
type rowBox struct {
	aead  cipher.AEAD
	about [20]byte // ledger id and batch number
	room  []byte   // for terms
}

func newRowBox(key *secret.Value, ledger [16]byte, batch uint32) (rowBox, error) {
	block, err := aes.NewCipher(key.Bytes())
	if err != nil {
		return rowBox{}, fmt.Errorf("row key: %w", err)
	}
	b := rowBox{}
	b.aead, err = cipher.NewGCM(block)
	copy(b.about[:], ledger[:])
	binary.BigEndian.PutUint32(b.about[16:], batch)
	return b, err
}

// terms returns the nonce, which is the row since every import has a key of its
// own, and the associated data: ledger, batch, row, serial. They are valid until
// the next call.
func (b *rowBox) terms(row int, serial []byte) (nonce, about []byte) {
	buf := binary.BigEndian.AppendUint64(append(b.room[:0], 0, 0, 0, 0), uint64(row))
	buf = binary.BigEndian.AppendUint32(append(buf, b.about[:]...), uint32(row))
	b.room = append(buf, serial...)
	return b.room[:12:12], b.room[12:]
}

// seal appends a row to dst as it is in the file.
func (b *rowBox) seal(dst []byte, row int, serial, plain []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(1+len(serial)+len(plain)+b.aead.Overhead()))
	dst = append(append(dst, byte(len(serial))), serial...)
	nonce, about := b.terms(row, serial)
	return b.aead.Seal(dst, nonce, plain, about)
}

// appendPlain appends one value of a row, and padRow ends the row.
func appendPlain(dst, value []byte) []byte {
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(value))), value...)
}

func padRow(dst []byte) []byte {
	var zeros [rowPad]byte
	return append(dst, zeros[:(rowPad-len(dst)%rowPad)%rowPad]...)
}

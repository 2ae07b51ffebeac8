package records

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"mintmark/hsm/secret"
)

// openRow decrypts the row that waits for a serial, or returns ErrNotFound if it
// is recoverable no more. The caller closes the values.
func (l *Ledger) openRow(ctx context.Context, batch uint32, row int, serial string) (map[string]*secret.Value, error) {
	var b *batchRecord
	if err := l.view(func(r reader) (err error) { b, err = getBatch(r, batch); return err }); err != nil {
		return nil, err
	}
	rec := b.importOf(row)
	if rec == nil || rec.Object == "" {
		return nil, fmt.Errorf("row %d of batch %s: %w", row, b.Name, ErrNotFound)
	}
	if l.rows == nil {
		return nil, errNoRowKeys
	}
	_, sealed, err := l.readRow(batch, rec, row)
	if err != nil {
		return nil, fmt.Errorf("row %d of batch %s: %w", row, b.Name, err)
	}
	key, err := l.rows.RowKey(ctx, rec.Object, rec.Key)
	if err != nil {
		return nil, fmt.Errorf("row key of batch %s: %w", b.Name, err)
	}
	defer key.Close()
	box, err := newRowBox(key, l.meta.ID, batch)
	if err != nil {
		return nil, err
	}
	plain := secret.New(len(sealed))
	defer plain.Close()
	nonce, about := box.terms(row, []byte(serial))
	open, err := box.aead.Open(plain.Bytes()[:0], nonce, sealed, about)
	if err != nil {
		return nil, fmt.Errorf("row %d of batch %s is damaged: %w", row, b.Name, err)
	}
	return b.splitRow(rec, open)
}

// importOf returns the admitted import that brought a row, or nil.
func (b *batchRecord) importOf(row int) *importRecord {
	for i := range b.Imports {
		if rec := &b.Imports[i]; rec.Admitted && row >= rec.First && row < rec.First+rec.Rows {
			return rec
		}
	}
	return nil
}

func (b *batchRecord) splitRow(rec *importRecord, plain []byte) (map[string]*secret.Value, error) {
	values := map[string]*secret.Value{}
	for _, place := range rec.Columns {
		n := -1
		if len(plain) >= 2 {
			n = int(binary.BigEndian.Uint16(plain))
		}
		if n < 0 || len(plain) < 2+n || int(place) >= len(b.Names) {
			for _, v := range values {
				v.Close()
			}
			return nil, fmt.Errorf("a row of batch %s has not the credentials it should have", b.Name)
		}
		values[b.Names[place]], plain = secret.Join(plain[2:2+n]), plain[2+n:]
	}
	return values, nil
}

// readRow reads one row as it is in the file.
func (l *Ledger) readRow(batch uint32, rec *importRecord, row int) (serial, sealed []byte, err error) {
	f, err := os.Open(l.rowPath(batch, rec.First))
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() // it was only read
	var n [8]byte
	if _, err := f.ReadAt(n[:], rec.Size-8*int64(rec.Rows)+8*int64(row-rec.First)); err != nil {
		return nil, nil, err
	}
	return readRowAt(f, int64(binary.BigEndian.Uint64(n[:])))
}

var errRowDamaged = errors.New("row file is damaged")

func readRowAt(f io.ReaderAt, at int64) (serial, sealed []byte, err error) {
	var n [4]byte
	if _, err := f.ReadAt(n[:], at); err != nil {
		return nil, nil, errRowDamaged
	}
	size := binary.BigEndian.Uint32(n[:])
	if size > 1<<20 || size < 1 {
		return nil, nil, errRowDamaged
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, at+4); err != nil || len(b) < 1+int(b[0]) {
		return nil, nil, errRowDamaged
	}
	return b[1:][:b[0]], b[1+int(b[0]):], nil
}

// rowFiles checks that the rows that wait are as they were admitted. Those of a
// batch that is being closed may be gone.
func (v *verifier) rowFiles(l *Ledger) error {
	batches, err := l.batchRecords()
	if err != nil {
		return err
	}
	for _, b := range batches {
		for _, rec := range b.Imports {
			if err := context.Cause(v.ctx); err != nil {
				return err
			}
			if !rec.Admitted || rec.Object == "" {
				continue
			}
			if problem := checkRowFile(l.rowPath(b.Number, rec.First), rec); problem != nil && !l.closing(b.Number) {
				v.problem("rows of batch %s: %v", b.Name, problem)
			}
		}
	}
	return nil
}

// closing says whether a batch is being closed or closed.
func (l *Ledger) closing(batch uint32) (closing bool) {
	err := l.view(func(r reader) error {
		b, err := getBatch(r, batch)
		closing = err == nil && (b.State == Closing || b.State == Closed)
		return err
	})
	return err == nil && closing
}

func checkRowFile(path string, rec importRecord) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	sum := sha256.New()
	if n, err := io.Copy(sum, f); err != nil {
		return err
	} else if n != rec.Size || [32]byte(sum.Sum(nil)) != rec.Sum {
		return fmt.Errorf("%w: it is not what was admitted", errRowDamaged)
	}
	return nil
}

package records

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// A backup is a stream: its magic, then frames, then the SHA-256 of all that is
// before it. A frame is a kind (1 byte), two lengths (4 bytes each) and as many
// bytes: header, key and value, part of a row file, end.
const (
	backupMagic   = "mintmark backup\x00"
	backupVersion = 2

	frameHeader = 'H' // backup version, CBOR header
	frameRecord = 'R' // key, value
	frameRows   = 'F' // name of a row file, part of it
	frameClaims = 'S' // name of a segment, part of it
	frameNamed  = 'L' // name of a segment, its SHA-256 and size; its bytes are in a file beside the backup
	frameEnd    = 'E' // number of records and of bytes in row files

	maxFrame = 2 << 20
	rowPart  = 1 << 20
)

// A backupHeader says what a backup is of.
type backupHeader struct {
	Version uint32   `cbor:"1,keyasint"` // of the backup's format
	Meta    meta     `cbor:"2,keyasint"`
	Group   uint64   `cbor:"3,keyasint"` // the newest in it
	Hash    [32]byte `cbor:"4,keyasint"`
}

// Backup writes a consistent, checksummed copy while the ledger runs. It carries
// no key in clear: waiting rows are in it as they are on disk.
func (l *Ledger) Backup(ctx context.Context, w io.Writer, progress func(done int64)) error {
	err := l.viewRows(func(r reader, rows []*os.File) error {
		o := &backupWriter{ctx: ctx, w: w, hash: sha256.New(), progress: progress}
		return o.write(r, rows)
	})
	if err != nil {
		return fmt.Errorf("back up ledger: %w", err)
	}
	return nil
}

// A backupWriter is one Backup under way.
type backupWriter struct {
	ctx      context.Context
	w        io.Writer
	hash     hash.Hash
	progress func(int64)
	into     *backupFolder // has the segments' bytes; nil: they are in the stream
	done     int64
	frames   int
	records  uint64
	bytes    uint64
}

func (o *backupWriter) write(r reader, rows []*os.File) error {
	val, _, err := r.get([]byte{keyMeta})
	if err != nil {
		return err
	}
	m, err := decode[meta](val)
	if err != nil {
		return err
	}
	last, err := r.lastGroup(m.ID)
	if err != nil {
		return err
	}
	if err := o.put([]byte(backupMagic)); err != nil {
		return err
	}
	if err := o.frame(frameHeader, nil, encode(backupHeader{backupVersion, *m, last.seq, last.hash})); err != nil {
		return err
	}
	if o.into != nil {
		if err := o.into.putAll(r, o); err != nil {
			return err
		}
	}
	if err := r.scan(nil, func(key, val []byte) error {
		o.records++
		return o.frame(frameRecord, key, val)
	}); err != nil {
		return err
	}
	if o.into == nil {
		if err := o.segments(r.set.segments); err != nil {
			return err
		}
	}
	if err := o.rowFiles(rows); err != nil {
		return err
	}
	end := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, o.records), o.bytes)
	if err := o.frame(frameEnd, nil, end); err != nil {
		return err
	}
	n, err := o.w.Write(o.hash.Sum(nil))
	o.done += int64(n)
	return err
}

func (o *backupWriter) put(b []byte) error {
	o.hash.Write(b)
	n, err := o.w.Write(b)
	o.done += int64(n)
	return err
}

func (o *backupWriter) frame(kind byte, a, b []byte) error {
	if err := context.Cause(o.ctx); err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(a)))
	head = binary.BigEndian.AppendUint32(head, uint32(len(b)))
	for _, part := range [][]byte{head, a, b} {
		if err := o.put(part); err != nil {
			return err
		}
	}
	if o.frames++; o.progress != nil && o.frames%1000 == 0 {
		o.progress(o.done)
	}
	return nil
}

// segments writes every segment.
func (o *backupWriter) segments(list []*numbered) error {
	for _, g := range list {
		name := []byte(filepath.Base(g.Path()))
		if err := g.Each(func(part []byte) error {
			o.bytes += uint64(len(part))
			return o.frame(frameClaims, name, part)
		}); err != nil {
			return err
		}
	}
	return nil
}

// rowFiles writes row files.
func (o *backupWriter) rowFiles(files []*os.File) error {
	for _, f := range files {
		if err := o.rowFile(f); err != nil {
			return err
		}
	}
	return nil
}

func (o *backupWriter) rowFile(f *os.File) error {
	name := []byte(filepath.Base(f.Name()))
	for b := make([]byte, rowPart); ; {
		n, err := io.ReadFull(f, b)
		if n > 0 {
			o.bytes += uint64(n)
			if err := o.frame(frameRows, name, b[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// viewRows is view with the row files that belong to that state, open for
// reading: a batch that is closed meanwhile unlinks its own.
func (l *Ledger) viewRows(f func(r reader, rows []*os.File) error) error {
	l.rowsStay.Lock()
	free := sync.OnceFunc(l.rowsStay.Unlock)
	defer free()
	return l.view(func(r reader) (err error) {
		rows, err := r.openRows(l)
		free()
		defer func() {
			for _, file := range rows {
				err = errors.Join(err, file.Close())
			}
		}()
		if err != nil {
			return err
		}
		return f(r, rows)
	})
}

// openRows opens the row files of all imports whose rows wait. That of a batch
// that is being closed may be gone.
func (r reader) openRows(l *Ledger) (rows []*os.File, err error) {
	err = r.scan([]byte{keyBatch}, func(_, val []byte) error {
		b, err := decode[batchRecord](val)
		if err != nil {
			return err
		}
		for _, rec := range b.Imports {
			if rec.Object == "" || !rec.Admitted {
				continue
			}
			file, err := os.Open(l.rowPath(b.Number, rec.First))
			if errors.Is(err, fs.ErrNotExist) {
				continue // Verify says whether it may be
			}
			if err != nil {
				return err
			}
			rows = append(rows, file)
		}
		return nil
	})
	return rows, err
}

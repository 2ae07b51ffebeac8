package records

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// Restore makes a ledger in dir, which must be empty, from a backup, and starts
// a new epoch: open attempts are burned, waiting rows and serial counters are
// frozen until [Ledger.Thaw]. Until it returns nil the folder can't be opened.
func Restore(ctx context.Context, dir string, r io.Reader, keys Keys, o Options, progress func(done int64)) error {
	if err := restore(ctx, dir, &backupReader{ctx: ctx, r: r, hash: sha256.New(), progress: progress}, keys, o); err != nil {
		return fmt.Errorf("restore ledger: %w", err)
	}
	return nil
}

func restore(ctx context.Context, dir string, in *backupReader, keys Keys, o Options) (err error) {
	h, err := in.header()
	if err != nil {
		return err
	}
	l, err := found(dir, head{schema: schema, ledger: h.Meta.ID, epoch: h.Meta.Epoch}, o)
	if err != nil {
		return err
	}
	l.keys, l.meta = keys, h.Meta
	running := false
	defer func() {
		if running {
			err = errors.Join(err, l.Close())
		} else {
			err = errors.Join(err, l.leave())
		}
	}()
	if err := l.checkKey(ctx); err != nil {
		return err
	}
	if err := l.fill(in); err != nil {
		return err
	}
	first := l.head.head
	first.seq, first.hash = h.Group, h.Hash
	if err := l.head.put(first); err != nil {
		return err
	}
	if err := l.check(ctx); err != nil {
		return err
	}
	next := l.head.head
	next.epoch = nextEpoch(next.epoch, l.now())
	if err := l.head.put(next); err != nil {
		return err
	}
	l.meta.Epoch = next.epoch
	l.start()
	running = true
	if err := l.migrate(ctx); err != nil {
		return err
	}
	if err := l.newEpoch(ctx); err != nil {
		return err
	}
	return publishHead(dir)
}

// nextEpoch numbers the life of a restored ledger. It takes the time in minutes, so
// that two restores of one backup differ: labels and key objects carry the epoch.
func nextEpoch(was uint32, now time.Time) uint32 {
	since := now.Sub(time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC))
	return max(was+1, uint32(max(since/time.Minute, 0)))
}

// A backupReader reads and checks a backup. Nothing that it returns is to be
// trusted before end.
type backupReader struct {
	ctx      context.Context
	r        io.Reader
	hash     hash.Hash
	progress func(int64)
	segments string // folder of the segments that are only named; empty: there is none
	total    int64  // bytes in stream and segments, as far as it is known
	done     int64
	frames   int
}

func (in *backupReader) read(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(in.r, b); err != nil {
		return nil, fmt.Errorf("backup is cut short: %w", err)
	}
	in.hash.Write(b)
	in.done += int64(n)
	return b, nil
}

func (in *backupReader) frame() (kind byte, a, b []byte, err error) {
	if err := context.Cause(in.ctx); err != nil {
		return 0, nil, nil, err
	}
	head, err := in.read(9)
	if err != nil {
		return 0, nil, nil, err
	}
	na, nb := binary.BigEndian.Uint32(head[1:]), binary.BigEndian.Uint32(head[5:])
	if na > maxFrame || nb > maxFrame {
		return 0, nil, nil, fmt.Errorf("backup is damaged: a frame of %d bytes, want at most %d", max(na, nb), maxFrame)
	}
	body, err := in.read(int(na + nb))
	if err != nil {
		return 0, nil, nil, err
	}
	if in.frames++; in.progress != nil && in.frames%1000 == 0 {
		in.progress(in.done)
	}
	return head[0], body[:na:na], body[na:], nil
}

func (in *backupReader) header() (*backupHeader, error) {
	magic, err := in.read(len(backupMagic))
	if err != nil {
		return nil, err
	}
	if string(magic) != backupMagic {
		return nil, errors.New("this is not a backup of a ledger")
	}
	kind, _, b, err := in.frame()
	if err != nil {
		return nil, err
	}
	if kind != frameHeader {
		return nil, errors.New("backup is damaged: it has no header")
	}
	h, err := decode[backupHeader](b)
	if err != nil {
		return nil, fmt.Errorf("backup is damaged or of a newer kind: %w", err)
	}
	if h.Version > backupVersion || h.Meta.Schema > schema {
		return nil, fmt.Errorf("%w: schema %d, want at most %d: install the program that wrote it", ErrNewer, h.Meta.Schema, schema)
	}
	return h, nil
}

// end reads the checksum, which must be the last of the stream.
func (in *backupReader) end() error {
	want := in.hash.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(in.r, got); err != nil {
		return fmt.Errorf("backup is cut short: %w", err)
	}
	if !bytes.Equal(got, want) {
		return errors.New("backup is damaged: its checksum is wrong")
	}
	return nil
}

// fill puts the backup into the store and the rows folder, past the writer:
// the groups are in the backup.
func (l *Ledger) fill(in *backupReader) error {
	f := &filler{l: l}
	defer f.close()
	for {
		kind, a, b, err := in.frame()
		if err != nil {
			return err
		}
		if kind != frameNamed {
			if err := f.fetch(in); err != nil {
				return err
			}
		}
		switch kind {
		case frameNamed:
			err = f.name(string(a), b)
		case frameRecord:
			err = f.record(a, b)
		case frameRows:
			err = f.part("rows", ".rows", string(a), b)
		case frameClaims:
			err = f.part("segments", ".seg", string(a), b)
		case frameEnd:
			if want := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, f.records), f.bytes); !bytes.Equal(b, want) {
				return errors.New("backup is damaged: it doesn't hold what it says")
			}
			return errors.Join(f.flush(), f.fileDone(), in.end())
		default:
			err = fmt.Errorf("backup is damaged: a frame of kind %q", kind)
		}
		if err != nil {
			return err
		}
	}
}

// A filler writes what a backup holds.
type filler struct {
	l       *Ledger
	txn     *badger.Txn // not yet committed
	entries int
	size    int
	records uint64

	named []namedSegment // not yet fetched
	file  *os.File       // being written
	bytes uint64         // in files
}

func (f *filler) close() {
	if f.txn != nil {
		f.txn.Discard()
	}
	if f.file != nil {
		f.file.Close() // the restore has failed already
	}
}

func (f *filler) record(key, val []byte) error {
	if f.txn == nil {
		f.txn = f.l.db.NewTransaction(true)
	}
	if err := f.txn.Set(key, val); err != nil {
		return err
	}
	f.records++
	f.entries++
	f.size += len(key) + len(val)
	if f.entries >= maxWrites || f.size >= maxBytes {
		return f.flush()
	}
	return nil
}

func (f *filler) flush() error {
	if f.txn == nil {
		return nil
	}
	if fresh, _ := f.l.space.check(); fresh != nil {
		return fresh
	}
	f.l.space.expect(f.entries, f.size)
	txn := f.txn
	f.txn, f.entries, f.size = nil, 0, 0
	err := f.l.awaitDone(txn.Commit)
	f.l.space.committed()
	return err
}

// part writes a part of a file into a folder of the ledger.
func (f *filler) part(folder, ext, name string, part []byte) error {
	if filepath.Base(name) != name || filepath.Ext(name) != ext {
		return errors.New("backup is damaged: a file has no proper name")
	}
	path := filepath.Join(f.l.dir, folder, name)
	if f.file == nil || f.file.Name() != path {
		if err := f.fileDone(); err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		var err error
		if f.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
			return err
		}
	}
	f.bytes += uint64(len(part))
	_, err := f.file.Write(part)
	return err
}

// fileDone makes the file being written durable.
func (f *filler) fileDone() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.file.Sync(), f.file.Close(), syncDir(filepath.Dir(f.file.Name())), syncDir(f.l.dir))
	f.file = nil
	return err
}

package records

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A namedSegment is a segment that a backup names instead of holding its bytes.
type namedSegment struct {
	name string // of the ledger's file
	sum  [32]byte
	size int64
}

// file is the name that the segment has in the segments folder of backups.
func (n namedSegment) file() string { return hex.EncodeToString(n.sum[:]) + ".seg" }

func (n namedSegment) encode() []byte { return binary.BigEndian.AppendUint64(n.sum[:], uint64(n.size)) }

func decodeNamed(name string, b []byte) (n namedSegment, err error) {
	if len(b) != len(n.sum)+8 {
		return n, errors.New("backup is damaged: it names a segment badly")
	}
	n = namedSegment{name, [32]byte(b), int64(binary.BigEndian.Uint64(b[len(n.sum):]))}
	if n.size <= 0 {
		return n, errors.New("backup is damaged: it names a segment of no size")
	}
	return n, nil
}

// RestoreFile is [Restore] from a file. The segments that it names are taken from
// the folder segments beside it, as copies: the ledger shares nothing with them.
func RestoreFile(ctx context.Context, dir, name string, keys Keys, o Options, progress func(done, total int64)) error {
	if err := restoreFile(ctx, dir, name, keys, o, progress); err != nil {
		return fmt.Errorf("restore ledger: %w", err)
	}
	return nil
}

func restoreFile(ctx context.Context, dir, name string, keys Keys, o Options, progress func(done, total int64)) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return fmt.Errorf("%s is a folder, want one of the backups in it", name)
	}
	in := &backupReader{
		ctx: ctx, r: bufio.NewReaderSize(f, rowPart), hash: sha256.New(), total: info.Size(),
		segments: filepath.Join(filepath.Dir(name), "segments"),
	}
	if progress != nil {
		in.progress = func(done int64) { progress(done, in.total) }
	}
	return restore(ctx, dir, in, keys, o)
}

// name takes note of a segment. They are all known before one is fetched.
func (f *filler) name(name string, b []byte) error {
	n, err := decodeNamed(name, b)
	f.named = append(f.named, n)
	return err
}

// fetch copies the segments that were named, if all of them are there.
func (f *filler) fetch(in *backupReader) error {
	named := f.named
	f.named = nil
	if len(named) > 0 && in.segments == "" {
		return errors.New("this backup names segments that are in files beside it: restore it from its folder, by its name")
	}
	var missing []error
	for _, n := range named {
		in.total += n.size
		file, err := in.open(n)
		if err != nil {
			missing = append(missing, err)
			continue
		}
		file.Close() // nothing was read
	}
	if err := errors.Join(missing...); err != nil {
		return err
	}
	for _, n := range named {
		if err := f.copy(in, n); err != nil {
			return err
		}
	}
	return nil
}

// open opens the file of a named segment, which must be of the right size.
func (in *backupReader) open(n namedSegment) (*os.File, error) {
	path := filepath.Join(in.segments, n.file())
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("segment %s of the backup is missing", path)
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != n.size) {
		err = fmt.Errorf("segment %s of the backup is damaged: it has %d bytes, want %d", path, info.Size(), n.size)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// copy makes a segment of the ledger from that of the backup.
func (f *filler) copy(in *backupReader, n namedSegment) error {
	file, err := in.open(n)
	if err != nil {
		return err
	}
	defer file.Close() // it was only read
	h := sha256.New()
	for part, left := make([]byte, rowPart), n.size; left > 0; {
		if err := context.Cause(in.ctx); err != nil {
			return err
		}
		part = part[:min(left, int64(len(part)))]
		if _, err := io.ReadFull(file, part); err != nil {
			return fmt.Errorf("segment of the backup: %w", err)
		}
		h.Write(part)
		if err := f.part("segments", ".seg", n.name, part); err != nil {
			return err
		}
		left -= int64(len(part))
		in.advance(len(part))
	}
	if [32]byte(h.Sum(nil)) != n.sum {
		return fmt.Errorf("segment %s of the backup is damaged: its SHA-256 is not its name", file.Name())
	}
	return nil
}

// advance counts bytes that don't come from the stream.
func (in *backupReader) advance(n int) {
	in.done += int64(n)
	if in.progress != nil {
		in.progress(in.done)
	}
}

// isSegmentFile says whether a file in the segments folder of backups has such a name as file gives.
func isSegmentFile(name string) bool {
	sum, ok := strings.CutSuffix(name, ".seg")
	return ok && len(sum) == 2*sha256.Size && strings.Trim(sum, "0123456789abcdef") == ""
}

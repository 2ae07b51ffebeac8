// Package segment keeps claims in immutable files.
//
// A segment is one file of claims sorted by index, and of their owners. It
// promises:
//
//   - Once [Writer.Finish] returns a [Manifest] the file and its name are on
//     stable storage. The caller makes it real by remembering the manifest; a
//     file without one is a leftover and may be removed.
//   - A byte that is not what was written is an error, [ErrDamaged], for whoever
//     reads it: never a panic, never an index that is not found. What nobody
//     reads is found by [Segment.Verify].
//   - [Merge] loses nothing and hides nothing: an index in two segments is an error.
//
// It knows files, and nothing of what the numbers in them mean.
//
// # On disk
//
//	claim blocks   32 KiB each: entries in strict order of their indexes
//	wide blocks    the same, but equal indexes may follow each other
//	owner blocks   up to 32 KiB each: owners, in runs, sorted by serial
//	footer         counts, sum, the first index of each block, runs
//	tail           length and checksum of the footer, magic
//
// docs/ledger.md has it byte by byte.
package segment

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
)

// Errors that callers act on.
var (
	// ErrDamaged says that a segment is not what was written, or can't be read.
	ErrDamaged = errors.New("segment is damaged")

	// ErrTwice says that segments that are to be merged claim the same index.
	ErrTwice = errors.New("index is claimed twice")

	// ErrTooLarge says that the footer would have more than [MaxFooter] bytes, or
	// that there are more than 2^32 owners.
	ErrTooLarge = errors.New("segment would be too large")
)

// An Entry is one claim: the index, the number of its owner in the segment, and
// the place of the credential in the owner's batch.
type Entry struct {
	Index [16]byte
	Owner uint32
	Place uint8
}

// An Owner is a row or device that has claims. Its batch is its run's.
type Owner struct {
	Serial       string // at most 255 bytes
	Row, Attempt uint32
}

// A Run is a sequence of owners that have all this in common. They are sorted by serial.
type Run struct {
	Batch, FirstRow, KeyVersion uint32

	Product string  // at most 255 bytes
	Narrow  []uint8 // places whose scope is the product, ascending
	Devices bool    // serials are devices of the product: no two are equal, and [Segment.Device] finds them

	FirstOwner, Owners uint32 // filled in by the segment
}

// A Manifest is what the caller must remember of a segment to open it.
type Manifest struct {
	Footer []byte // at most [MaxFooter] bytes
	Size   int64
	Sum    [32]byte // SHA-256 of the file
}

// A Segment is an open segment. Its methods may be called from several
// goroutines at once, but none during or after Close.
type Segment struct {
	disk     Disk
	path     string
	file     *os.File
	manifest Manifest
	footer   *footer
	spare    sync.Pool // of *[blockSize]byte
}

// Open opens the segment at path, which must be the one that m was given for. It
// compares size and footer and reads no more than that.
func Open(path string, m Manifest) (*Segment, error) { return Disk{}.Open(path, m) }

// Open is the package's Open, on d.
func (d Disk) Open(path string, m Manifest) (*Segment, error) {
	s := &Segment{disk: d, path: path, manifest: m}
	s.spare.New = func() any { return new([blockSize]byte) }
	err := d.do("open", path, func() (err error) { s.file, err = os.Open(path); return err })
	if err != nil {
		return nil, err
	}
	if err := s.checkFooter(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// checkFooter compares the file with its manifest and parses the footer.
func (s *Segment) checkFooter() error {
	f, err := parseFooter(s.manifest.Footer)
	if err != nil {
		return s.damage("footer", err)
	}
	s.footer = f
	want := append(bytes.Clone(s.manifest.Footer), tail(s.manifest.Footer)...)
	size, err := s.size()
	if err != nil {
		return s.damage("size", err)
	}
	if total := f.end() + int64(len(want)); size != total || s.manifest.Size != total {
		return s.damage("size", fmt.Errorf("%d bytes, want %d, manifest says %d", size, total, s.manifest.Size))
	}
	got := make([]byte, len(want))
	if err := s.read(got, f.end()); err != nil {
		return s.damage("footer", err)
	}
	if !bytes.Equal(got, want) {
		return s.damage("footer", errors.New("not the manifest's"))
	}
	return nil
}

func (s *Segment) size() (int64, error) {
	info, err := s.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Close closes the file.
func (s *Segment) Close() error { return s.disk.do("close", s.path, s.file.Close) }

// Path returns the path that the segment was opened with.
func (s *Segment) Path() string { return s.path }

// Claimed returns the number of claims and the sum of their indexes modulo 2^128.
func (s *Segment) Claimed() (n, hi, lo uint64) {
	return s.footer.claims.count, s.footer.sumHi, s.footer.sumLo
}

// Blocks returns the number of claim blocks, for [Segment.Scan].
func (s *Segment) Blocks() int { return len(s.footer.claims.fences) }

// Runs returns the runs, in the order of their owners.
func (s *Segment) Runs() []Run {
	runs := make([]Run, len(s.footer.runs))
	for i, r := range s.footer.runs {
		runs[i] = r.Run
	}
	return runs
}

// read fills b from offset at, or says why it can't.
func (s *Segment) read(b []byte, at int64) error {
	return s.disk.do("read", s.path, func() error {
		_, err := s.file.ReadAt(b, at)
		return err
	})
}

// damage says where the segment is not what was written. Reading a closed one is no damage.
func (s *Segment) damage(where string, cause error) error {
	if errors.Is(cause, os.ErrClosed) {
		return fmt.Errorf("segment %s: %s: %w", s.path, where, cause)
	}
	return fmt.Errorf("%w: %s: %s: %w", ErrDamaged, s.path, where, cause)
}

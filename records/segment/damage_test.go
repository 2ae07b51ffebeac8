package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// flip flips a bit of a file.
func flip(t testingT, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	_, rerr := f.ReadAt(b, at)
	b[0] ^= 1 << (at % 8)
	_, werr := f.WriteAt(b, at)
	if err := errors.Join(rerr, werr, f.Close()); err != nil {
		t.Fatal(err)
	}
}

func absent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there: %v", path, err)
	}
}

// small has a block of each kind that is mostly empty.
func small() model {
	m := newModel(rand.New(rand.NewPCG(5, 6)), 9, 5, 2, 12, false)
	m.runs[0].Devices, m.runs[0].Product = true, "lock-0"
	return m
}

// askAll asks everything, until something is an error. An answer that is wrong
// ends the test.
func askAll(t *testing.T, m model, s *Segment) error {
	t.Helper()
	for _, e := range m.claims {
		if got, found, err := s.Find(e.Index); err != nil {
			return err
		} else if !found || got != e {
			t.Fatalf("Find(%x) = %v, %v, want %v or an error", e.Index, got, found, e)
		}
	}
	for n, o := range m.runs[0].owners {
		run, got, found, err := s.Device("lock-0", o.Serial)
		if err != nil {
			return err
		} else if !found || got != o || run.Batch != m.runs[0].Batch {
			t.Fatalf("Device(%s) = %v, %v, want %v or an error", o.Serial, got, found, o)
		}
		if _, got, err := s.OwnerOf(uint32(n)); err != nil {
			return err
		} else if got != o {
			t.Fatalf("OwnerOf(%d) = %v, want %v or an error", n, got, o)
		}
	}
	_, err := s.FindWide(m.wide[0].Index)
	return err
}

// TestEveryFlippedBitIsFound flips a bit of every byte in turn (of the padding, of
// every 31st). Verify must find it; whoever answers must answer rightly.
func TestEveryFlippedBitIsFound(t *testing.T) {
	m := small()
	path := filepath.Join(t.TempDir(), "a")
	manifest, err := m.write(Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	all, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for at := range manifest.Size {
		if in := at % blockSize; at < 2*blockSize && in > entrySize*20 && in < countAt && at%31 != 0 {
			continue // padding
		}
		flip(t, path, at)
		if !survives(t, m, path, manifest) {
			found++
		} else if at >= manifest.Size-int64(len(manifest.Footer)+tailSize) {
			t.Errorf("Open didn't find a flipped bit of the footer, at %d", at)
		}
		flip(t, path, at)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, all) || !survives(t, m, path, manifest) {
		t.Errorf("the file is not what it was: %v", err)
	}
	if found == 0 {
		t.Error("no look-up met a flipped bit")
	}
}

// survives is whether all questions were answered, rightly.
func survives(t *testing.T, m model, path string, manifest Manifest) bool {
	t.Helper()
	s, err := Open(path, manifest)
	if err != nil {
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("Open = %v, want %v", err, ErrDamaged)
		}
		return false
	}
	defer s.Close()
	asked := askAll(t, m, s)
	if asked != nil && !errors.Is(asked, ErrDamaged) {
		t.Errorf("a look-up answers %v, want %v", asked, ErrDamaged)
	}
	if now, err := os.ReadFile(path); err != nil {
		t.Error(err)
	} else if err := s.Verify(t.Context(), nil); (err == nil) != (manifest.is(now)) || err != nil && !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify = %v", err)
	}
	return asked == nil
}

// is whether b is the file of m.
func (m Manifest) is(b []byte) bool {
	d := newDigest()
	for len(b) > 0 {
		n := min(len(b), chunkSize)
		d.put(append(d.chunk(), b[:n]...))
		b = b[n:]
	}
	return d.sum() == m.Sum
}

// TestAnotherManifestIsFound opens a segment with what isn't its own.
func TestAnotherManifestIsFound(t *testing.T) {
	m, path := small(), filepath.Join(t.TempDir(), "a")
	manifest, err := m.write(Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	other := manifest
	other.Sum[31]++
	s, err := Open(path, other)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Verify(t.Context(), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify with another SHA-256 = %v, want %v", err, ErrDamaged)
	}
	for name, other := range map[string]Manifest{
		"size":   {manifest.Footer, manifest.Size + 1, manifest.Sum},
		"sum":    {append(bytes.Clone(manifest.Footer[:36]), flipped(manifest.Footer[36:])...), manifest.Size, manifest.Sum},
		"footer": {nil, manifest.Size, manifest.Sum},
	} {
		if s, err := Open(path, other); !errors.Is(err, ErrDamaged) {
			t.Errorf("Open with another %s = %v, %v, want %v", name, s, err, ErrDamaged)
		}
	}
}

// flipped returns b with another first byte.
func flipped(b []byte) []byte {
	b = bytes.Clone(b)
	b[0]++
	return b
}

// TestTruncationIsFound cuts the file, and makes it longer.
func TestTruncationIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a")
	manifest, err := small().write(Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{manifest.Size + 1, manifest.Size - 1, manifest.Size - 24, 2 * blockSize, blockSize, 1, 0} {
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(path, manifest); !errors.Is(err, ErrDamaged) {
			t.Errorf("Open with %d of %d bytes = %v, %v, want %v", size, manifest.Size, s, err, ErrDamaged)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(path, manifest); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open = %v, %v, want %v", s, err, os.ErrNotExist)
	}
}

// TestTruncationOfAnOpenSegmentIsFound cuts it under its reader.
func TestTruncationOfAnOpenSegmentIsFound(t *testing.T) {
	m := small()
	s := m.open(t, t.TempDir(), "a")
	defer s.Close()
	if err := os.Truncate(s.path, 100); err != nil {
		t.Fatal(err)
	}
	if _, found, err := s.Find(m.claims[0].Index); found || !errors.Is(err, ErrDamaged) {
		t.Errorf("Find = %v, %v, want %v", found, err, ErrDamaged)
	}
	if err := s.Verify(t.Context(), nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("Verify = %v, want %v", err, ErrDamaged)
	}
}

// TestABlockInAWrongPlaceIsFound swaps good blocks.
func TestABlockInAWrongPlaceIsFound(t *testing.T) {
	m := newModel(rand.New(rand.NewPCG(1, 2)), 2*perBlock, 2*perBlock, 1, 20, true)
	s := m.open(t, t.TempDir(), "a")
	defer s.Close()
	swap := func(a, b int64) {
		all, err := os.ReadFile(s.path)
		if err != nil {
			t.Fatal(err)
		}
		kept := bytes.Clone(all[a*blockSize:][:blockSize])
		copy(all[a*blockSize:], all[b*blockSize:][:blockSize])
		copy(all[b*blockSize:], kept)
		if err := os.WriteFile(s.path, all, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, pair := range [][2]int64{{0, 1}, {0, 2}} {
		swap(pair[0], pair[1])
		if _, found, err := s.Find(m.claims[5].Index); !errors.Is(err, ErrDamaged) {
			t.Errorf("blocks %d swapped: Find = %v, %v, want %v", pair, found, err, ErrDamaged)
		}
		if _, err := s.FindWide(m.wide[5].Index); pair[1] == 2 && !errors.Is(err, ErrDamaged) {
			t.Errorf("blocks %d swapped: FindWide = %v, want %v", pair, err, ErrDamaged)
		}
		swap(pair[0], pair[1])
	}
	m.check(t, s)
}

// TestDisorderIsFound makes blocks whose checksums are right and whose order is not.
func TestDisorderIsFound(t *testing.T) {
	sec := section{kind: claimKind, count: 3, fences: []uint64{1}}
	for _, indexes := range [][3]byte{{1, 3, 2}, {1, 2, 2}, {1, 1, 3}} {
		b := make([]byte, blockSize)
		for i, x := range indexes {
			b[i*entrySize+7] = x // of the first eight bytes; the last eight are 0
		}
		sec.fences[0] = 1
		sec.seal(b, 3)
		s := raw(t, b)
		err := s.scan(&sec, 0, make([]byte, blockSize), new(order), func(Entries) error { return nil })
		if !errors.Is(err, errOrder) || !errors.Is(err, ErrDamaged) {
			t.Errorf("scan of %v = %v, want %v", indexes, err, errOrder)
		}
	}
}

// raw returns a segment that can read b and knows nothing else.
func raw(t *testing.T, b []byte) *Segment {
	path := filepath.Join(t.TempDir(), "raw")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return &Segment{path: path, file: f}
}

// TestReadFaultsAreDamage has every read fail in turn. Nothing may be answered as
// if it was not there.
func TestReadFaultsAreDamage(t *testing.T) {
	m := small()
	path := filepath.Join(t.TempDir(), "a")
	manifest, err := m.write(Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]error{"failed": errors.New("input/output error"), "short": io.ErrUnexpectedEOF} {
		failing := false
		d := Disk{Around: func(op, _ string, do func() error) error {
			if failing && op == "read" {
				return fault
			}
			return do()
		}}
		s, err := d.Open(path, manifest)
		if err != nil {
			t.Fatal(err)
		}
		failing = true
		for what, ask := range map[string]func() error{
			"Find":     func() error { _, _, err := s.Find(m.claims[0].Index); return err },
			"FindWide": func() error { _, err := s.FindWide(m.wide[0].Index); return err },
			"OwnerOf":  func() error { _, _, err := s.OwnerOf(0); return err },
			"Device":   func() error { _, _, _, err := s.Device("lock-0", m.runs[0].owners[0].Serial); return err },
			"Devices":  func() error { return s.Devices(0, "", func(Owner) error { return nil }) },
			"Scan":     func() error { return s.Scan(0, 1, new(Buffer), func(Entries) error { return nil }) },
			"Verify":   func() error { return s.Verify(context.Background(), nil) },
			"Open":     func() error { _, err := d.Open(path, manifest); return err },
			"Cursor": func() error {
				c := s.Cursor([16]byte{}, [16]byte{})
				defer c.Close()
				return errors.Join(fmt.Errorf("next: %v", c.Next()), c.Err())
			},
		} {
			if err := ask(); !errors.Is(err, ErrDamaged) || !errors.Is(err, fault) {
				t.Errorf("%s when a read is %s = %v, want %v and %v", what, name, err, ErrDamaged, fault)
			}
		}
		failing = false
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, _, err := s.Find(m.claims[0].Index); !errors.Is(err, os.ErrClosed) || errors.Is(err, ErrDamaged) {
			t.Errorf("Find after Close = %v, want %v, which is no damage", err, os.ErrClosed)
		}
	}
}

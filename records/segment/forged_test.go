package segment

import (
	"context"
	"encoding/binary"
	"errors"
	"path/filepath"
	"testing"
)

// forge writes a segment of one claim and one owner that spoil made wrong, with
// checksums and a digest that are right.
func forge(t *testing.T, spoil func(w *Writer)) *Segment {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a")
	w, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w.Claims([]Entry{{Index: [16]byte{1}}})
	w.Run(Run{Devices: true})
	spoil(w)
	m, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, m)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// block appends a block of owners that says it has n.
func block(w *Writer, n uint16, serials ...string) {
	var b []byte
	for i, s := range serials {
		before := rawOwner{}
		if i > 0 {
			before.serial = []byte(serials[i-1])
		}
		b = appendOwner(b, before, rawOwner{serial: []byte(s)})
	}
	o := ownerBlock{owners: n, first: serials[0], number: w.run().Owners}
	b = binary.BigEndian.AppendUint32(b, checksum(ownerKind, o.number, b))
	o.length = uint16(len(b))
	w.copyOwners(o, b)
}

// TestVerifyTrustsNoWriter checks what no checksum can.
func TestVerifyTrustsNoWriter(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(w *Writer)
		merge bool // must refuse it too
	}{
		"sum": {func(w *Writer) { w.Owner([]byte("A"), 0, 0); w.footer.sumLo++ }, true},
		"owner that is not there": {func(w *Writer) {
			w.block[entrySize-2] = 9
			w.footer.claims.fences, w.footer.claims.count, w.footer.sumHi = nil, 0, 0
			w.chunk, w.size = w.chunk[:0], 0
			w.section, w.n = &w.footer.claims, 1
			w.flush()
			w.Owner([]byte("A"), 0, 0)
		}, true},
		"serials descend":            {func(w *Writer) { block(w, 3, "A", "C", "B") }, false},
		"a serial twice":             {func(w *Writer) { block(w, 2, "A", "A") }, false},
		"serials of blocks descend":  {func(w *Writer) { block(w, 2, "A", "C"); block(w, 1, "B") }, false},
		"more owners than it says":   {func(w *Writer) { block(w, 1, "A", "B") }, false},
		"fewer owners than it says":  {func(w *Writer) { block(w, 2, "A", "BBBBBBBBBBBB"); w.run().blocks[0].owners++ }, false},
		"another serial than it has": {func(w *Writer) { block(w, 1, "A"); w.run().blocks[0].first = "B" }, true},
		"another fence than it has":  {func(w *Writer) { block(w, 1, "A"); w.footer.claims.fences[0]++ }, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := forge(t, tt.spoil)
			if err := s.Verify(t.Context(), nil); !errors.Is(err, ErrDamaged) {
				t.Errorf("Verify = %v, want %v", err, ErrDamaged)
			}
			path := filepath.Join(t.TempDir(), "merged")
			if _, err := Merge(t.Context(), path, []*Segment{s}, nil); tt.merge && !errors.Is(err, ErrDamaged) {
				t.Errorf("Merge = %v, want %v", err, ErrDamaged)
			}
		})
	}
	forgeNothing := forge(t, func(w *Writer) { block(w, 2, "A", "B") })
	if err := forgeNothing.Verify(t.Context(), nil); err != nil {
		t.Errorf("Verify = %v of a segment that is right", err)
	}
}

// TestQuestionsThatCanNotBeAsked are errors, and no damage.
func TestQuestionsThatCanNotBeAsked(t *testing.T) {
	m := small()
	s := m.open(t, t.TempDir(), "a")
	defer s.Close()
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	find := func(ctx context.Context, indexes ...[16]byte) error {
		return s.FindSorted(ctx, len(indexes), func(i int) [16]byte { return indexes[i] }, func(int, Entry) error { return errDisk })
	}
	none := func(Entries) error { return nil }
	for what, err := range map[string]error{
		"descending indexes": find(t.Context(), [16]byte{2}, [16]byte{1}),
		"too many blocks":    s.Scan(0, s.Blocks()+1, new(Buffer), none),
		"negative blocks":    s.Scan(-1, 0, new(Buffer), none),
		"descending blocks":  s.Scan(1, 0, new(Buffer), none),
		"no such run":        s.Devices(len(m.runs), "", nil),
	} {
		if err == nil || errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, err := range map[string]error{
		"FindSorted": find(cancelled, [16]byte{1}),
		"Verify":     s.Verify(cancelled, nil),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s = %v, want %v", what, err, context.Canceled)
		}
	}
	for what, err := range map[string]error{
		"FindSorted": find(t.Context(), m.claims[3].Index),
		"Scan":       s.Scan(0, 1, new(Buffer), func(Entries) error { return errDisk }),
		"Devices":    s.Devices(0, "", func(Owner) error { return errDisk }),
	} {
		if !errors.Is(err, errDisk) || errors.Is(err, ErrDamaged) {
			t.Errorf("%s = %v, want what the caller said", what, err)
		}
	}
	if _, _, err := s.OwnerOf(1 << 31); !errors.Is(err, ErrDamaged) {
		t.Errorf("OwnerOf a number that no owner has = %v, want %v", err, ErrDamaged)
	}
}

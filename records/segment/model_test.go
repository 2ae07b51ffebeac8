package segment

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// A model is what a segment should hold.
type model struct {
	claims, wide []Entry
	runs         []modelRun
}

type modelRun struct {
	Run
	owners []Owner
}

// newModel returns n claims and w wide entries of owners in some runs. Crowded
// indexes share their first eight bytes, also across blocks.
func newModel(r *rand.Rand, n, w, runs, owners int, crowded bool) model {
	var m model
	var total uint32
	for i := range runs {
		m.runs = append(m.runs, newRun(r, i, 1+r.IntN(owners)))
		m.runs[i].FirstOwner, m.runs[i].Owners = total, uint32(len(m.runs[i].owners))
		total += m.runs[i].Owners
	}
	entry := func() Entry {
		e := Entry{Owner: r.Uint32N(total), Place: uint8(r.IntN(4))}
		binary.BigEndian.PutUint64(e.Index[:], r.Uint64())
		binary.BigEndian.PutUint64(e.Index[8:], r.Uint64())
		if crowded {
			binary.BigEndian.PutUint64(e.Index[:], -r.Uint64N(3))
			binary.BigEndian.PutUint64(e.Index[8:], r.Uint64N(uint64(2*n+1)))
		}
		return e
	}
	for range n {
		m.claims = append(m.claims, entry())
	}
	for range w {
		m.wide = append(m.wide, entry())
		if r.IntN(3) == 0 {
			m.wide = append(m.wide, m.wide[0])
		}
	}
	slices.SortStableFunc(m.claims, byIndex)
	m.claims = slices.CompactFunc(m.claims, func(a, b Entry) bool { return a.Index == b.Index })
	slices.SortStableFunc(m.wide, byIndex)
	return m
}

// same is whether a and b are the same, a nil slice being an empty one.
func same(a, b any) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

func byIndex(a, b Entry) int { return bytes.Compare(a.Index[:], b.Index[:]) }

func newRun(r *rand.Rand, i, owners int) modelRun {
	run := modelRun{Run: Run{
		Batch: r.Uint32N(3), FirstRow: r.Uint32(), KeyVersion: 1, Product: fmt.Sprint("lock-", i%2),
		Devices: r.IntN(2) == 0, Narrow: []uint8{1, 3}[:r.IntN(3)],
	}}
	for n := range owners {
		o := Owner{Serial: fmt.Sprintf("SN%06d", n*(1+r.IntN(2))), Row: r.Uint32(), Attempt: r.Uint32N(300)}
		if r.IntN(2) == 0 {
			o.Row = uint32(n)
		}
		run.owners = append(run.owners, o)
	}
	slices.SortStableFunc(run.owners, func(a, b Owner) int { return cmp.Compare(a.Serial, b.Serial) })
	if run.Devices {
		run.owners = slices.CompactFunc(run.owners, func(a, b Owner) bool { return a.Serial == b.Serial })
	}
	return run
}

// write writes m to a segment.
func (m model) write(d Disk, path string) (Manifest, error) {
	w, err := d.Create(path)
	if err != nil {
		return Manifest{}, err
	}
	w.Claims(m.claims[:len(m.claims)/2]) // errors come again from Finish
	w.Claims(m.claims[len(m.claims)/2:])
	w.Wide(m.wide)
	for _, r := range m.runs {
		w.Run(r.Run)
		for _, o := range r.owners {
			w.Owner([]byte(o.Serial), o.Row, o.Attempt)
		}
	}
	return w.Finish()
}

type testingT interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// open writes m to a segment and opens it. The caller closes it.
func (m model) open(t testingT, dir, name string) *Segment {
	t.Helper()
	path := filepath.Join(dir, name)
	manifest, err := m.write(Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, manifest)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// check asks s everything that m knows.
func (m model) check(t testingT, s *Segment) {
	t.Helper()
	if err := s.Verify(context.Background(), nil); err != nil {
		t.Errorf("Verify = %v", err)
	}
	m.checkFind(t, s)
	m.checkScan(t, s)
	m.checkWide(t, s)
	m.checkOwners(t, s)
}

func (m model) checkFind(t testingT, s *Segment) {
	t.Helper()
	var want []Entry
	var ask [][16]byte
	for i, e := range m.claims {
		near := e.Index
		near[15]++
		_, has := slices.BinarySearchFunc(m.claims, Entry{Index: near}, byIndex)
		if i%7 == 0 || i%perBlock < 2 {
			if got, found, err := s.Find(e.Index); !found || got != e || err != nil {
				t.Fatalf("Find(%x) = %v, %v, %v, want %v", e.Index, got, found, err, e)
			}
			if got, found, err := s.Find(near); found != has || err != nil {
				t.Fatalf("Find(%x) = %v, %v, %v, want %v", near, got, found, err, has)
			}
		}
		if i%3 != 0 {
			ask, want = append(ask, e.Index), append(want, e)
		}
		if !has && near[15] != 0 {
			ask = append(ask, near)
		}
	}
	var got []Entry
	err := s.FindSorted(context.Background(), len(ask), func(i int) [16]byte { return ask[i] }, func(i int, e Entry) error {
		if ask[i] != e.Index {
			t.Errorf("FindSorted found %x for %x", e.Index, ask[i])
		}
		got = append(got, e)
		return nil
	})
	if !slices.Equal(got, want) || err != nil {
		t.Errorf("FindSorted found %d, %v, want %d", len(got), err, len(want))
	}
}

func (m model) checkScan(t testingT, s *Segment) {
	t.Helper()
	var got []Entry
	var hi, lo uint64
	err := s.Scan(0, s.Blocks(), new(Buffer), func(e Entries) error {
		hi, lo = sum(hi, lo, e)
		for i := range e.Len() {
			got = append(got, e.Entry(i))
		}
		return nil
	})
	if !slices.Equal(got, m.claims) || err != nil {
		t.Errorf("Scan gave %d claims, %v, want %d", len(got), err, len(m.claims))
	}
	if n, h, l := s.Claimed(); n != uint64(len(m.claims)) || h != hi || l != lo {
		t.Errorf("Claimed() = %d, %x, %x, want %d, %x, %x", n, h, l, len(m.claims), hi, lo)
	}
	third := len(m.claims) / 3
	m.checkCursor(t, s, 0, len(m.claims))
	m.checkCursor(t, s, third, 2*third)
	m.checkCursor(t, s, 2*third, len(m.claims))
}

func (m model) checkCursor(t testingT, s *Segment, from, to int) {
	t.Helper()
	var lo, hi [16]byte
	if from > 0 {
		lo = m.claims[from].Index
	}
	if to < len(m.claims) {
		hi = m.claims[to].Index
	}
	if hi == lo && from == to {
		return // the zero hi has another meaning
	}
	c := s.Cursor(lo, hi)
	defer c.Close()
	var got []Entry
	for c.Next() {
		got = append(got, c.Entry())
	}
	if !slices.Equal(got, m.claims[from:to]) || c.Err() != nil {
		t.Errorf("Cursor from %x to %x gave %d, %v, want %d", lo, hi, len(got), c.Err(), to-from)
	}
}

func (m model) checkWide(t testingT, s *Segment) {
	t.Helper()
	want := map[[16]byte][]Entry{}
	for _, e := range m.wide {
		want[e.Index] = append(want[e.Index], e)
	}
	for _, e := range m.claims[:min(len(m.claims), 20)] {
		want[e.Index] = append(want[e.Index], want[e.Index]...)
	}
	for index, w := range want {
		w = slices.DeleteFunc(slices.Clone(m.wide), func(e Entry) bool { return e.Index != index })
		if got, err := s.FindWide(index); !slices.Equal(got, w) || err != nil {
			t.Fatalf("FindWide(%x) = %v, %v, want %v", index, got, err, w)
		}
	}
}

func (m model) checkOwners(t testingT, s *Segment) {
	t.Helper()
	var runs []Run
	for i, r := range m.runs {
		runs = append(runs, r.Run)
		step := 1 + len(r.owners)/100
		for n := 0; n < len(r.owners); n += step {
			if run, got, err := s.OwnerOf(r.FirstOwner + uint32(n)); !same(run, r.Run) || got != r.owners[n] || err != nil {
				t.Fatalf("OwnerOf(%d) = %+v, %v, %v, want %+v, %v", r.FirstOwner+uint32(n), run, got, err, r.Run, r.owners[n])
			}
		}
		from := r.owners[len(r.owners)/2].Serial
		start := slices.IndexFunc(r.owners, func(o Owner) bool { return o.Serial == from })
		var got []Owner
		err := s.Devices(i, from, func(o Owner) error { got = append(got, o); return nil })
		if !slices.Equal(got, r.owners[start:]) || err != nil {
			t.Fatalf("Devices(%d, %s) gave %d, %v, want %d", i, from, len(got), err, len(r.owners)-start)
		}
	}
	if got := s.Runs(); len(got) > 0 && !same(got, runs) {
		t.Errorf("Runs() = %+v, want %+v", got, runs)
	}
	m.checkDevices(t, s)
}

func (m model) checkDevices(t testingT, s *Segment) {
	t.Helper()
	for _, product := range []string{"lock-0", "lock-1", "none"} {
		for _, serial := range []string{"", "SN000000", "SN000001", "SN000009", "SN000777", "SN999999"} {
			var want *Owner
			for _, r := range m.runs {
				i := slices.IndexFunc(r.owners, func(o Owner) bool { return o.Serial == serial })
				if r.Devices && r.Product == product && i >= 0 {
					want = &r.owners[i] // the last run answers
				}
			}
			run, got, found, err := s.Device(product, serial)
			if err != nil || found != (want != nil) || found && (got != *want || run.Product != product) {
				t.Errorf("Device(%s, %s) = %v, %v, %v, want %v", product, serial, got, found, err, want)
			}
		}
	}
}

func source(t *rapid.T) *rand.Rand { return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)) }

// TestWhatWasWrittenIsRead compares a segment with a model.
func TestWhatWasWrittenIsRead(t *testing.T) {
	dir := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		r := source(t)
		claims := rapid.SampledFrom([]int{0, 1, perBlock - 1, perBlock, perBlock + 1, 4000}).Draw(t, "claims")
		wide := rapid.SampledFrom([]int{0, 1, 30, perBlock}).Draw(t, "wide")
		owners := rapid.SampledFrom([]int{1, 20, 10000}).Draw(t, "owners")
		m := newModel(r, claims, wide, 1+r.IntN(4), owners, rapid.Bool().Draw(t, "crowded"))
		round++
		s := m.open(t, dir, fmt.Sprint(round))
		defer s.Close()
		m.check(t, s)
	})
}

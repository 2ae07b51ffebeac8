package segment

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// bulk returns n claims of n/2 owners.
func bulk(n int, seed uint64) []Entry {
	r := rand.New(rand.NewPCG(seed, 7))
	all := make([]Entry, n)
	for i := range all {
		all[i] = Entry{Owner: r.Uint32N(uint32(n / 2)), Place: uint8(i & 1)}
		binary.BigEndian.PutUint64(all[i].Index[:], r.Uint64())
		binary.BigEndian.PutUint64(all[i].Index[8:], r.Uint64())
	}
	slices.SortFunc(all, byIndex)
	return all
}

func writeBulk(b *testing.B, path string, claims []Entry) Manifest {
	w, err := Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w.Claims(claims)
	w.Run(Run{Batch: 1, Product: "lock", Devices: true})
	serial := []byte("SN00000000")
	for i := range len(claims) / 2 {
		for n, at := i, 9; at > 1; n, at = n/10, at-1 {
			serial[at] = byte('0' + n%10)
		}
		w.Owner(serial, uint32(i), 0)
	}
	m, err := w.Finish()
	if err != nil {
		b.Fatal(err)
	}
	return m
}

func openBulk(b *testing.B, n int, seed uint64) (*Segment, []Entry) {
	claims := bulk(n, seed)
	path := filepath.Join(b.TempDir(), fmt.Sprint(seed))
	s, err := Open(path, writeBulk(b, path, claims))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s, claims
}

func report(b *testing.B, entries int) {
	b.ReportMetric(float64(entries)*float64(b.N)/b.Elapsed().Seconds()/1e6, "M-entries/s")
}

func BenchmarkWrite(b *testing.B) {
	claims := bulk(1e6, 1)
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		writeBulk(b, filepath.Join(dir, fmt.Sprint(i)), claims)
	}
	report(b, len(claims))
}

func BenchmarkFind(b *testing.B) {
	s, claims := openBulk(b, 1e6, 1)
	for i := 0; b.Loop(); i++ {
		if _, found, err := s.Find(claims[i*7919%len(claims)].Index); !found || err != nil {
			b.Fatal(found, err)
		}
	}
	report(b, 1)
}

func BenchmarkOwnerOf(b *testing.B) {
	s, _ := openBulk(b, 1e6, 1)
	for i := 0; b.Loop(); i++ {
		if _, _, err := s.OwnerOf(uint32(i * 7919 % 500000)); err != nil {
			b.Fatal(err)
		}
	}
	report(b, 1)
}

// BenchmarkFindSorted looks for 1 M indexes in 10 M, on one core: all there, one in
// a thousand there, or only a thousand asked for.
func BenchmarkFindSorted(b *testing.B) {
	s, claims := openBulk(b, 1e7, 1)
	present := make([][16]byte, 0, 1e6)
	for i := 0; i < len(claims); i += 10 {
		present = append(present, claims[i].Index)
	}
	absent := slices.Clone(present)
	for i := range absent {
		if i%1000 != 0 {
			absent[i][15]++
		}
	}
	few := make([][16]byte, 0, 1000)
	for i := 0; i < len(present); i += 1000 {
		few = append(few, present[i])
	}
	for _, ask := range []struct {
		name  string
		these [][16]byte
		want  int
	}{{"all", present, len(present)}, {"none", absent, len(few)}, {"thousand", few, len(few)}} {
		b.Run(ask.name, func(b *testing.B) {
			for b.Loop() {
				n := 0
				err := s.FindSorted(context.Background(), len(ask.these), func(i int) [16]byte { return ask.these[i] },
					func(int, Entry) error { n++; return nil })
				if n != ask.want || err != nil {
					b.Fatal(n, err)
				}
			}
			report(b, len(ask.these))
		})
	}
}

// BenchmarkScan reads 10 M on one core and on two.
func BenchmarkScan(b *testing.B) {
	s, claims := openBulk(b, 1e7, 1)
	for _, cores := range []int{1, 2} {
		b.Run(fmt.Sprint(cores), func(b *testing.B) {
			for b.Loop() {
				var wg sync.WaitGroup
				for c := range cores {
					wg.Go(func() {
						err := s.Scan(s.Blocks()*c/cores, s.Blocks()*(c+1)/cores, new(Buffer), func(Entries) error { return nil })
						if err != nil {
							b.Error(err)
						}
					})
				}
				wg.Wait()
			}
			report(b, len(claims))
		})
	}
}

func BenchmarkCursor(b *testing.B) {
	s, claims := openBulk(b, 1e7, 1)
	for b.Loop() {
		c := s.Cursor([16]byte{}, [16]byte{})
		n := 0
		for c.Next() {
			n++
		}
		c.Close()
		if n != len(claims) || c.Err() != nil {
			b.Fatal(n, c.Err())
		}
	}
	report(b, len(claims))
}

func BenchmarkVerify(b *testing.B) {
	s, claims := openBulk(b, 1e7, 1)
	for b.Loop() {
		if err := s.Verify(context.Background(), nil); err != nil {
			b.Fatal(err)
		}
	}
	report(b, len(claims))
}

// BenchmarkMerge merges 8 times 1 M.
func BenchmarkMerge(b *testing.B) {
	var in []*Segment
	for i := range 8 {
		s, _ := openBulk(b, 1e6, uint64(i))
		in = append(in, s)
	}
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		if _, err := Merge(context.Background(), filepath.Join(dir, fmt.Sprint(i)), in, nil); err != nil {
			b.Fatal(err)
		}
	}
	report(b, 8e6)
}

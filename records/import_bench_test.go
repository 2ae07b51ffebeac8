package records

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"testing"
)

// manyRows is a file of n rows that is made while it is read, so that its size
// isn't counted as memory of the import.
type manyRows struct {
	n, next int
	line    bytes.Buffer
}

func (m *manyRows) Read(p []byte) (int, error) {
	for m.line.Len() < len(p) && m.next <= m.n {
		if m.next == 0 {
			m.line.WriteString("serial,admin\n")
		} else {
			i := index(uint64(m.next))
			fmt.Fprintf(&m.line, "SN%08d,%X\n", m.next, i[:])
		}
		m.next++
	}
	return m.line.Read(p)
}

func single() Product {
	return Product{ID: "camera", Credentials: []Spec{{Name: "admin", Kind: LoginPassword, Origin: Imported, Bits: 128}}}
}

// BenchmarkImport measures one import into a ledger that has claims already, from
// a CSV file to the durable answer, with the keys of the software authority. The names
// are those of its rivals in fixtures/rivals, which are given sorted indexes.
func BenchmarkImport(b *testing.B) {
	for _, n := range existing() {
		b.Run(fmt.Sprintf("existing=%s/ours", short(n)), func(b *testing.B) {
			benchmarkImport(b, n, sized(1_000_000))
		})
	}
}

// BenchmarkImport10M is one import of about as many rows as there may be.
func BenchmarkImport10M(b *testing.B) {
	b.Run("ours", func(b *testing.B) { benchmarkImport(b, 0, sized(10_000_000)) })
}

// benchmarkImport imports rows into ledgers that have n claims. Memory is the most
// that the process has, store and filter included; bytes are those of the
// import's claims with their owners, without the rows that wait.
func benchmarkImport(b *testing.B, n, rows int) {
	from, file := preloaded(b, n), rowsFile(b, n, rows)
	var most, size float64
	for range b.N {
		b.StopTimer()
		l := forBench(b, cloned(b, from))
		debug.FreeOSMemory()
		most = max(most, highest(b, func() {
			b.StartTimer()
			imported(b, l, "B1", file)
			b.StopTimer()
		}))
		size = newest(b, l)
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(most, "anon-MiB")
	b.ReportMetric(size, "bytes/index")
}

// newest returns how many bytes of disk each claim of the newest segment takes.
func newest(b *testing.B, l *Ledger) float64 {
	list := l.claims().segments
	g := list[len(list)-1]
	st, err := os.Stat(g.Path())
	if err != nil {
		b.Fatal(err)
	}
	return float64(st.Size()) / float64(g.claims())
}

// BenchmarkAdmit measures index admission alone: from parsed values and serials, by
// way of their keyed digests, to the durable answer.
func BenchmarkAdmit(b *testing.B) {
	for _, n := range existing() {
		b.Run(fmt.Sprintf("existing=%s/ours", short(n)), func(b *testing.B) { benchmarkAdmit(b, n, sized(1_000_000)) })
	}
}

func benchmarkAdmit(b *testing.B, n, rows int) {
	from, values := preloaded(b, n), make([]byte, 0, 15*rows)
	for random := rand.New(rand.NewPCG(uint64(n), 1)); len(values) < cap(values); {
		values = appendPassword(values, random)
	}
	for range b.N {
		b.StopTimer()
		l := forBench(b, cloned(b, from))
		im := parsed(b, l, n, rows)
		b.StartTimer()
		if err := im.in.index(b, values); err != nil {
			b.Fatal(err)
		}
		if _, err := im.decide(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "indexes/s")
}

// parsed is an import whose serials are known, and its values not yet indexed. No
// rows are to wait.
func parsed(b *testing.B, l *Ledger, from, rows int) *importing {
	number, release, err := l.reserve("B1")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(release)
	im := &importing{l: l, r: batchOf(single(), "B1"), number: number, rec: importRecord{First: 1, Rows: rows, Columns: []uint8{0}}}
	im.in = newIntake(im.r.Product, l.keys, im.r.Actor)
	var serial []byte
	for row := range rows {
		serial = appendSerial(serial[:0], from+row)
		im.in.serials.add(serial)
	}
	if im.asked, err = l.ask(b.Context(), checkRecord{What: "import", Batch: "B1", Rows: rows}); err != nil {
		b.Fatal(err)
	}
	return im
}

// index makes the claims of values of 15 bytes, on all processors.
func (in *intake) index(b *testing.B, values []byte) error {
	const size = 15
	in.claims = make([]entry, len(values)/size)
	for i := range in.claims {
		in.claims[i].row = uint32(i + 1)
	}
	head := appendHead(nil, in.version(), Text, "")
	return inParts(in.claims, func(part []entry) error {
		var s summer
		defer s.close()
		for ; len(part) > 0; part = part[min(len(part), yieldEvery):] {
			some := part[:min(len(part), yieldEvery)]
			s.reset(len(some) * (messageSize("") + size))
			for _, e := range some {
				s.add(head, values[size*(e.row-1):size*e.row])
			}
			sums, err := s.sum(b.Context(), in.keys, in.version())
			if err != nil {
				return err
			}
			for i := range some {
				some[i].index = Index(sums[i][:16])
			}
		}
		return nil
	})
}

// BenchmarkReplay imports a file into a large ledger, and then again under another
// name: every row is refused.
func BenchmarkReplay(b *testing.B) {
	n, rows := most(), sized(1_000_000)
	b.Run(fmt.Sprintf("existing=%s/ours", short(n)), func(b *testing.B) {
		from, file := preloaded(b, n), rowsFile(b, n, rows)
		for range b.N {
			b.StopTimer()
			l := forBench(b, cloned(b, from))
			imported(b, l, "B1", file)
			b.StartTimer()
			replayed(b, l, file, rows)
			b.StopTimer()
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
		b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
	})
}

func replayed(b *testing.B, l *Ledger, file string, rows int) {
	f, err := os.Open(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	a, err := l.Import(b.Context(), batchOf(single(), "B2"), f)
	if !errors.Is(err, ErrRejected) || a.Total != 2*rows || len(a.Violations) != maxViolations {
		b.Fatalf("replay has %d violations, %v, want %d", a.Total, err, 2*rows)
	}
}

// resetPeak makes the process's peak memory its present memory.
func resetPeak(tb testing.TB) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		tb.Fatal(err)
	}
}

// peak returns the process's peak memory in MiB.
func peak(tb testing.TB) float64 { return status(tb, "VmHWM") }

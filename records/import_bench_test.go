package records

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
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

// BenchmarkImport admits a million rows, then has them rejected as a replay
// under another name. Memory is the peak of the whole process, store included.
func BenchmarkImport(b *testing.B) {
	const n = 1_000_000
	for range b.N {
		l := openWith(b, create(b), newTestKeys("a"), newTestRows(), Options{})
		resetPeak(b)
		start := b.Elapsed()
		if _, err := l.Import(b.Context(), batchOf(single(), "B1"), &manyRows{n: n}); err != nil {
			b.Fatal(err)
		}
		admitted := b.Elapsed()
		b.ReportMetric(n/(admitted-start).Seconds(), "rows/s")
		b.ReportMetric(peak(b), "peak-MiB")
		resetPeak(b)
		a, err := l.Import(b.Context(), batchOf(single(), "B2"), &manyRows{n: n})
		if a.Total != 2*n || len(a.Violations) != maxViolations {
			b.Fatalf("replay has %d violations, %v, want %d", a.Total, err, 2*n)
		}
		b.ReportMetric(n/(b.Elapsed()-admitted).Seconds(), "replayed-rows/s")
		b.ReportMetric(peak(b), "replay-peak-MiB")
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// resetPeak makes the process's peak memory its present memory.
func resetPeak(tb testing.TB) {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		tb.Fatal(err)
	}
}

// peak returns the process's peak memory in MiB.
func peak(tb testing.TB) float64 {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	status, err := io.ReadAll(f)
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		tb.Fatal(err)
	}
	return float64(kib) / 1024
}

package records

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// benchKeys computes as fast as the software authority does.
type benchKeys struct {
	*testKeys
	macs sync.Pool
}

func newBenchKeys() *benchKeys {
	return &benchKeys{testKeys: newTestKeys("a"), macs: sync.Pool{New: func() any { return hmac.New(sha256.New, []byte("a")) }}}
}

func (k *benchKeys) Sum(_ context.Context, _ uint32, msgs [][]byte, out [][32]byte) error {
	h := k.macs.Get().(hash.Hash)
	defer k.macs.Put(h)
	for i, m := range msgs {
		h.Reset()
		h.Write(m)
		h.Sum(out[i][:0])
	}
	return nil
}

// csvFile writes a file of n rows: a serial and a password of 15 to 20 characters.
func csvFile(b *testing.B, n int) *os.File {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "rows.csv"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	w := bufio.NewWriterSize(f, 1<<20)
	w.WriteString("serial,admin\n")
	const alphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"
	random := rand.New(rand.NewPCG(1, 2))
	for row := range n {
		fmt.Fprintf(w, "SN%08d,", row)
		for x, c, m := random.Uint64(), 0, 15+row%6; c < m; c++ {
			if c == 12 {
				x = random.Uint64()
			}
			w.WriteByte(alphabet[x>>(5*(c%12))&31])
		}
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		b.Fatal(err)
	}
	return f
}

func perRow(b *testing.B) {
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(peak(b), "peak-MiB")
}

// processorTime is what this process used of the processors, for a machine that
// others share.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkParse reads b.N rows and throws them away.
func BenchmarkParse(b *testing.B) {
	f := csvFile(b, b.N)
	b.ResetTimer()
	t, err := openTable(f, []string{"admin"})
	defer t.close()
	k := newChunk(2)
	defer k.close()
	for err == nil {
		err = t.read(k)
	}
	if !errors.Is(err, io.EOF) || t.rows != b.N {
		b.Fatal(t.rows, err)
	}
	perRow(b)
}

// BenchmarkIntake takes in b.N rows: all of an import before the ledger is asked.
func BenchmarkIntake(b *testing.B) {
	for _, waiting := range []bool{false, true} {
		b.Run(map[bool]string{false: "history", true: "rows"}[waiting], func(b *testing.B) { benchmarkIntake(b, waiting) })
	}
}

func benchmarkIntake(b *testing.B, waiting bool) {
	f := csvFile(b, b.N)
	in := newIntake(single(), newBenchKeys(), Actor{})
	if waiting {
		l := openWith(b, create(b), newTestKeys("a"), newTestRows(), Options{})
		rows, err := l.createRows(b.Context(), 1, 1)
		if err != nil {
			b.Fatal(err)
		}
		defer rows.discard(b.Context())
		in.rows = rows
	}
	resetPeak(b)
	before := processorTime(b)
	b.ResetTimer()
	if err := in.read(b.Context(), f, nil); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "read-rows/s")
	b.StopTimer()
	if len(in.claims) != b.N || in.objections.total > 0 {
		b.Fatalf("%d claims, %d objections, want %d and none", len(in.claims), in.objections.total, b.N)
	}
	b.StartTimer()
	if waiting {
		if err := in.rows.finish(&importRecord{}); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b)
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "cpu-ns/row")
}

// BenchmarkSort sorts what an import of b.N rows has to sort.
func BenchmarkSort(b *testing.B) {
	b.Run("claims", func(b *testing.B) {
		random := rand.NewChaCha8([32]byte{})
		claims := make([]entry, b.N)
		for i := range claims {
			claims[i].row = uint32(i + 1)
			random.Read(claims[i].index[:])
		}
		b.ResetTimer()
		sortEntries(claims)
	})
	for _, order := range []string{"serials", "mixed serials"} {
		b.Run(order, func(b *testing.B) {
			var s serialList
			for row := range b.N {
				n := row
				if order == "mixed serials" {
					n = row * 7919 % max(b.N, 1)
				}
				s.add(fmt.Appendf(nil, "SN%08d", n))
			}
			b.ResetTimer()
			s.sorted()
		})
	}
}

// BenchmarkObjections adds what a replay of b.N rows breaks, in the order of
// indexes.
func BenchmarkObjections(b *testing.B) {
	rows := rand.New(rand.NewPCG(1, 2)).Perm(b.N)
	o := objections{product: single(), by: Actor{Quality: true}}
	b.ResetTimer()
	for _, row := range rows {
		o.add(hit{row: uint32(row + 1), kind: inLedger})
		o.add(hit{row: uint32(row + 1), place: noPlace, kind: serialKnown})
	}
	if o.total != 2*b.N {
		b.Fatal(o.total)
	}
}

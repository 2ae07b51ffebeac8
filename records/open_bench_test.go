package records

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"testing"
)

// BenchmarkAudit compares all claims of a ledger with each other. What it reads was
// just read by the open, so it is in the kernel's memory as far as that goes.
func BenchmarkAudit(b *testing.B) {
	n := most()
	b.Run(fmt.Sprintf("existing=%s/ours", short(n)), func(b *testing.B) {
		l := closedAfter(b, forBench(b, cloned(b, preloaded(b, n))))
		b.ResetTimer()
		for range b.N {
			if a, err := l.Audit(b.Context()); err != nil || a.Claims != uint64(n) || a.Twice != 0 {
				b.Fatalf("Audit = %+v, %v, want %d claims, none twice", a, err, n)
			}
		}
		b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/audit")
		b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "indexes/s")
	})
}

// BenchmarkOpen opens a large ledger after a close, and after a kill that left
// claims, not yet folded, in the store's log. Memory is what the process has
// then; bytes are those of all segments.
func BenchmarkOpen(b *testing.B) {
	n := most()
	after := func(name string, from func(b *testing.B) string) {
		b.Run(fmt.Sprintf("existing=%s/after=%s/ours", short(n), name), func(b *testing.B) { benchmarkOpen(b, from(b), n) })
	}
	after("close", func(b *testing.B) string { return preloaded(b, n) })
	after("kill", func(b *testing.B) string { return killed(b, n, sized(200_000)) })
}

func benchmarkOpen(b *testing.B, from string, n int) {
	var memory, size float64
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		dir := cloned(b, from)
		debug.FreeOSMemory()
		b.StartTimer()
		l := forBench(b, dir)
		b.StopTimer()
		memory, size = max(memory, anonymous(b)), segmentBytes(b, dir)
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/open")
	b.ReportMetric(memory, "anon-MiB")
	b.ReportMetric(size/float64(n), "bytes/index")
}

// killed returns a ledger with n claims as a process leaves it that is killed after it
// made some more: what the kernel has of the folder at that moment.
func killed(b *testing.B, n, more int) string {
	l := claiming(b, n)
	defer l.end(b)
	var wg sync.WaitGroup
	for range 256 {
		wg.Go(func() {
			for range more / 256 {
				if err := l.claim(context.Background()); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return cloned(b, l.dir)
}

func segmentBytes(b *testing.B, dir string) (size float64) {
	files, err := filepath.Glob(filepath.Join(dir, "segments", "*.seg"))
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range files {
		st, err := os.Stat(name)
		if err != nil {
			b.Fatal(err)
		}
		size += float64(st.Size())
	}
	return size
}

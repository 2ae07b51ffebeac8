package records

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// BenchmarkClaim measures durable claims, one at a time and many at once: ours,
// with groups and the head file, in an empty ledger and in a large one, beside
// one Badger transaction for each claim with the same options of the store, and
// beside imports.
func BenchmarkClaim(b *testing.B) {
	many := []int{1, 64, 256, 512}
	if *large {
		many = []int{64}
	}
	for _, inFlight := range many {
		if !*large {
			l := claiming(b, 0)
			b.Run(fmt.Sprintf("inflight=%d/ours", inFlight), func(b *testing.B) { inParallel(b, inFlight, l.claim) })
			l.end(b)
			b.Run(fmt.Sprintf("inflight=%d/one-transaction-each", inFlight), func(b *testing.B) { inTransactions(b, inFlight) })
		}
		l := claiming(b, most())
		b.Run(fmt.Sprintf("inflight=%d/existing=%s/ours", inFlight, short(most())), func(b *testing.B) { inParallel(b, inFlight, l.claim) })
		l.end(b)
		b.Run(fmt.Sprintf("inflight=%d/existing=%s/beside=imports/ours", inFlight, short(most())), func(b *testing.B) { besideImports(b, inFlight) })
	}
}

// A claimer is a ledger that goes on to take new claims, over all runs of a benchmark.
type claimer struct {
	*Ledger
	claimed atomic.Uint64
}

// claiming opens a ledger that has n claims.
func claiming(b *testing.B, n int) *claimer {
	b.Helper()
	l := &claimer{Ledger: forBench(b, cloned(b, preloaded(b, n)))}
	testBatch(b, l.Ledger)
	return l
}

func (c *claimer) claim(ctx context.Context) error { return claimOne(ctx, c.Ledger, c.claimed.Add(1)) }

func (c *claimer) end(b *testing.B) {
	b.Helper()
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
}

// besideImports measures claims while one import of a million rows follows the
// other, as many as b.N.
func besideImports(b *testing.B, inFlight int) {
	rows := sized(1_000_000)
	files := make([]string, b.N)
	for i := range files {
		files[i] = rowsFile(b, most()+i*rows, rows)
	}
	l := claiming(b, most())
	defer l.end(b)
	ctx, cancel := context.WithCancel(b.Context())
	each := make([][]time.Duration, inFlight)
	var wg sync.WaitGroup
	b.ResetTimer()
	for n := range each {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				if err := l.claim(b.Context()); err != nil {
					b.Error(err)
				}
				each[n] = append(each[n], time.Since(start))
			}
		})
	}
	for i, file := range files {
		imported(b, l.Ledger, fmt.Sprintf("B%d", i+2), file)
	}
	cancel()
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N*rows)/b.Elapsed().Seconds(), "rows/s")
	reportClaims(b, slices.Concat(each...))
}

func inTransactions(b *testing.B, inFlight int) {
	dir := b.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "badger"), 0o700); err != nil {
		b.Fatal(err)
	}
	db, err := openBadger(dir, storeLog{log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	var n atomic.Uint64
	inParallel(b, inFlight, func(context.Context) error { return claimAlone(db, n.Add(1)) })
}

// claimAlone is what a user of Badger would write.
func claimAlone(db *badger.DB, i uint64) error {
	return db.Update(func(txn *badger.Txn) error {
		claim := index(i)
		key := append([]byte{keyClaim}, claim[:]...)
		if _, found, err := lookup(txn, key); err != nil || found {
			return fmt.Errorf("claim %d: found %v, %w", i, found, err)
		}
		return txn.Set(key, ownerRef{Batch: 1, Serial: "S1"}.encode())
	})
}

// inParallel calls claim b.N times, inFlight at once, and reports their rate and
// how long one takes.
func inParallel(b *testing.B, inFlight int, claim func(context.Context) error) {
	var n atomic.Int64
	took := make([]time.Duration, b.N)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range inFlight {
		wg.Go(func() {
			for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
				start := time.Now()
				if err := claim(b.Context()); err != nil {
					b.Error(err)
				}
				took[i-1] = time.Since(start)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	reportClaims(b, took)
}

func reportClaims(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	at := func(p int) float64 { return float64(took[(len(took)-1)*p/100].Microseconds()) / 1000 }
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "claims/s")
	b.ReportMetric(at(50), "p50-ms")
	b.ReportMetric(at(99), "p99-ms")
}

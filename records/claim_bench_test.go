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
// with groups and the head file, beside one Badger transaction for each claim,
// with the same options of the store.
func BenchmarkClaim(b *testing.B) {
	for _, inFlight := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("inflight=%d/ours", inFlight), func(b *testing.B) {
			l := open(b, create(b))
			testBatch(b, l)
			inParallel(b, inFlight, func(ctx context.Context, i uint64) error { return claimOne(ctx, l, i) })
		})
		b.Run(fmt.Sprintf("inflight=%d/one-transaction-each", inFlight), func(b *testing.B) {
			dir := b.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "badger"), 0o700); err != nil {
				b.Fatal(err)
			}
			db, err := openBadger(dir, storeLog{log: slog.New(slog.DiscardHandler)})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			inParallel(b, inFlight, func(_ context.Context, i uint64) error { return claimAlone(db, i) })
		})
	}
}

// claimAlone is what a user of Badger would write.
func claimAlone(db *badger.DB, i uint64) error {
	return db.Update(func(txn *badger.Txn) error {
		key := claimKey(index(i))
		if _, found, err := lookup(txn, key); err != nil || found {
			return fmt.Errorf("claim %d: found %v, %w", i, found, err)
		}
		return txn.Set(key, ownerRef{Batch: 1, Serial: "S1"}.encode())
	})
}

// inParallel calls claim b.N times, inFlight at once, and reports their rate and
// how long one takes.
func inParallel(b *testing.B, inFlight int, claim func(context.Context, uint64) error) {
	var n atomic.Uint64
	took := make([]time.Duration, b.N)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range inFlight {
		wg.Go(func() {
			for i := n.Add(1); i <= uint64(b.N); i = n.Add(1) {
				start := time.Now()
				if err := claim(b.Context(), i); err != nil {
					b.Error(err)
				}
				took[i-1] = time.Since(start)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	at := func(p int) float64 { return float64(took[(len(took)-1)*p/100].Microseconds()) / 1000 }
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "claims/s")
	b.ReportMetric(at(50), "p50-ms")
	b.ReportMetric(at(99), "p99-ms")
}

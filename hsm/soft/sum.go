package soft

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/sync/errgroup"

	"mintmark/hsm/digest"
)

// chunk is how many messages are computed between two looks at the context:
// about a millisecond.
const chunk = 4096

// breath is how many messages are computed before another goroutine may run:
// about 40 microseconds, so that a live claim doesn't wait for an import.
const breath = 256

// Sum computes HMAC-SHA-256 of every message under a version of the index key. A
// large batch is spread over the processors. When it returns an error, out holds
// sums of some of the messages only.
func (a *Authority) Sum(ctx context.Context, version uint32, msgs [][]byte, out [][32]byte) error {
	key, ok := a.index[version]
	if !ok {
		return fmt.Errorf("%w: %d, want one of %d", ErrVersion, version, a.versions)
	}
	if len(msgs) != len(out) {
		return fmt.Errorf("%d messages and room for %d sums, want equal numbers", len(msgs), len(out))
	}
	if len(msgs) <= chunk {
		return sumAll(ctx, key, msgs, out)
	}
	workers := min(runtime.GOMAXPROCS(0), (len(msgs)+chunk-1)/chunk)
	g, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		from, to := w*len(msgs)/workers, (w+1)*len(msgs)/workers
		g.Go(func() error { return sumAll(ctx, key, msgs[from:to], out[from:to]) })
	}
	return g.Wait()
}

func sumAll(ctx context.Context, key *digest.Key, msgs [][]byte, out [][32]byte) error {
	m := key.MAC()
	defer m.Close()
	for i := range msgs {
		if i%chunk == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if i%breath == 0 {
			runtime.Gosched()
		}
		m.Sum(&out[i], msgs[i])
	}
	return nil
}

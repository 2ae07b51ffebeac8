// Package hsm is where secrets come from: generators that draw credentials
// without bias, and verifiers for devices that store one instead of the secret.
// The packages below it are the authorities: where keys live.
//
// It promises:
//
//   - Every value a generator can draw is equally likely, and [Generator.Bits]
//     is the logarithm of how many there are.
//   - Nothing is drawn below the floors of R-GEN-02.
//   - Values exist in [secret.Value] only; no error holds one, or a part of one.
package hsm

import (
	"context"

	"mintmark/hsm/secret"
)

// A Random gives n random bytes of an approved generator (R-GEN-01). The caller
// closes them. It may be called from several goroutines at once and returns soon
// after ctx is done.
type Random interface {
	Random(ctx context.Context, n int) (*secret.Value, error)
}

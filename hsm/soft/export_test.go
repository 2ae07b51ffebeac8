package soft

import (
	"context"
	"io/fs"
	"time"

	"mintmark/hsm"
)

// CreateAt is Create at a time of the test's choice.
func CreateAt(dir string, now time.Time) error { return create(dir, now) }

// CheckOwner says what Open says of a file when user me runs it.
func CheckOwner(info fs.FileInfo, what, path string, me int) error {
	return checkOwner(info, what, path, me)
}

// SumAll computes sums in the goroutine of the caller.
func (a *Authority) SumAll(ctx context.Context, version uint32, msgs [][]byte, out [][32]byte) error {
	return sumAll(ctx, a.index[version], msgs, out)
}

// Chunk is how many sums are computed between two looks at the context.
const Chunk = chunk

// Health is the test that all random bytes of a go through.
func (a *Authority) Health() *hsm.Health { return a.health }

// ObjectPath is the file of an object.
func (a *Authority) ObjectPath(name string) string { return a.objectPath(name) }

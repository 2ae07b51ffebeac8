package records

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// testKeys is an index key made of a seed.
type testKeys struct {
	seed     string
	versions []uint32
}

func newTestKeys(seed string, versions ...uint32) *testKeys {
	if len(versions) == 0 {
		versions = []uint32{1}
	}
	return &testKeys{seed, versions}
}

func (k *testKeys) Versions() []uint32 { return k.versions }
func (k *testKeys) ID() string         { return "test:" + k.seed }

func (k *testKeys) Sum(ctx context.Context, version uint32, msgs [][]byte, out [][32]byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if len(msgs) != len(out) {
		return fmt.Errorf("%d messages, want %d", len(msgs), len(out))
	}
	for i, m := range msgs {
		h := hmac.New(sha256.New, binary.BigEndian.AppendUint32([]byte(k.seed), version))
		h.Write(m)
		h.Sum(out[i][:0])
	}
	return nil
}

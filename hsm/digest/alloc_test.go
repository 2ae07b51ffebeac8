//go:build !race

package digest_test

import (
	"testing"

	"mintmark/hsm/digest"
)

// With the race detector the compiler allocates what it else keeps on the stack.
func TestMACsDontAllocate(t *testing.T) {
	k := digest.NewKey([]byte("key"))
	defer k.Close()
	m := k.MAC()
	defer m.Close()
	msg := []byte("message")
	out := new([32]byte)
	if n := testing.AllocsPerRun(100, func() { m.Sum(out, msg) }); n > 0 {
		t.Errorf("a MAC allocates %v times: what it allocates is not wiped", n)
	}
}

package secret_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/canary"
	"mintmark/hsm/secret"
)

// What a thread has in its registers is written to memory for the handler of a
// signal, and stays there until the next one.
func TestACopyLeavesNothingInRegisters(t *testing.T) {
	for name, f := range map[string]func(to, from *secret.Value) *secret.Value{
		"Join": func(_, from *secret.Value) *secret.Value { return secret.Join(from.Bytes()) },
		"Wipe": func(to, from *secret.Value) *secret.Value {
			copy(to.Bytes(), from.Bytes())
			secret.Wipe(to.Bytes())
			return nil
		},
	} {
		for _, n := range []int{16, 200, 256, 600} {
			from, to := secret.New(n), secret.New(n)
			for i := range from.Bytes() {
				from.Bytes()[i] = byte(rand.Uint32()) // one by one, so that nothing else copies it
			}
			var made *secret.Value
			spilled(t, func() { made = f(to, from) }, func() {
				if found := outside(t, from.Bytes()); len(found) > 0 {
					t.Errorf("%s of %d bytes left pieces outside of secret pages: %s", name, n, found)
				}
			})
			for _, v := range []*secret.Value{from, to, made} {
				v.Close()
			}
		}
	}
}

// spilled calls look while a thread rests that got a signal right after f.
func spilled(t *testing.T, f, look func()) {
	t.Helper()
	looked := make(chan struct{})
	signalled := make(chan error)
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		f()
		signalled <- unix.Tgkill(os.Getpid(), unix.Gettid(), unix.SIGURG)
		<-looked
	})
	if err := <-signalled; err != nil {
		t.Error(err)
	}
	look()
	close(looked)
	wg.Wait()
}

// outside says where in memory that is not of secrets pieces of 8 bytes are. It
// makes no copy of them itself.
func outside(t *testing.T, b []byte) (found []string) {
	t.Helper()
	mappings, err := canary.Mappings(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	room := secret.New(1 << 20)
	defer room.Close()
	for _, m := range mappings {
		if !strings.HasPrefix(m.Perm, "rw") || m.Secret() {
			continue
		}
		for at := m.From; at < m.To; at += uint64(room.Len()) {
			k, err := mem.ReadAt(room.Bytes()[:min(uint64(room.Len()), m.To-at)], int64(at))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i+8 <= len(b); i += 8 {
				if j := bytes.Index(room.Bytes()[:k], b[i:i+8]); j >= 0 {
					found = append(found, fmt.Sprintf("%d. at %#x", i, at+uint64(j)))
				}
			}
		}
	}
	return found
}

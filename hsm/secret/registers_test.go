package secret_test

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
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
			veiled := plant(from.Bytes())
			var made *secret.Value
			spilled(t, func() { made = f(to, from) }, func() {
				if found := outside(t, veiled); len(found) > 0 {
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

// veil is over what is sought, so that seeking it copies nothing of it.
const veil = 0x5a5a5a5a5a5a5a5a

// plant fills b at random, byte by byte, so that no register holds more of it.
func plant(b []byte) (veiled []byte) {
	veiled = make([]byte, len(b))
	rand.Read(veiled)
	for i := range b {
		b[i] = veiled[i] ^ veil&0xff
	}
	return veiled
}

// outside says where in memory that is not of secrets pieces of 8 bytes are.
func outside(t *testing.T, veiled []byte) (found []string) {
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
	sought := map[uint64]int{}
	for i := range len(veiled) - 7 {
		sought[binary.LittleEndian.Uint64(veiled[i:])] = i
	}
	part := make([]byte, 1<<20)
	for _, m := range mappings {
		if !strings.HasPrefix(m.Perm, "rw") || m.Secret() {
			continue
		}
		for at := m.From; at < m.To; at += uint64(len(part)) {
			n, _ := mem.ReadAt(part[:min(uint64(len(part)), m.To-at)], int64(at)) // the mapping may be gone by now
			found = append(found, pieces(part[:n], at, sought)...)
		}
	}
	return found
}

// pieces says where what is sought lies as registers are saved, which is at
// multiples of 8.
//
//go:norace
func pieces(b []byte, base uint64, sought map[uint64]int) (found []string) {
	for at := 0; at+8 <= len(b); at += 8 {
		word := binary.LittleEndian.Uint64(b[at:])
		if word == 0 {
			continue // most are
		}
		if i, ok := sought[word^veil]; ok {
			found = append(found, fmt.Sprintf("%d. at %#x", i, base+uint64(at)))
		}
	}
	return found
}

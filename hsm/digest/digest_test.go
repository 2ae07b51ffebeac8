package digest_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"mintmark/hsm/digest"
	"mintmark/hsm/secret"
)

func TestSumsAgreeWithTheStandardLibrary(t *testing.T) {
	for name, tt := range map[string]struct {
		ours  func() *digest.Hash
		their func() hash.Hash
	}{
		"SHA-256": {digest.SHA256, sha256.New},
		"SHA-512": {digest.SHA512, sha512.New},
	} {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				ours, their := tt.ours(), tt.their()
				defer ours.Close()
				if ours.Size() != their.Size() || ours.BlockSize() != their.BlockSize() {
					t.Fatalf("sizes are %d and %d, want %d and %d", ours.Size(), ours.BlockSize(), their.Size(), their.BlockSize())
				}
				for range rapid.IntRange(1, 8).Draw(t, "steps") {
					if rapid.IntRange(0, 5).Draw(t, "reset") == 0 {
						ours.Reset()
						their.Reset()
					}
					p := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "input")
					ours.Write(p)
					their.Write(p)
					if got, want := ours.Sum([]byte("x")), their.Sum([]byte("x")); !bytes.Equal(got, want) {
						t.Fatalf("Sum = %x, want %x", got, want)
					}
				}
			})
		})
	}
}

func TestMACsAgreeWithTheStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "key")
		given := bytes.Clone(key)
		k := digest.NewKey(key)
		defer k.Close()
		if !bytes.Equal(key, given) {
			t.Fatal("NewKey changed the key of its caller")
		}
		m := k.MAC()
		defer m.Close()
		for range 3 {
			parts := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 100), 0, 4).Draw(t, "parts")
			want := hmac.New(sha256.New, key)
			want.Write(bytes.Join(parts, nil))
			var got [32]byte
			m.Sum(&got, parts...)
			if !bytes.Equal(got[:], want.Sum(nil)) {
				t.Fatalf("MAC of %d parts is %x, want %x", len(parts), got, want.Sum(nil))
			}
		}
	})
}

// Test case 2 and 6 of RFC 4231.
func TestMACsAgreeWithTheRFC(t *testing.T) {
	for _, tt := range []struct{ key, data, want string }{
		{"Jefe", "what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
		{string(bytes.Repeat([]byte{0xaa}, 131)), "Test Using Larger Than Block-Size Key - Hash Key First",
			"60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
	} {
		k := digest.NewKey([]byte(tt.key))
		m := k.MAC()
		var got [32]byte
		m.Sum(&got, []byte(tt.data))
		if hex.EncodeToString(got[:]) != tt.want {
			t.Errorf("MAC of %q is %x, want %s", tt.data, got, tt.want)
		}
		m.Close()
		k.Close()
	}
}

func TestAKeyIsSafeForConcurrentUse(t *testing.T) {
	k := digest.NewKey([]byte("key"))
	defer k.Close()
	want := hmac.New(sha256.New, []byte("key"))
	want.Write([]byte("message"))
	sum := want.Sum(nil)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			m := k.MAC()
			defer m.Close()
			for range 1000 {
				var got [32]byte
				if m.Sum(&got, []byte("message")); !bytes.Equal(got[:], sum) {
					t.Errorf("MAC is %x, want %x", got, sum)
				}
			}
		})
	}
	wg.Wait()
}

// memoryOf is what the standard library's hash inside ours holds: its chaining
// value and the last input that did not fill a block.
func memoryOf(t *testing.T, of any) []byte {
	t.Helper()
	h := reflect.ValueOf(of).Elem()
	for h.Kind() == reflect.Struct && h.FieldByName("hash").IsValid() { // a MAC
		h = h.FieldByName("hash").Elem()
	}
	inner := h.FieldByName("state").Elem().Elem() // *sha256.Digest
	return unsafe.Slice((*byte)(inner.Addr().UnsafePointer()), inner.Type().Size())
}

func TestNothingStaysInAClosedHash(t *testing.T) {
	input := []byte("CANARY CANARY CANARY")
	for name, h := range map[string]*digest.Hash{"SHA-256": digest.SHA256(), "SHA-512": digest.SHA512()} {
		fresh := bytes.Clone(memoryOf(t, h))
		h.Write(input)
		memory := memoryOf(t, h)
		if !bytes.Contains(memory, input) {
			t.Fatalf("%s: the input is not in the memory we look at", name)
		}
		h.Close()
		if !bytes.Equal(memory, fresh) {
			t.Errorf("%s: after Close the memory is %x, want that of a fresh hash", name, memory)
		}
	}
}

func TestNothingStaysInAClosedMAC(t *testing.T) {
	fresh := bytes.Clone(memoryOf(t, digest.SHA256()))
	k := digest.NewKey([]byte("key"))
	defer k.Close()
	m := k.MAC()
	var out [32]byte
	m.Sum(&out, []byte("CANARY"))
	memory := memoryOf(t, m)
	if bytes.Contains(memory, []byte("CANARY")) {
		t.Error("the message is in memory although its MAC was computed")
	}
	m.Close()
	if !bytes.Equal(memory, fresh) {
		t.Errorf("after Close the memory is %x, want that of a fresh hash", memory)
	}
}

func TestAllMemoryIsGivenBack(t *testing.T) {
	before := secret.Held()
	h := digest.SHA512()
	k := digest.NewKey(make([]byte, 100))
	m := k.MAC()
	if secret.Held() == before {
		t.Fatal("nothing is held, so this test is blind")
	}
	m.Close()
	k.Close()
	h.Close()
	if got := secret.Held(); got != before {
		t.Errorf("%d values are still open", got-before)
	}
}

func BenchmarkMAC(b *testing.B) {
	k := digest.NewKey([]byte("key"))
	defer k.Close()
	m := k.MAC()
	defer m.Close()
	msg := make([]byte, 62)
	for i := range msg {
		msg[i] = byte(rand.Int())
	}
	out := new([32]byte)
	for b.Loop() {
		m.Sum(out, msg)
	}
}

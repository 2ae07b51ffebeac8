package secret_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"crypto/sha512"
	"reflect"
	"testing"
	"unsafe"

	"mintmark/hsm/secret"
)

// memory is what p points to.
func memory(p any) []byte {
	v := reflect.ValueOf(p)
	return unsafe.Slice((*byte)(v.UnsafePointer()), v.Type().Elem().Size())
}

func TestEraseReachesIntoCiphersAndHashes(t *testing.T) {
	key := []byte("CANARY-CANARY-CANARY-CANARY-1234")
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	box, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	short, long := sha256.New(), sha512.New()
	short.Write(key)
	long.Write(key)
	for name, p := range map[string]any{"AES": block, "AES-GCM": box, "SHA-256": short, "SHA-512": long} {
		m := memory(p)
		if !bytes.Contains(m, key[:16]) {
			t.Errorf("%s: the key is not in the memory we look at", name)
		}
		if !secret.Erase(p) || !bytes.Equal(m, make([]byte, len(m))) {
			t.Errorf("%s: after Erase the memory is %x, want zeros", name, m)
		}
	}
}

func TestEraseKeepsOffPointers(t *testing.T) {
	n, s := 1, "text"
	type mixed struct {
		_ [4]byte
		s string
	}
	var none *int
	for _, p := range []any{
		nil, none, 7, "text", []byte("text"), &s, &[]byte{1}, &mixed{s: "text"}, &[2]*int{&n}, new(any), new(func()), new(uintptr),
	} {
		if secret.Erase(p) {
			t.Errorf("Erase overwrote a %T", p)
		}
	}
	if s != "text" || n != 1 {
		t.Errorf("Erase changed what it refused to %q and %d", s, n)
	}
	if p := (&struct {
		_ [2]struct{ b uint16 }
		c bool
		f float64
	}{c: true, f: 1}); !secret.Erase(p) || p.c || p.f != 0 {
		t.Errorf("Erase left %v of a plain struct", p)
	}
}

package soft_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mintmark/hsm/soft"
)

// create makes an authority in a folder of its own.
func create(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	if err := soft.Create(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t testing.TB, dir string) *soft.Authority {
	t.Helper()
	a, err := soft.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestAnAuthorityNamesItselfTheSameEachTime(t *testing.T) {
	dir := create(t)
	a, b := open(t, dir), open(t, dir)
	if a.ID() != b.ID() || !strings.HasPrefix(a.ID(), "soft:") || len(a.ID()) != len("soft:")+8 {
		t.Errorf("ID() = %q, then %q, want soft: and 8 characters, twice", a.ID(), b.ID())
	}
	if other := open(t, create(t)); other.ID() == a.ID() {
		t.Errorf("two authorities are both %q", a.ID())
	}
	if !a.Development() {
		t.Error("Development() = false, want true: it must never pass for a real authority")
	}
}

func TestCreateNeverOverwrites(t *testing.T) {
	dir := create(t)
	before := read(t, dir)
	if err := soft.Create(dir); !errors.Is(err, soft.ErrExists) {
		t.Errorf("second Create: got %v, want ErrExists", err)
	}
	if after := read(t, dir); !bytes.Equal(before, after) {
		t.Error("the second Create changed a key")
	}
}

func read(t *testing.T, dir string) []byte {
	t.Helper()
	var all []byte
	for _, name := range []string{"index.key", "wrap.key"} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	return all
}

func TestSumIsHMACOfTheKeyInTheFile(t *testing.T) {
	dir := create(t)
	a := open(t, dir)
	key := read(t, dir)[16+12:][:32]
	for _, n := range []int{0, 1, 2, 100, 4096, 4097, 20000} {
		msgs, out := make([][]byte, n), make([][32]byte, n)
		for i := range msgs {
			msgs[i] = fmt.Append(nil, "message ", i)
		}
		if err := a.Sum(context.Background(), 1, msgs, out); err != nil {
			t.Fatal(err)
		}
		for i := range msgs {
			m := hmac.New(sha256.New, key)
			m.Write(msgs[i])
			if !bytes.Equal(out[i][:], m.Sum(nil)) {
				t.Fatalf("sum %d of %d differs from crypto/hmac", i, n)
			}
		}
	}
}

func TestRowKeysOpenUnderTheirObjectOnly(t *testing.T) {
	ctx := context.Background()
	a := open(t, create(t))
	key, wrapped, err := a.NewRowKey(ctx, "batch 1")
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	got, err := a.RowKey(ctx, "batch 1", wrapped)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if !got.Equal(key) {
		t.Error("RowKey gave another key than NewRowKey")
	}
	if _, err := a.RowKey(ctx, "batch 2", wrapped); !errors.Is(err, soft.ErrNoObject) {
		t.Errorf("under an object that was never made: got %v, want ErrNoObject", err)
	}
	if shredded, err := a.Shred(ctx, "batch 1"); shredded || err != nil {
		t.Errorf("Shred = %v, %v, want false, nil: software can't shred", shredded, err)
	}
	if _, err := a.RowKey(ctx, "batch 1", wrapped); !errors.Is(err, soft.ErrNoObject) {
		t.Errorf("after Shred: got %v, want ErrNoObject", err)
	}
}

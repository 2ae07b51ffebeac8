package soft_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
)

func newRowKey(t *testing.T, a *soft.Authority, object string) (*secret.Value, []byte) {
	t.Helper()
	key, wrapped, err := a.NewRowKey(t.Context(), object)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Close)
	return key, wrapped
}

// opens says whether wrapped opens to key under the object.
func opens(t *testing.T, a *soft.Authority, object string, wrapped []byte, key *secret.Value) bool {
	t.Helper()
	got, err := a.RowKey(t.Context(), object, wrapped)
	if err != nil {
		return false
	}
	defer got.Close()
	return got.Equal(key)
}

func TestRowKeysOpenUnderTheirObjectOnly(t *testing.T) {
	dir := create(t)
	a := open(t, dir)
	key, wrapped := newRowKey(t, a, "batch 1")
	other, otherWrapped := newRowKey(t, a, "batch 2")
	if key.Len() != 32 || key.Equal(other) {
		t.Errorf("the keys have %d bytes, or are equal", key.Len())
	}
	if !opens(t, a, "batch 1", wrapped, key) || !opens(t, open(t, dir), "batch 2", otherWrapped, other) {
		t.Error("a key does not open under its object, or not after a restart")
	}
	for object, w := range map[string][]byte{"batch 1": otherWrapped, "batch 2": wrapped} {
		_, err := a.RowKey(t.Context(), object, w)
		if err == nil || err.Error() != "open row key: wrapped key is damaged, or belongs to another object or authority" {
			t.Errorf("the key of the other object under %s: got %v", object, err)
		}
	}
	if _, err := a.RowKey(t.Context(), "batch 3", wrapped); !errors.Is(err, soft.ErrNoObject) {
		t.Errorf("under an object that was never made: got %v, want ErrNoObject", err)
	}
	if _, err := open(t, create(t)).RowKey(t.Context(), "batch 1", wrapped); !errors.Is(err, soft.ErrNoObject) {
		t.Errorf("in another authority: got %v, want ErrNoObject", err)
	}
}

// The format, with the standard library's parts.
func TestAWrappedKeyIsAsDocumented(t *testing.T) {
	dir := create(t)
	a := open(t, dir)
	key, wrapped := newRowKey(t, a, "batch 1")
	name := sha256.Sum256([]byte("batch 1"))
	object := readFile(t, filepath.Join(dir, "objects"), hex.EncodeToString(name[:16]))
	info := "mintmark/row-key" + string(object) + "batch 1"
	wrapping, err := hkdf.Expand(sha256.New, readFile(t, dir, "wrap.key")[28:60], info, 32)
	must(t, err)
	block, err := aes.NewCipher(wrapping)
	must(t, err)
	box, err := cipher.NewGCM(block)
	must(t, err)
	if len(object) != 32 || len(wrapped) != 61 || wrapped[0] != 1 {
		t.Fatalf("object of %d bytes, wrapped key of %d and format %d", len(object), len(wrapped), wrapped[0])
	}
	got, err := box.Open(nil, wrapped[1:13], wrapped[13:], []byte("batch 1"))
	if err != nil || !bytes.Equal(got, key.Bytes()) {
		t.Errorf("opened by hand: %v, or another key", err)
	}
}

func TestADamagedWrappedKeyIsRefused(t *testing.T) {
	a := open(t, create(t))
	_, wrapped := newRowKey(t, a, "batch 1")
	for i := range wrapped {
		bad := bytes.Clone(wrapped)
		bad[i] ^= 1
		if key, err := a.RowKey(t.Context(), "batch 1", bad); err == nil || key != nil {
			t.Errorf("with byte %d flipped it opens", i)
		}
	}
	for _, bad := range [][]byte{nil, wrapped[:60], append(bytes.Clone(wrapped), 0)} {
		_, err := a.RowKey(t.Context(), "batch 1", bad)
		if err == nil || !strings.Contains(err.Error(), "or an unknown format, want 61 of format 1") {
			t.Errorf("%d bytes: got %v", len(bad), err)
		}
	}
}

// An import that a crash stopped comes again under the same name; what the first
// one wrapped must still open, in case that is the one that counts.
func TestANameThatComesAgainKeepsItsObject(t *testing.T) {
	a := open(t, create(t))
	first, firstWrapped := newRowKey(t, a, "batch 1")
	second, secondWrapped := newRowKey(t, a, "batch 1")
	if first.Equal(second) {
		t.Error("two imports have the same key")
	}
	if !opens(t, a, "batch 1", firstWrapped, first) || !opens(t, a, "batch 1", secondWrapped, second) {
		t.Error("one of the two keys does not open any more")
	}
}

func TestShredTakesOneObjectAwayAndClaimsNoMore(t *testing.T) {
	a := open(t, create(t))
	_, wrapped := newRowKey(t, a, "batch 1")
	kept, keptWrapped := newRowKey(t, a, "batch 2")
	for range 2 { // the second time there is nothing left to do
		if shredded, err := a.Shred(t.Context(), "batch 1"); shredded || err != nil {
			t.Errorf("Shred = %v, %v, want false, nil: software can't shred", shredded, err)
		}
	}
	if _, err := a.RowKey(t.Context(), "batch 1", wrapped); !errors.Is(err, soft.ErrNoObject) {
		t.Errorf("after Shred: got %v, want ErrNoObject", err)
	}
	if !opens(t, a, "batch 2", keptWrapped, kept) {
		t.Error("Shred of one object took another away")
	}
	newRowKey(t, a, "batch 1")
	if _, err := a.RowKey(t.Context(), "batch 1", wrapped); err == nil {
		t.Error("a shredded key opens under a new object of the same name")
	}
}

func TestShredOverwritesWhatItDeletes(t *testing.T) {
	dir := create(t)
	a := open(t, dir)
	newRowKey(t, a, "batch 1")
	second := filepath.Join(t.TempDir(), "link") // a second name shows what the file holds
	must(t, os.Link(a.ObjectPath("batch 1"), second))
	_, err := a.Shred(t.Context(), "batch 1")
	must(t, err)
	if b, err := os.ReadFile(second); err != nil || !bytes.Equal(b, make([]byte, 32)) {
		t.Errorf("the deleted object held %x, %v, want zeros", b, err)
	}
}

func TestASpoiledObjectIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(path string) error
		want  string
	}{
		"cut short":          {func(p string) error { return os.Truncate(p, 31) }, "is too short, want 32 bytes; restore it from its backup"},
		"read by all":        {func(p string) error { return os.Chmod(p, 0o644) }, "has mode 0644"},
		"with a flipped bit": {func(p string) error { return os.WriteFile(p, make([]byte, 32), 0o600) }, "wrapped key is damaged"},
	} {
		a := open(t, create(t))
		_, wrapped := newRowKey(t, a, "batch 1")
		must(t, tt.spoil(a.ObjectPath("batch 1")))
		before := secret.Held()
		if _, err := a.RowKey(t.Context(), "batch 1", wrapped); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("an object %s: got %v, want %s", name, err, tt.want)
		}
		if got := secret.Held(); got != before {
			t.Errorf("an object %s: %d values stay open", name, got-before)
		}
	}
}

func TestRowKeysLookAtTheirContext(t *testing.T) {
	a := open(t, create(t))
	_, wrapped := newRowKey(t, a, "batch 1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := a.NewRowKey(ctx, "batch 1")
	_, openErr := a.RowKey(ctx, "batch 1", wrapped)
	_, shredErr := a.Shred(ctx, "batch 1")
	for _, err := range []error{err, openErr, shredErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want context.Canceled", err)
		}
	}
	if _, err := os.Stat(a.ObjectPath("batch 1")); err != nil {
		t.Errorf("a canceled Shred deleted: %v", err)
	}
}

func TestRowKeysAreSafeForConcurrentUse(t *testing.T) {
	a := open(t, create(t))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				key, wrapped := newRowKey(t, a, "batch 1")
				if !opens(t, a, "batch 1", wrapped, key) {
					t.Error("a key does not open")
				}
			}
		})
	}
	wg.Wait()
}

package soft_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"mintmark/hsm"
	"mintmark/hsm/secret"
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

func readFile(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sum is what the standard library makes of key and message.
func sum(key, msg []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write(msg)
	return m.Sum(nil)
}

// The layout of the package comment, read by hand.
func TestKeyFilesAreAsDocumented(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "authority")
	now := time.Unix(1_795_450_000, 0)
	if err := soft.CreateAt(dir, now); err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for name, purpose := range map[string]string{"index.key": "indx", "wrap.key": "wrap"} {
		b := readFile(t, dir, name)
		if len(b) != 16+52 || string(b[:12]) != "MINTKEY1"+purpose || binary.BigEndian.Uint32(b[12:]) != 1 {
			t.Fatalf("%s has %d bytes and starts with %q", name, len(b), b[:16])
		}
		about, key, check := b[16:28], b[28:60], b[60:]
		if v, at := binary.BigEndian.Uint32(about), binary.BigEndian.Uint64(about[4:]); v != 1 || at != 1_795_450_000 {
			t.Errorf("%s: version %d made at %d, want 1 and the time of Create", name, v, at)
		}
		if want := sum(key, append([]byte("mintmark/check"+purpose), about...))[:8]; !bytes.Equal(check, want) {
			t.Errorf("%s: check value is %x, want %x", name, check, want)
		}
		if name == "index.key" {
			if got, want := open(t, dir).ID(), "soft:"+hex.EncodeToString(check[:4]); got != want {
				t.Errorf("ID() = %s, want %s", got, want)
			}
		}
		keys[string(key)] = true
	}
	if len(keys) != 2 || keys[string(make([]byte, 32))] {
		t.Error("the two keys are equal, or all zeros")
	}
}

func TestAnAuthorityNamesItselfTheSameEachTime(t *testing.T) {
	dir := create(t)
	a, b := open(t, dir), open(t, dir)
	if a.ID() != b.ID() {
		t.Errorf("ID() = %q, then %q", a.ID(), b.ID())
	}
	if a.Versions()[0] = 7; !slices.Equal(a.Versions(), []uint32{1}) {
		t.Errorf("a caller changed the versions to %d", a.Versions())
	}
	if other := open(t, create(t)); other.ID() == a.ID() {
		t.Errorf("two authorities are both %q", a.ID())
	}
	if !a.Development() {
		t.Error("Development() = false, want true: it must never pass for a real authority")
	}
}

func TestSumIsHMACOfTheKeyInTheFile(t *testing.T) {
	dir := create(t)
	a := open(t, dir)
	key := readFile(t, dir, "index.key")[28:60]
	for _, n := range []int{0, 1, 2, 100, soft.Chunk, soft.Chunk + 1, 3*soft.Chunk + 5} {
		msgs, out := make([][]byte, n), make([][32]byte, n)
		for i := range msgs {
			msgs[i] = fmt.Append(nil, "message ", i)
		}
		if err := a.Sum(t.Context(), 1, msgs, out); err != nil {
			t.Fatal(err)
		}
		for i := range msgs {
			if !bytes.Equal(out[i][:], sum(key, fmt.Append(nil, "message ", i))) {
				t.Fatalf("sum %d of %d differs from crypto/hmac", i, n)
			}
		}
	}
}

func TestSumRefusesWhatItCantDo(t *testing.T) {
	a := open(t, create(t))
	msgs := [][]byte{[]byte("message")}
	err := a.Sum(t.Context(), 2, msgs, make([][32]byte, 1))
	if !errors.Is(err, soft.ErrVersion) || err.Error() != "index key has no such version: 2, want one of [1]" {
		t.Errorf("under a version that is not there: got %v", err)
	}
	if err := a.Sum(t.Context(), 1, msgs, nil); err == nil || err.Error() != "1 messages and room for 0 sums, want equal numbers" {
		t.Errorf("without room: got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, n := range []int{1, 3 * soft.Chunk} {
		out := make([][32]byte, n)
		if err := a.Sum(ctx, 1, make([][]byte, n), out); !errors.Is(err, context.Canceled) {
			t.Errorf("%d messages with a done context: got %v, want context.Canceled", n, err)
		}
		if out[0] != ([32]byte{}) {
			t.Errorf("%d messages with a done context: some were computed", n)
		}
	}
}

// soonDone is done after it was looked at some times.
type soonDone struct {
	context.Context
	looks int
}

func (c *soonDone) Err() error {
	if c.looks--; c.looks < 0 {
		return context.Canceled
	}
	return nil
}

func TestSumLooksAtItsContextWhileItWorks(t *testing.T) {
	a := open(t, create(t))
	const n = 5 * soft.Chunk
	out := make([][32]byte, n)
	err := a.SumAll(&soonDone{t.Context(), 2}, 1, make([][]byte, n), out)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if done := slices.Index(out, [32]byte{}); done != 2*soft.Chunk {
		t.Errorf("%d sums were computed, want %d", done, 2*soft.Chunk)
	}
}

func TestRandomGivesFreshBytes(t *testing.T) {
	a := open(t, create(t))
	seen := map[string]bool{}
	for range 100 {
		v, err := a.Random(t.Context(), 32)
		if err != nil || v.Len() != 32 {
			t.Fatalf("Random = %d bytes, %v, want 32", v.Len(), err)
		}
		seen[string(v.Bytes())] = true
		v.Close()
	}
	if len(seen) != 100 {
		t.Errorf("100 times 32 random bytes were %d different ones", len(seen))
	}
	for n, want := range map[int]string{
		0:         "0 random bytes were asked for, want 1 to 1048576",
		-1:        "-1 random bytes were asked for, want 1 to 1048576",
		1<<20 + 1: "1048577 random bytes were asked for, want 1 to 1048576",
	} {
		if v, err := a.Random(t.Context(), n); v != nil || err == nil || err.Error() != want {
			t.Errorf("Random(%d): got %v, want %s", n, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Random(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("with a done context: got %v, want context.Canceled", err)
	}
}

func TestAStuckSourceGivesNoBytesAnyMore(t *testing.T) {
	a := open(t, create(t))
	if err := a.Health().Take(make([]byte, 6)); !errors.Is(err, hsm.ErrStuck) {
		t.Fatalf("six zeros: got %v, want ErrStuck", err)
	}
	before := secret.Held()
	if v, err := a.Random(t.Context(), 16); v != nil || !errors.Is(err, hsm.ErrStuck) {
		t.Errorf("Random after that: got %v, want ErrStuck", err)
	}
	if got := secret.Held(); got != before {
		t.Errorf("%d values stay open", got-before)
	}
}

func TestCloseWipesTheKeys(t *testing.T) {
	a, err := soft.Open(create(t))
	if err != nil {
		t.Fatal(err)
	}
	a.Close()
	for name, use := range map[string]func(){
		"Sum":       func() { a.Sum(t.Context(), 1, make([][]byte, 1), make([][32]byte, 1)) },
		"NewRowKey": func() { a.NewRowKey(t.Context(), "batch") },
	} {
		if !panics(use) {
			t.Errorf("%s works after Close", name)
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// BenchmarkSumMillion computes a million indexes of usual length.
func BenchmarkSumMillion(b *testing.B) {
	a := open(b, create(b))
	const n = 1_000_000
	msgs, out := make([][]byte, n), make([][32]byte, n)
	for i := range msgs {
		msgs[i] = fmt.Appendf(nil, "mintmark/index, version, text, ledger, %015d", i)
	}
	for b.Loop() {
		if err := a.Sum(b.Context(), 1, msgs, out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds()/1e6, "Msums/s")
}

func BenchmarkSumOne(b *testing.B) {
	a := open(b, create(b))
	msgs, out := [][]byte{make([]byte, 62)}, make([][32]byte, 1)
	for b.Loop() {
		if err := a.Sum(b.Context(), 1, msgs, out); err != nil {
			b.Fatal(err)
		}
	}
}

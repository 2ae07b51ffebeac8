package secret_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"mintmark/hsm/secret"
)

func TestFromMovesTheBytes(t *testing.T) {
	b := []byte("correct horse")
	v := secret.From(b)
	defer v.Close()
	if got := v.Bytes(); !bytes.Equal(got, []byte("correct horse")) {
		t.Errorf("Bytes() = %q, want the bytes given", got)
	}
	if v.Len() != 13 {
		t.Errorf("Len() = %d, want 13", v.Len())
	}
	if !bytes.Equal(b, make([]byte, len(b))) {
		t.Errorf("From left %q in its argument, want zeros", b)
	}
}

func TestJoinKeepsItsParts(t *testing.T) {
	a, b := []byte("ab"), []byte("cde")
	v := secret.Join(a, nil, b)
	defer v.Close()
	if got := v.Bytes(); !bytes.Equal(got, []byte("abcde")) {
		t.Errorf("Join = %q, want abcde", got)
	}
	if !bytes.Equal(a, []byte("ab")) || !bytes.Equal(b, []byte("cde")) {
		t.Errorf("Join changed its parts to %q and %q", a, b)
	}
}

func TestEqualComparesContentAndLength(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{"", "", true},
		{"abc", "abc", true},
		{"abc", "abd", false},
		{"abc", "ab", false},
		{"abc", "abc\x00", false},
	} {
		v, w := secret.From([]byte(tt.a)), secret.From([]byte(tt.b))
		if got := v.Equal(w); got != tt.want {
			t.Errorf("%q equal to %q: got %v, want %v", tt.a, tt.b, got, tt.want)
		}
		v.Close()
		w.Close()
	}
}

func TestBytesPanicsAfterClose(t *testing.T) {
	v := secret.From([]byte("gone"))
	v.Close()
	v.Close()
	(*secret.Value)(nil).Close()
	if v.Len() != 4 || (*secret.Value)(nil).Len() != 0 {
		t.Errorf("Len() = %d closed and %d of nil, want 4 and 0", v.Len(), (*secret.Value)(nil).Len())
	}
	for name, f := range map[string]func(){
		"bytes of a closed value":  func() { v.Bytes() },
		"equal of a closed value":  func() { v.Equal(v) },
		"bytes of nil":             func() { (*secret.Value)(nil).Bytes() },
		"bytes of the zero value":  func() { new(secret.Value).Bytes() },
		"a value of negative size": func() { secret.New(-1) },
	} {
		if !panics(f) {
			t.Errorf("%s did not panic", name)
		}
	}
}

func panics(f func()) (did bool) {
	defer func() { did = recover() != nil }()
	f()
	return false
}

// The view is kept on purpose: it is the only way to see what Close leaves.
func TestCloseWipesTheMemory(t *testing.T) {
	for _, n := range []int{1, 16, 17, 100, 4096} {
		v, neighbour := secret.New(n), secret.New(n)
		fill(v.Bytes(), 0xa5)
		fill(neighbour.Bytes(), 0x5a)
		view := v.Bytes()
		v.Close()
		if !bytes.Equal(view, make([]byte, n)) {
			t.Errorf("%d bytes: Close left %x", n, view)
		}
		if neighbour.Bytes()[0] != 0x5a || neighbour.Bytes()[n-1] != 0x5a {
			t.Errorf("%d bytes: Close wiped its neighbour", n)
		}
		neighbour.Close()
	}
}

func fill(b []byte, x byte) {
	for i := range b {
		b[i] = x
	}
}

func TestOpenValuesAreCounted(t *testing.T) {
	before := secret.Held()
	a, b := secret.New(10), secret.From(make([]byte, 10_000))
	if got := secret.Held() - before; got != 2 {
		t.Errorf("two more values are open, and Held counts %d", got)
	}
	a.Close()
	a.Close()
	b.Close()
	if got := secret.Held(); got != before {
		t.Errorf("Held() = %d after all were closed, want %d", got, before)
	}
}

func TestFreedSpaceIsUsedAgain(t *testing.T) {
	before := secret.Mapped()
	for range 100_000 {
		v := secret.New(700)
		fill(v.Bytes(), 1)
		v.Close()
	}
	for range 100 {
		secret.New(1 << 20).Close()
	}
	if grown := secret.Mapped() - before; grown > 1<<20 {
		t.Errorf("%d bytes more are mapped after everything was closed, want at most one slab", grown)
	}
}

// Else a slot that works alone would map and unmap for each secret.
func TestOneEmptySlabIsKept(t *testing.T) {
	for range 3 {
		v := secret.New(2500) // alone in its class: every test closes its values
		addr := address(v)
		v.Close()
		if faults(addr, func(b *byte) { sink += *b }) {
			t.Fatal("the slab of the only value was unmapped")
		}
	}
}

func TestMemoryOfManyValuesIsGivenBack(t *testing.T) {
	before := secret.Mapped()
	values := make([]*secret.Value, 100_000)
	for i := range values {
		values[i] = secret.New(1500)
	}
	if held := secret.Mapped() - before; held < 150_000_000 {
		t.Fatalf("%d bytes are mapped for 150 MB of values", held)
	}
	rand.Shuffle(len(values), func(i, j int) { values[i], values[j] = values[j], values[i] })
	for _, v := range values {
		v.Close()
	}
	if left := secret.Mapped() - before; left > 1<<20 {
		t.Errorf("%d bytes stay mapped, want at most one slab", left)
	}
}

func TestAMillionValuesKeepTheirContent(t *testing.T) {
	values := make([]*secret.Value, 1_000_000)
	for i := range values {
		values[i] = secret.New(15)
		binary.BigEndian.PutUint64(values[i].Bytes()[7:], uint64(i))
	}
	for i, v := range values {
		if got := binary.BigEndian.Uint64(v.Bytes()[7:]); got != uint64(i) {
			t.Fatalf("value %d holds %d", i, got)
		}
		v.Close()
	}
}

// The model is a map from values to what was written into them.
func TestValuesNeverTouchEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		model := map[*secret.Value][]byte{}
		defer func() {
			for v := range model {
				v.Close()
			}
		}()
		size := rapid.OneOf(rapid.IntRange(0, 70), rapid.IntRange(0, 5000), rapid.SampledFrom([]int{4096, 4097, 70_000}))
		for range rapid.IntRange(1, 60).Draw(t, "operations") {
			if len(model) > 0 && rapid.Bool().Draw(t, "close") {
				v := rapid.SampledFrom(keys(model)).Draw(t, "victim")
				if !bytes.Equal(v.Bytes(), model[v]) {
					t.Fatalf("a value of %d bytes changed", v.Len())
				}
				v.Close()
				delete(model, v)
				continue
			}
			v := secret.New(size.Draw(t, "size"))
			if !bytes.Equal(v.Bytes(), make([]byte, v.Len())) || cap(v.Bytes()) != v.Len() {
				t.Fatalf("a new value of %d bytes is not all zeros, or reaches further", v.Len())
			}
			model[v] = bytes.Repeat([]byte{byte(1 + len(model))}, v.Len())
			copy(v.Bytes(), model[v])
		}
	})
}

func keys(m map[*secret.Value][]byte) []*secret.Value {
	var all []*secret.Value
	for v := range m {
		all = append(all, v)
	}
	return all
}

func TestValuesAreSafeForConcurrentUse(t *testing.T) {
	var wg sync.WaitGroup
	shared := secret.New(32)
	for g := range 8 {
		wg.Go(func() {
			for i := range 5000 {
				v := secret.New(1 + (i*7+g*13)%300)
				fill(v.Bytes(), byte(g))
				if b := v.Bytes(); b[0] != byte(g) || b[len(b)-1] != byte(g) {
					t.Errorf("goroutine %d reads what it did not write", g)
				}
				v.Close()
				shared.Len()
			}
			shared.Close() // by all, once
		})
	}
	wg.Wait()
	if !panics(func() { shared.Bytes() }) {
		t.Error("the value that everyone closed is still open")
	}
}

func BenchmarkNewClose(b *testing.B) {
	for b.Loop() {
		secret.New(15).Close()
	}
}

func BenchmarkNewCloseParallel(b *testing.B) {
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			secret.New(15).Close()
		}
	})
}

func BenchmarkNewCloseLarge(b *testing.B) {
	for b.Loop() {
		secret.New(64 << 10).Close()
	}
}

// BenchmarkHoldMillion makes a million values, then closes them.
func BenchmarkHoldMillion(b *testing.B) {
	values := make([]*secret.Value, 1_000_000)
	for b.Loop() {
		for i := range values {
			values[i] = secret.New(15)
		}
		for _, v := range values {
			v.Close()
		}
	}
}

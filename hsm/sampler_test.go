package hsm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"mintmark/hsm"
	"mintmark/hsm/secret"
)

// A stream is a Random whose bytes a test knows in advance.
type stream struct {
	read  func([]byte)
	calls int
}

func newStream(seed uint64) *stream {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	c := rand.NewChaCha8(s)
	return &stream{read: func(b []byte) { c.Read(b) }}
}

func (s *stream) Random(ctx context.Context, n int) (*secret.Value, error) {
	s.calls++
	v := secret.New(n)
	s.read(v.Bytes())
	return v, ctx.Err()
}

// constant gives one byte for ever.
func constant(c byte) *stream {
	return &stream{read: func(b []byte) {
		for i := range b {
			b[i] = c
		}
	}}
}

// When every byte comes once, each character must come equally often, exactly.
func TestCharactersAreExactlyUniform(t *testing.T) {
	ended := errors.New("all bytes were given")
	for _, alphabet := range hsm.Alphabets() {
		chars := hsm.CharsOf(alphabet)
		given := false
		r := &stream{read: func(b []byte) {
			for i := range b {
				b[i] = byte(i)
			}
		}}
		once := func(ctx context.Context, n int) (*secret.Value, error) {
			if given {
				return nil, ended
			}
			given = true
			return r.Random(ctx, n)
		}
		dst := make([]byte, 1000)
		if err := hsm.Fill(t.Context(), randomFunc(once), 256, dst, chars); err != ended {
			t.Fatalf("%s: got %v, want the end of the source", alphabet, err)
		}
		counts := tally(bytes.TrimRight(dst, "\x00"), chars)
		for i, n := range counts {
			if n != counts[0] || n == 0 {
				t.Errorf("%s: %c came %d times of 256 bytes, and %c %d times", alphabet, chars[i], n, chars[0], counts[0])
			}
		}
	}
}

type randomFunc func(ctx context.Context, n int) (*secret.Value, error)

func (f randomFunc) Random(ctx context.Context, n int) (*secret.Value, error) { return f(ctx, n) }

func tally(text []byte, chars string) []int {
	counts := make([]int, len(chars))
	for _, c := range text {
		counts[strings.IndexByte(chars, c)]++
	}
	return counts
}

// chiSquared measures how far counts are from what their probabilities want.
func chiSquared(counts []int, probability func(i int) float64) float64 {
	n, x := 0, 0.0
	for _, c := range counts {
		n += c
	}
	for i, c := range counts {
		want := float64(n) * probability(i)
		x += (float64(c) - want) * (float64(c) - want) / want
	}
	return x
}

// limit is the value of chi-squared that a right generator exceeds once in 10^9
// (Wilson and Hilferty).
func limit(freedom int) float64 {
	d := 2.0 / 9 / float64(freedom)
	return float64(freedom) * math.Pow(1-d+5.998*math.Sqrt(d), 3)
}

// characters is how many are drawn for a statistic. By then a modulo shows.
const characters = 600_000

// chance is the probability of character i within a value: what is drawn again
// moves it a little from one in size.
func chance(g hsm.Generator) func(i int) float64 {
	chars := hsm.CharsOf(g.Alphabet)
	size, length := float64(len(chars)), float64(g.Length)
	letters := float64(len(strings.Trim(chars, "0123456789")))
	if g.Kind == hsm.PIN {
		return func(int) float64 { return 1 / size } // 12 of 10^8 move nothing that could be seen
	}
	if letters == 0 || g.Kind != hsm.LoginPassword && g.Kind != hsm.WifiPSK {
		return func(int) float64 { return 1 / size }
	}
	kept := 1 - math.Pow(letters/size, length) - math.Pow(1-letters/size, length)
	return func(i int) float64 {
		same := letters
		if strings.IndexByte("0123456789", chars[i]) >= 0 {
			same = size - letters
		}
		return (1 - math.Pow(same/size, length-1)) / size / kept
	}
}

func TestDrawnCharactersAreUniform(t *testing.T) {
	for _, g := range []hsm.Generator{
		{Kind: hsm.LoginPassword, Alphabet: hsm.Strict20, Length: 15},
		{Kind: hsm.WifiPSK, Alphabet: hsm.Alpha24, Length: 20},
		{Kind: hsm.LoginPassword, Alphabet: hsm.Base32V, Length: 13},
		{Kind: hsm.LoginPassword, Alphabet: hsm.Digits, Length: 20},
		{Kind: hsm.PIN, Alphabet: hsm.Digits, Length: 8},
		{Kind: hsm.SymmetricKey, Alphabet: hsm.Hex, Length: 64},
		{Kind: hsm.APIKey, Alphabet: hsm.Strict20, Length: 30},
	} {
		chars := hsm.CharsOf(g.Alphabet)
		r := newStream(7)
		counts := make([]int, len(chars))
		for range characters / g.Length {
			v, err := g.Draw(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			for i, n := range tally(v.Bytes(), chars) {
				counts[i] += n
			}
			v.Close()
		}
		if got, want := chiSquared(counts, chance(g)), limit(len(chars)-1); got > want {
			t.Errorf("%v: chi-squared is %.1f, want at most %.1f: %v", g, got, want, counts)
		}
	}
}

// The statistic must be sharp enough to see what we don't do.
func TestAModuloWouldBeSeen(t *testing.T) {
	for _, alphabet := range []string{hsm.Strict20, hsm.Alpha24, hsm.Digits} {
		chars := hsm.CharsOf(alphabet)
		v, err := newStream(7).Random(t.Context(), characters)
		if err != nil {
			t.Fatal(err)
		}
		counts := make([]int, len(chars))
		for _, b := range v.Bytes() {
			counts[int(b)%len(chars)]++
		}
		v.Close()
		uniform := func(int) float64 { return 1 / float64(len(chars)) }
		if got, least := chiSquared(counts, uniform), limit(len(chars)-1); got < 2*least {
			t.Errorf("%s: chi-squared of a modulo is %.1f, want well over %.1f, else the test is blind", alphabet, got, least)
		}
	}
}

// Drawn again means that every value that is left is equally likely: of the
// codes with two characters of base32v, 2 x 8 x 24 have a letter and a digit.
func TestDrawingAgainKeepsValuesUniform(t *testing.T) {
	g := hsm.Generator{Kind: hsm.LoginPassword, Alphabet: hsm.Base32V, Length: 2}
	r := newStream(3)
	counts := map[string]int{}
	const n = 100_000
	for range n {
		v, err := g.DrawUnchecked(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		counts[string(v.Bytes())]++
		v.Close()
	}
	if len(counts) != 384 || math.Abs(g.Bits()-math.Log2(384)) > 1e-9 {
		t.Fatalf("%d values came and %v bits are stated, want 384 and their logarithm", len(counts), g.Bits())
	}
	var all []int
	for _, c := range counts {
		all = append(all, c)
	}
	if got, want := chiSquared(all, func(int) float64 { return 1.0 / 384 }), limit(383); got > want {
		t.Errorf("chi-squared is %.1f, want at most %.1f", got, want)
	}
}

// 0xff is rejected by every mask, 0x00 gives no letter or a code of one digit.
func TestAStuckSourceIsNamedAndDoesNotHang(t *testing.T) {
	for _, tt := range []struct {
		kind string
		b    byte
	}{{hsm.LoginPassword, 0xff}, {hsm.LoginPassword, 0}, {hsm.WifiPSK, 0}, {hsm.PIN, 0}, {hsm.PIN, 0xff}} {
		g, _ := hsm.Default(tt.kind)
		v, err := g.Draw(t.Context(), constant(tt.b))
		if !errors.Is(err, hsm.ErrStuck) || v != nil {
			t.Errorf("%s from a source of %#x: got %v, want ErrStuck", tt.kind, tt.b, err)
		}
	}
}

func TestAFailingSourceIsPassedOn(t *testing.T) {
	g, _ := hsm.Default(hsm.LoginPassword)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := g.Draw(ctx, newStream(1)); !errors.Is(err, context.Canceled) || v != nil {
		t.Errorf("Draw with a done context: got %v, want context.Canceled", err)
	}
}

func TestRandomBytesAreClosedAfterUse(t *testing.T) {
	before := secret.Held()
	var given []*secret.Value
	source := newStream(2)
	r := randomFunc(func(ctx context.Context, n int) (*secret.Value, error) {
		v, err := source.Random(ctx, n)
		given = append(given, v)
		return v, err
	})
	if err := hsm.Fill(t.Context(), r, 16, make([]byte, 100), "0123456789"); err != nil {
		t.Fatal(err)
	}
	g, _ := hsm.Default(hsm.LoginPassword)
	for range 3 {
		value, err := g.Draw(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		for _, scheme := range hsm.Schemes() {
			v, err := hsm.Verifier(t.Context(), scheme, value, r)
			if err != nil {
				t.Fatal(err)
			}
			v.Close()
		}
		value.Close()
	}
	if got := secret.Held(); got != before {
		t.Errorf("%d values are still open", got-before)
	}
	if len(given) < 7+3+6 {
		t.Fatalf("%d requests, want 7 of Fill, 3 of Draw and 6 of Verifier at least", len(given))
	}
	for i, v := range given {
		if open(v) {
			t.Errorf("the bytes of request %d are still open", i)
		}
	}
}

func open(v *secret.Value) (is bool) {
	defer func() { is = recover() == nil }()
	v.Bytes()
	return
}

// An authority may be a network away.
func TestAValueUsuallyTakesOneRequest(t *testing.T) {
	for _, kind := range kinds {
		g, _ := hsm.Default(kind)
		r := newStream(11)
		const n = 1000
		for range n {
			v, err := g.Draw(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			v.Close()
		}
		if r.calls > n+n/20 {
			t.Errorf("%d values of %s took %d requests", n, kind, r.calls)
		}
	}
}

func BenchmarkDraw(b *testing.B) {
	g, _ := hsm.Default(hsm.LoginPassword)
	r := newStream(1)
	for b.Loop() {
		v, err := g.Draw(b.Context(), r)
		if err != nil {
			b.Fatal(err)
		}
		v.Close()
	}
}

package hsm_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"mintmark/hsm"
)

func TestAGoodSourceIsHealthy(t *testing.T) {
	var h hsm.Health
	r := newStream(4)
	for range 1000 {
		v, err := r.Random(t.Context(), 5000)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Take(v.Bytes()); err != nil {
			t.Fatalf("five million good bytes: %v", err)
		}
		v.Close()
	}
}

func TestABadSourceIsStuckForEver(t *testing.T) {
	lopsided := make([]byte, 512) // every 25th byte is the first one
	for i := range lopsided {
		if lopsided[i] = byte(i); i%25 == 0 {
			lopsided[i] = 7
		} else if lopsided[i] == 7 {
			lopsided[i] = 8
		}
	}
	for name, tt := range map[string]struct {
		bytes []byte
		bad   bool
	}{
		"five equal bytes":             {[]byte{1, 2, 2, 2, 2, 2, 3}, false},
		"six equal bytes":              {[]byte{1, 2, 2, 2, 2, 2, 2, 3}, true},
		"zeros from the start":         {make([]byte, 6), true},
		"21 equal bytes in 512":        {lopsided, true},
		"18 equal bytes in 512":        {append(bytes.Repeat([]byte{7, 1, 2, 3, 4, 5, 6, 8}, 18), distinct(368)...), false},
		"19 equal bytes in 512":        {append(bytes.Repeat([]byte{7, 1, 2, 3, 4, 5, 6, 8}, 19), distinct(360)...), true},
		"19 equal bytes in two blocks": {append(append([]byte{7}, distinct(510)...), bytes.Repeat([]byte{1, 7}, 18)...), false},
	} {
		var h hsm.Health
		var err error
		for _, b := range tt.bytes { // byte by byte or at once must not matter
			err = h.Take([]byte{b})
		}
		var whole hsm.Health
		if atOnce := whole.Take(tt.bytes); errors.Is(err, hsm.ErrStuck) != tt.bad || errors.Is(atOnce, hsm.ErrStuck) != tt.bad {
			t.Errorf("%s: got %v and %v, want stuck %v", name, err, atOnce, tt.bad)
		}
		if err := whole.Take([]byte{0x5a, 0x12}); errors.Is(err, hsm.ErrStuck) != tt.bad {
			t.Errorf("%s, then good bytes: got %v, want stuck %v", name, err, tt.bad)
		}
	}
}

// distinct gives n bytes, none 7 and none equal to the one before.
func distinct(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(8 + i%200)
	}
	return b
}

// The cut-offs, from the formulas of SP 800-90B 4.4.1 and 4.4.2.
func TestCutOffsAreThoseOfTheStandard(t *testing.T) {
	alpha := math.Pow(2, -40)
	if got, want := hsm.MaxRepeats, 1+int(math.Ceil(-math.Log2(alpha)/8)); got != want {
		t.Errorf("repetition count is %d, want %d", got, want)
	}
	// critbinom: the least k with P(X <= k) >= 1-alpha, so P(X > k) <= alpha.
	tail := func(k int) (p float64) {
		for x := k + 1; x <= k+60; x++ {
			a, _ := math.Lgamma(513)
			b, _ := math.Lgamma(float64(x + 1))
			c, _ := math.Lgamma(float64(513 - x))
			p += math.Exp(a - b - c + float64(x)*math.Log(1.0/256) + float64(512-x)*math.Log(255.0/256))
		}
		return p
	}
	k := 0
	for tail(k) > alpha {
		k++
	}
	if got, want := hsm.MaxShare, 1+k; got != want {
		t.Errorf("adaptive proportion is %d, want %d", got, want)
	}
}

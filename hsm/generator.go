package hsm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"

	"mintmark/hsm/secret"
)

// ErrStuck means that the random source gave bytes that no working source gives.
// Whoever sees it stops issuing.
var ErrStuck = errors.New("random source is stuck, stop issuing and look at the authority")

// The kinds that a generator draws; the names are those of the profile.
const (
	LoginPassword = "login-password"
	WifiPSK       = "wifi-psk"
	PIN           = "pin"
	SymmetricKey  = "symmetric-key"
	APIKey        = "api-key"
)

// A Generator describes how a credential is made, and so also how one that was
// made elsewhere must look (C-FORMAT). The reports describe the same value that
// drives the drawing (R-PW-07).
type Generator struct {
	Kind     string
	Alphabet string // by name, see [Alphabets]
	Length   int    // in characters

	// Throttled records that the device has a brute-force control (R-PW-09).
	// It lowers the floor of a login password from 64 to 48 bits.
	Throttled bool
}

// Default is what a profile gets that names no alphabet and length; ok is false
// for an unknown kind.
func Default(kind string) (g Generator, ok bool) {
	switch kind {
	case LoginPassword:
		return Generator{Kind: kind, Alphabet: Strict20, Length: 15}, true
	case WifiPSK:
		return Generator{Kind: kind, Alphabet: Alpha24, Length: 20}, true
	case PIN:
		return Generator{Kind: kind, Alphabet: Digits, Length: 8}, true
	case SymmetricKey, APIKey:
		return Generator{Kind: kind, Alphabet: Hex, Length: 64}, true
	}
	return Generator{}, false
}

// Bits is the design entropy: log2 of the number of values that can be drawn. It
// is 0 when the alphabet is unknown or there is no length.
func (g Generator) Bits() float64 {
	chars := charsOf(g.Alphabet)
	if chars == "" || g.Length < 1 {
		return 0
	}
	size, length := float64(len(chars)), float64(g.Length)
	refused := 0.0 // share of all strings that are drawn again
	switch {
	case g.mixed():
		digits := float64(digitsIn(chars))
		refused = math.Pow(digits/size, length) + math.Pow(1-digits/size, length)
	case g.Kind == PIN:
		refused = 12 * math.Pow(size, -length)
	}
	if refused >= 1 {
		return 0
	}
	return length*math.Log2(size) + math.Log1p(-refused)/math.Ln2
}

// mixed says whether a value must have a letter and a digit. Passwords must,
// which gives them two character classes (R-GEN-02); keys must not be touched.
func (g Generator) mixed() bool {
	chars := charsOf(g.Alphabet)
	n := digitsIn(chars)
	return (g.Kind == LoginPassword || g.Kind == WifiPSK) && 0 < n && n < len(chars)
}

// Method says in one line how values are made, for reports. Equal methods draw
// from equal sets with equal chances.
func (g Generator) Method() string {
	again := ""
	switch {
	case g.mixed():
		again = ", drawn again until it has a letter and a digit"
	case g.Kind == PIN:
		again = ", drawn again if it is one digit repeated, 1234... or its reverse"
	}
	return fmt.Sprintf("%d characters of %s (%s), each by masking random bytes and rejecting what is too large%s: %.2f bits",
		g.Length, g.Alphabet, charsOf(g.Alphabet), again, g.Bits())
}

// CheckValue refuses a value that this generator can't have drawn (C-FORMAT).
// The error holds no part of the value.
func (g Generator) CheckValue(value []byte) error {
	chars := charsOf(g.Alphabet)
	if len(value) != g.Length {
		return fmt.Errorf("value has %d characters, want %d", len(value), g.Length)
	}
	for i, c := range value {
		if g.Alphabet == Hex && 'A' <= c && c <= 'F' {
			continue
		}
		if strings.IndexByte(chars, c) < 0 {
			return fmt.Errorf("character %d of the value is not in alphabet %s", i+1, g.Alphabet)
		}
	}
	return g.checkForm(value)
}

// checkForm refuses what is drawn again.
func (g Generator) checkForm(value []byte) error {
	switch {
	case g.mixed() && !hasBoth(value):
		return errors.New("value has no letter or no digit, want at least one of each")
	case g.Kind == PIN && plain(value):
		return errors.New("value is one digit repeated, 1234... or its reverse, want one that is not so easily guessed")
	}
	return nil
}

func hasBoth(value []byte) bool {
	digits := 0
	for _, c := range value {
		if isDigit(c) {
			digits++
		}
	}
	return 0 < digits && digits < len(value)
}

// plain finds the twelve codes that everybody tries first: ten of one digit,
// 1234... and its reverse. For eight digits these are the ones that Matter and
// HomeKit ban.
func plain(code []byte) bool {
	n := len(code)
	same, up, down := true, true, true
	for i, c := range code {
		same = same && c == code[0]
		up = up && c == byte('0'+(i+1)%10)
		down = down && c == byte('0'+(n-i)%10)
	}
	return same || up || down
}

// Draw makes one value, which the caller closes. It draws nothing that
// [Generator.Check] refuses.
func (g Generator) Draw(ctx context.Context, r Random) (*secret.Value, error) {
	if err := g.Check(); err != nil {
		return nil, err
	}
	return g.draw(ctx, r)
}

func (g Generator) draw(ctx context.Context, r Random) (*secret.Value, error) {
	s := &sampler{random: r, block: max(64, 2*g.Length)}
	defer s.close()
	v := secret.New(g.Length)
	for range tries {
		if err := s.fill(ctx, v.Bytes(), charsOf(g.Alphabet)); err != nil {
			v.Close()
			return nil, fmt.Errorf("draw %s: %w", g.Kind, err)
		}
		if g.checkForm(v.Bytes()) == nil {
			return v, nil
		}
	}
	v.Close()
	return nil, fmt.Errorf("draw %s: %w", g.Kind, ErrStuck)
}

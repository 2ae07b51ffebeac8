package hsm

import (
	"fmt"
	"slices"
	"strings"
)

// Limits that are not entropy.
const (
	minPSK  = 20  // BSI TR-03148, against offline guessing of a captured handshake
	maxPSK  = 63  // WPA2: 64 would be read as the raw key in hexadecimal
	minPIN  = 8   // the one form that R-GEN-02 gives for a code, with 26.6 bits
	maxPIN  = 16  // the longest that Bluetooth takes
	maxText = 256 // what the index takes
)

// Check refuses a generator under the floor of its kind (R-GEN-02) or outside
// what its kind can hold. It says what was wanted.
func (g Generator) Check() error {
	if _, ok := Default(g.Kind); !ok {
		return fmt.Errorf("nothing can be drawn for kind %q, want one of %s", g.Kind,
			strings.Join([]string{LoginPassword, WifiPSK, PIN, SymmetricKey, APIKey}, ", "))
	}
	if charsOf(g.Alphabet) == "" {
		return fmt.Errorf("alphabet %q is unknown, want one of %s", g.Alphabet, strings.Join(Alphabets(), ", "))
	}
	if err := g.checkShape(); err != nil {
		return err
	}
	return g.checkBits()
}

// checkShape checks alphabet and length against the kind.
func (g Generator) checkShape() error {
	alphabets, least, most := []string{Strict20, Alpha24, Base32V, Digits}, 1, maxText
	switch g.Kind {
	case WifiPSK:
		least, most = minPSK, maxPSK
	case APIKey:
		alphabets = Alphabets()
	case PIN:
		alphabets, least, most = []string{Digits}, minPIN, maxPIN
	case SymmetricKey:
		alphabets = []string{Hex}
		if g.Length%2 != 0 {
			return fmt.Errorf("%s has %d hexadecimal characters, want an even number", g.Kind, g.Length)
		}
	}
	if !slices.Contains(alphabets, g.Alphabet) {
		return fmt.Errorf("%s is made of %s, want %s (R-GEN-02)", g.Kind, g.Alphabet, strings.Join(alphabets, " or "))
	}
	if g.Length < least || g.Length > most {
		return fmt.Errorf("%s has %d characters, want %d to %d (R-GEN-02)", g.Kind, g.Length, least, most)
	}
	return nil
}

// checkBits checks the entropy. A PIN's is given by its form.
func (g Generator) checkBits() error {
	floor, hint := 0.0, ""
	switch g.Kind {
	case LoginPassword:
		floor = 64
		if g.Throttled {
			floor = 48
		} else if g.Bits() >= 48 {
			hint = ", or a recorded brute-force control"
		}
	case WifiPSK:
		floor = 64
	case SymmetricKey, APIKey:
		floor = 128
	}
	if g.Bits() >= floor {
		return nil
	}
	return fmt.Errorf("%s of %d characters of %s has %.1f bits, want at least %g: %d characters%s (R-GEN-02)",
		g.Kind, g.Length, g.Alphabet, g.Bits(), floor, g.enough(floor), hint)
}

// enough is the shortest length that reaches the floor.
func (g Generator) enough(floor float64) int {
	for g.Length = 1; g.Bits() < floor; g.Length++ {
	}
	return g.Length
}

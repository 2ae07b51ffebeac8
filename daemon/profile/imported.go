package profile

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"mintmark/hsm"
	"mintmark/records"
)

// errUniversal says nothing of which one: the text is recorded beside the row.
var errUniversal = errors.New("is a universal credential, which proof.old or reset.universal names: no device may have it")

// checkValue is what a value of c must pass (C-FORMAT). It is called by
// several goroutines at once and copies nothing of the value.
func (p *Profile) checkValue(c Credential) func([]byte) error {
	form := p.form(c)
	if c.Origin != string(records.Imported) {
		return form
	}
	universal := slices.Concat(p.Proof.Old, p.Reset.Universal)
	return func(value []byte) error {
		if slices.ContainsFunc(universal, func(k Known) bool { return alike(value, k.Password) }) {
			return errUniversal
		}
		return form(value)
	}
}

func (p *Profile) form(c Credential) func([]byte) error {
	if g := p.generator(c); g.Alphabet != "" {
		return g.CheckValue
	}
	bits := heldAtLeast(c)
	least := leastLength(c, bits)
	return func(value []byte) error {
		if len(value) < least {
			return fmt.Errorf("has %d characters, want at least %d: fewer can't hold %g bits (R-GEN-02)", len(value), least, bits)
		}
		return nil
	}
}

// heldAtLeast is what a single value must be able to hold: the stated bits, but of
// a password no more than the lowest floor (R-GEN-02). Its maker may draw values
// of several lengths, and states what they hold together.
func heldAtLeast(c Credential) float64 {
	if c.Kind == hsm.LoginPassword {
		return min(c.Bits, 48)
	}
	return c.Bits
}

// leastLength is how many characters can hold bits at all.
func leastLength(c Credential, bits float64) int {
	symbols := 94. // printable ASCII without space
	switch c.Kind {
	case hsm.PIN:
		symbols = 10
	case hsm.SymmetricKey:
		symbols = 16
	}
	return int(math.Ceil(bits / math.Log2(symbols)))
}

// alike compares as the ledger's index does: without regard to case and
// separators.
func alike(value []byte, known string) bool {
	i := 0
	for _, b := range value {
		if separates(b) {
			continue
		}
		for i < len(known) && separates(known[i]) {
			i++
		}
		if i == len(known) || upper(b) != upper(known[i]) {
			return false
		}
		i++
	}
	for i < len(known) && separates(known[i]) {
		i++
	}
	return i == len(known) && known != ""
}

func separates(b byte) bool { return b == ' ' || b == '-' || b == '_' || b == '.' || b == ':' }

func upper(b byte) byte {
	if 'a' <= b && b <= 'z' {
		return b - 'a' + 'A'
	}
	return b
}

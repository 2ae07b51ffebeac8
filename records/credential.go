package records

// A Kind is what a credential is to the device.
type Kind string

// The kinds that a profile may name.
const (
	LoginPassword Kind = "login-password"
	WifiPSK       Kind = "wifi-psk"
	PIN           Kind = "pin"
	SymmetricKey  Kind = "symmetric-key" // hexadecimal text everywhere, indexed as bytes
	APIKey        Kind = "api-key"
)

// A Class decides the canonical form of a value before it is indexed. Classes
// are fixed for ever and never chosen by a profile: a canonical form that
// changed would hide reuse.
type Class string

// The classes: text is printable ASCII, upper-cased, with space - _ . : removed;
// code is decimal digits with the same separators removed; bytes is what
// hexadecimal text decodes to.
const (
	Text  Class = "text"
	Code  Class = "code"
	Bytes Class = "bytes"
)

// An Origin says where the values of a credential come from.
type Origin string

// Imported values come with the batch; generated ones are made by the station's
// authority when the device is in the slot.
const (
	Imported  Origin = "imported"
	Generated Origin = "generated"
)

// A Spec is what the ledger must know of one credential of a product.
type Spec struct {
	Name   string
	Kind   Kind
	Origin Origin

	// ProductScope narrows uniqueness from the whole ledger to the product, for
	// spaces too small to be unique in (8-digit codes). A second, ledger-wide
	// index then reports reuse and never refuses.
	ProductScope bool

	// Bits is the design entropy of one value, log2 of the number of values.
	// Below 60 answers to checks are sparing, because a check is an oracle, and
	// below 60 a generated duplicate is drawn again instead of stopping the line.
	Bits float64

	// Check refuses a value that doesn't meet the profile (C-FORMAT). Nil means
	// that any value of the class will do. The error never holds the value. It is
	// called from several goroutines at once and keeps nothing of the value.
	Check func(value []byte) error
}

// A Product is what the ledger must know of a profile.
type Product struct {
	ID          string
	Profile     [32]byte // SHA-256 of the profile file; a batch pins it
	Credentials []Spec
	Attempts    int // attempts that an imported row may start; 0 means 3
}

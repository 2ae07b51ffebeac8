// Package profile reads what a product is: the TOML file that names its
// credentials, how to talk to the device, what proves that it holds them, its
// label and the facts that the law asks for.
//
// Reading is strict and complete: an unknown key is a mistake, and all mistakes
// are reported at once, each with its place in the file and what was wanted. No
// mistake repeats a value that could be a password. station.toml is read by the
// same [Doc].
//
// A batch pins the digest of its profile, so a profile that was edited is
// another one.
package profile

import (
	"crypto/sha256"
	"fmt"
	"time"

	"mintmark/hsm"
	"mintmark/records"
	"mintmark/station/console"
	"mintmark/station/label"
)

// A Profile is a product as its file describes it. docs/profiles.md has every
// key; a test holds it to the comments here.
type Profile struct {
	// Id of the product in records and on the command line: letters, digits and
	// - _ . only, at most 64. Required.
	ID string `toml:"id"`

	// Model designation as the customer reads it (R-SP-03). Required.
	Model string `toml:"model"`

	// Where serials come from.
	Serial Serial `toml:"serial"`

	// One table for each credential. At least one.
	Credentials []Credential `toml:"credential"`

	// How to talk to the device.
	Driver Driver `toml:"driver"`

	// What proves that the device holds its credentials.
	Proof Proof `toml:"proof"`

	// The factory-reset probe (R-PW-08).
	Reset Reset `toml:"reset"`

	// What is printed. Or "none", with label_reason.
	Label Label `toml:"label"`

	// Why there is no label: where the credentials are printed instead. Required
	// with label = "none", else a generated password would be known to nobody.
	LabelReason string `toml:"label_reason"`

	// Deadlines of the steps, where the usual ones don't fit.
	Timeouts Timeouts `toml:"timeouts"`

	// Attempts that a device may start with the same imported row. Default: 3.
	Attempts int `toml:"attempts"`

	// The facts that the law asks for.
	Compliance Compliance `toml:"compliance"`

	// Digest of the file, which a batch pins.
	Digest [32]byte

	template *label.Template // nil without a label
	warnings Mistakes
}

// Serial says where a device's serial comes from.
type Serial struct {
	// "device": the device says it. "scan": the operator scans it. "counter":
	// the ledger counts. Required.
	From string `toml:"from"`

	// With "counter": text with one number in it, such as "AC%06d".
	Format string `toml:"format"`

	// Regular expression that a whole serial must match.
	Pattern string `toml:"pattern"`
}

// Credential is one secret of each device.
type Credential struct {
	// Name within the product, and the column in an imported file. Required.
	Name string `toml:"name"`

	// "login-password", "wifi-psk", "pin", "symmetric-key" or "api-key". Required.
	Kind string `toml:"kind"`

	// "generated" on this station, or "imported" with the batch. Required.
	Origin string `toml:"origin"`

	// "strict20", "alpha24", "base32v", "digits" or "hex" (R-GEN-02). Default for
	// a generated one by kind: strict20, alpha24, digits, hex, hex. An imported
	// value is checked against it; without it any value of the kind will do.
	Alphabet string `toml:"alphabet"`

	// Characters of a value. Default for a generated one by kind: 15, 20, 8, 64, 64.
	Length int `toml:"length"`

	// Of an imported credential without alphabet: the entropy of one value in
	// bits, as its supplier states it. It can't be measured (R-GEN-02), but an
	// import refuses a value that is too short to hold it. A login password must
	// hold 48 bits of it: 8 characters.
	Bits float64 `toml:"bits"`

	// What it must be unique in: "ledger", or "product" where there are fewer
	// than 2^60 values. Default: ledger; product for a pin.
	Scope string `toml:"scope"`

	// Of a login password: the user it belongs to. A preset that is told in
	// driver.vars.user who gets the password must be told the same.
	User string `toml:"user"`

	// What the device stores in its place: "sha512-crypt" or "yescrypt". Default:
	// the value itself.
	Verifier string `toml:"verifier"`
}

// Driver is a preset and what this product does differently. All settings and
// phases of docs/console.md may follow; a phase replaces the preset's. The driver
// must inject and prove every credential. Identify must capture serial with
// serial.from = "device", and hardware_id with "counter".
type Driver struct {
	// "uboot", "linux-login" or "shell".
	Preset string `toml:"preset"`

	// Speed of the port. Default: 115200.
	Baud int `toml:"baud"`

	// Flow control: "none", "rts/cts" or "xon/xoff". Default: none.
	Flow string `toml:"flow"`

	console.Script
}

// Proof says what must be shown after the restart.
type Proof struct {
	// "login": the own value works and others fail. "stored-verifier": a verifier
	// or digest was read back after the restart, which is weaker. Required.
	Class string `toml:"class"`

	// Credentials that the device had before and must refuse afterwards. An import
	// refuses their passwords as values, in any case and with any separators.
	Old []Known `toml:"old"`
}

// Known is a credential that is no secret: an old default or a universal one.
type Known struct {
	// User name.
	User string `toml:"user"`

	// Password; may be empty.
	Password string `toml:"password"`
}

// Reset is the factory-reset probe: reset the device, then its own credential
// must still work and no universal one may.
type Reset struct {
	// Share of a batch to probe, 0 to 1. Default: 0, no probe.
	Share float64 `toml:"share"`

	// Universal credentials that must be refused after it, besides proof.old. An
	// import refuses their passwords as well.
	Universal []Known `toml:"universal"`
}

// Label is the printed label.
type Label struct {
	// ZPL with fields: {serial}, {product}, {label}, {name} of a credential and
	// {name:5-5-5} to print it in groups.
	ZPL string `toml:"zpl"`

	none bool
}

// UnmarshalText takes the short form, label = "none".
func (l *Label) UnmarshalText(text []byte) error {
	if string(text) != "none" {
		return fmt.Errorf("is %q, want a [label] table with zpl, or \"none\" and a label_reason", clip(string(text)))
	}
	l.none = true
	return nil
}

// Timeouts are the deadlines of the steps of a device's path, each with its unit,
// like "90s".
type Timeouts struct {
	// To open the port of a device that is there. Default: 5s.
	Open time.Duration `toml:"open"`

	// To learn who the device is, its boot included. Default: 60s.
	Identify time.Duration `toml:"identify"`

	// To send the credentials. Default: 60s.
	Inject time.Duration `toml:"inject"`

	// To restart and to say again who it is. Default: 180s.
	Restart time.Duration `toml:"restart"`

	// To prove that it holds its credentials. Default: 60s.
	Prove time.Duration `toml:"prove"`

	// To refuse one old or universal credential. Default: 30s.
	Refuse time.Duration `toml:"refuse"`

	// To come back from a factory reset. Default: 180s.
	Reset time.Duration `toml:"reset"`

	// To print its label. Default: 60s.
	Label time.Duration `toml:"label"`

	// To lock it. Default: 60s.
	Lock time.Duration `toml:"lock"`

	// For the operator to scan. Default: 60s.
	Scan time.Duration `toml:"scan"`

	// For its port to disappear when it restarts. Default: 2s.
	Vanish time.Duration `toml:"vanish"`
}

// Compliance is what statement, label and support page must say.
type Compliance struct {
	// Name of the manufacturer (R-SOC-01). Required.
	Manufacturer string `toml:"manufacturer"`

	// Postal address of the manufacturer (R-SOC-01).
	Address string `toml:"address"`

	// Name and function of who signs the statement of compliance (R-SOC-01).
	Signatory string `toml:"signatory"`

	// Day on which the defined support period ends (R-SP-01). Required.
	SupportEnd Date `toml:"support_end"`

	// Address of the vulnerability disclosure policy (R-VD-01). Required.
	VDPURL string `toml:"vdp_url"`

	// Whom a finder writes to (R-VD-01). Required.
	VDPContact string `toml:"vdp_contact"`

	// Days until a finder gets an acknowledgement (R-VD-01). Required.
	AckDays int `toml:"ack_days"`

	// Days between status updates to a finder (R-VD-01). Required.
	UpdateDays int `toml:"update_days"`

	// What keeps guessing slow on the device: "lockout" or "delay". It lowers
	// the floor of a login password from 64 to 48 bits (R-PW-09). Default: none.
	BruteforceControl string `toml:"bruteforce_control"`

	// True as long as these are the facts of an example. Such a profile is for
	// trying out, and every report says so.
	Example bool `toml:"example"`
}

// Load reads the profile in the file of the given path.
func Load(path string, now time.Time) (*Profile, error) {
	doc, data, err := ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	return read(doc, data, now)
}

// Check returns everything that is wrong or weak about the profile in the file
// of the given path. Its error means that there is no such file to read.
func Check(path string, now time.Time) (Mistakes, error) {
	doc, data, err := ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read profile: %w", err)
	}
	// Mistakes and warnings are all in doc.
	_, _ = read(doc, data, now)
	return doc.mistakes.sorted(), nil
}

// Parse reads a profile; name is how mistakes name it. On error it returns all
// mistakes as [Mistakes], and no profile. Now decides what is in the past.
func Parse(data []byte, name string, now time.Time) (*Profile, error) {
	return read(Read(name, data), data, now)
}

func read(doc *Doc, data []byte, now time.Time) (*Profile, error) {
	p := &Profile{Digest: sha256.Sum256(data)}
	doc.buildOnPreset()
	doc.Decode(p)
	p.defaults()
	check{doc, p, now}.all()
	if err := doc.Err(); err != nil {
		return nil, err
	}
	p.warnings = doc.Warnings()
	return p, nil
}

// Warnings is what is weak but allowed, and what is still an example.
func (p *Profile) Warnings() Mistakes { return p.warnings }

func (p *Profile) defaults() {
	for i := range p.Credentials {
		p.Credentials[i].defaults()
	}
	if p.Driver.Baud == 0 {
		p.Driver.Baud = 115200
	}
	if p.Attempts == 0 {
		p.Attempts = 3
	}
}

func (c *Credential) defaults() {
	if g, ok := hsm.Default(c.Kind); ok && c.Origin == string(records.Generated) {
		if c.Alphabet == "" {
			c.Alphabet = g.Alphabet
		}
		if c.Length == 0 && c.Alphabet == g.Alphabet {
			c.Length = g.Length
		}
	}
	if c.Scope == "" {
		c.Scope = "ledger"
		if c.Kind == hsm.PIN {
			c.Scope = "product"
		}
	}
}

package profile

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"mintmark/hsm"
	"mintmark/records"
	"mintmark/station"
	"mintmark/station/console"
)

var (
	validID         = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)
	validCredential = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$`)
	oneNumber       = regexp.MustCompile(`^[^%]*%0?[0-9]*d[^%]*$`)
)

var (
	kinds   = []string{hsm.LoginPassword, hsm.WifiPSK, hsm.PIN, hsm.SymmetricKey, hsm.APIKey}
	origins = []string{string(records.Generated), string(records.Imported)}
	scopes  = []string{"ledger", "product"}
	sources = []string{"device", "scan", "counter"}
	proofs  = []string{"login", "stored-verifier"}
	brakes  = []string{"lockout", "delay"}
	flows   = []string{"none", "rts/cts", "xon/xoff"}
)

// sparse is the number of bits below which a space is too small to be unique in
// across products (R-LED-06).
const sparse = 60

// A check judges a decoded profile. Each method is about one table of the file.
type check struct {
	doc *Doc
	p   *Profile
	now time.Time
}

func (c check) all() {
	if c.doc.cut {
		return
	}
	if !validID.MatchString(c.p.ID) {
		c.doc.Mistake("id", "%s, want letters, digits and - _ .", absent(c.p.ID))
	}
	c.need("model", c.p.Model, "the model designation that the customer reads (R-SP-03)")
	if c.p.Attempts < 1 || c.p.Attempts > 100 {
		c.doc.Mistake("attempts", "is %d, want 1 to 100", c.p.Attempts)
	}
	c.serial()
	c.credentials()
	c.driver()
	c.proof()
	c.reset()
	c.label()
	c.compliance()
	c.whole()
}

func (c check) need(key, value, want string) {
	if value == "" {
		c.doc.Mistake(key, "missing, want %s", want)
	}
}

// choice refuses a value that isn't one of words; an empty one only if needed.
func (c check) choice(key, value string, words []string, needed bool) bool {
	if slices.Contains(words, value) || (value == "" && !needed) {
		return true
	}
	text := absent(value)
	if near := nearest(value, words); value != "" && near != "" {
		text += ", did you mean " + near + "; "
	} else {
		text += ", "
	}
	c.doc.Mistake(key, "%swant %s", text, oneOf(words))
	return false
}

func absent(value string) string {
	if value == "" {
		return "missing"
	}
	return fmt.Sprintf("is %q", clip(value))
}

func (c check) serial() {
	s := c.p.Serial
	c.choice("serial.from", s.From, sources, true)
	if s.From == "counter" {
		c.counter(s.Format)
	} else if s.Format != "" {
		c.doc.Mistake("serial.format", "is only for from = \"counter\"")
	}
	if s.Pattern == "" {
		if s.From == "scan" {
			c.doc.Mistake("serial.pattern", "missing, want what a scanned serial looks like: a password scanned by mistake must not pass for one")
		}
		return
	}
	if _, err := regexp.Compile(s.Pattern); err != nil {
		c.doc.Mistake("serial.pattern", "is no regular expression: %v", err)
	}
}

func (c check) counter(format string) {
	if !oneNumber.MatchString(format) {
		c.doc.Mistake("serial.format", "%s, want text with one number in it, such as \"AC%%06d\"", absent(format))
		return
	}
	if _, err := records.ParseSerial(fmt.Sprintf(format, 1)); err != nil {
		c.doc.Mistake("serial.format", "makes no serial: %v", err)
	}
}

func (c check) credentials() {
	if len(c.p.Credentials) == 0 {
		c.doc.Mistake("credential", "missing, want at least one [[credential]] table")
	}
	for i, cred := range c.p.Credentials {
		at := func(key string) string { return fmt.Sprintf("credential[%d].%s", i+1, key) }
		c.name(at("name"), i)
		kind := c.choice(at("kind"), cred.Kind, kinds, true)
		origin := c.choice(at("origin"), cred.Origin, origins, true)
		c.choice(at("scope"), cred.Scope, scopes, false)
		c.login(at, cred)
		if kind && origin {
			c.strength(at, cred)
		}
	}
}

func (c check) name(key string, i int) {
	name := c.p.Credentials[i].Name
	if !validCredential.MatchString(name) {
		c.doc.Mistake(key, "%s, want letters, digits and - _, at most 40", absent(name))
		return
	}
	if slices.Contains([]string{"serial", "product", "label", "hardware_id", "candidate"}, name) {
		c.doc.Mistake(key, "is %q, which has a meaning of its own", name)
	}
	for j, other := range c.p.Credentials[:i] {
		if other.Name == name {
			c.doc.Mistake(key, "%q is the name of credential[%d]", name, j+1)
		}
	}
}

// login checks what only a login password has.
func (c check) login(at func(string) string, cred Credential) {
	if cred.Kind != hsm.LoginPassword {
		if cred.User != "" {
			c.doc.Mistake(at("user"), "is only for a login-password")
		}
		if cred.Verifier != "" {
			c.doc.Mistake(at("verifier"), "is only for a login-password")
		}
		return
	}
	c.choice(at("verifier"), cred.Verifier, hsm.Schemes(), false)
}

// strength holds alphabet, length and scope to the floors of R-GEN-02.
func (c check) strength(at func(string) string, cred Credential) {
	imported := cred.Origin == string(records.Imported)
	if imported && cred.Alphabet == "" {
		c.stated(at, cred)
	} else {
		c.drawn(at, cred)
	}
	if cred.Scope == "product" && c.p.bits(cred) >= sparse {
		c.doc.Mistake(at("scope"), "is product for %.1f bits, want ledger for %d bits and more (R-LED-06)", c.p.bits(cred), sparse)
	}
	if cred.Scope == "ledger" && cred.Kind == hsm.PIN {
		c.doc.Warn(at("scope"), "is ledger for a pin: at 8 digits two in a thousand devices collide among a hundred thousand (R-LED-06)")
	}
}

func (c check) drawn(at func(string) string, cred Credential) {
	if cred.Bits != 0 {
		c.doc.Mistake(at("bits"), "follows from alphabet and length, want it only for an imported credential without alphabet")
	}
	if !c.choice(at("alphabet"), cred.Alphabet, hsm.Alphabets(), true) {
		return
	}
	if cred.Length == 0 {
		c.doc.Mistake(at("length"), "missing, want the number of characters")
		return
	}
	g := c.p.generator(cred)
	if err := g.Check(); err != nil {
		key := at("length")
		if !c.doc.Has(key) {
			key = at("alphabet")
		}
		c.doc.Mistake(key, "%v", err)
		return
	}
	if cred.Kind == hsm.LoginPassword && g.Bits() < floors[hsm.LoginPassword] {
		c.doc.Warn(at("length"), "%.1f bits are weak, allowed only because of bruteforce_control = %q (R-GEN-02)",
			g.Bits(), c.p.Compliance.BruteforceControl)
	}
}

// floors are the least bits that the supplier of an imported credential may
// state (R-GEN-02); those of drawn ones are hsm's.
var floors = map[string]float64{
	hsm.LoginPassword: 64, hsm.WifiPSK: 64, hsm.PIN: 26, hsm.SymmetricKey: 128, hsm.APIKey: 128,
}

func (c check) stated(at func(string) string, cred Credential) {
	floor := floors[cred.Kind]
	if cred.Kind == hsm.LoginPassword && c.p.Compliance.BruteforceControl != "" {
		floor = 48
	}
	switch {
	case cred.Length != 0:
		c.doc.Mistake(at("length"), "has no alphabet beside it, want both or bits")
	case cred.Bits == 0:
		c.doc.Mistake(at("alphabet"), "missing, want alphabet and length, or bits as the supplier states them (R-GEN-02)")
	case cred.Bits < floor:
		c.doc.Mistake(at("bits"), "is %g for a %s, want at least %g (R-GEN-02)", cred.Bits, cred.Kind, floor)
	case cred.Bits > 4096:
		c.doc.Mistake(at("bits"), "is %g, want at most 4096", cred.Bits)
	}
}

func (c check) names() []string {
	var names []string
	for _, cred := range c.p.Credentials {
		names = append(names, cred.Name)
	}
	return names
}

func (c check) driver() {
	d := c.p.Driver
	if !c.choice("driver.preset", d.Preset, Presets(), true) {
		return
	}
	c.choice("driver.flow", d.Flow, flows, false)
	if d.Baud < 50 || d.Baud > 12_000_000 {
		c.doc.Mistake("driver.baud", "is %d, want 50 to 12000000", d.Baud)
	}
	for _, err := range unjoin(d.Script.Check(c.names()...)) {
		var m *console.Mistake
		if errors.As(err, &m) {
			c.script(strings.TrimSuffix("driver."+m.Key, "."), m.Text)
			continue
		}
		c.doc.Mistake("driver", "%v", err)
	}
	c.sameUser()
	c.fit()
}

// sameUser holds the user to whom a preset gives a password against the user to whom
// that credential belongs, with whom a rework tries the old one.
func (c check) sameUser() {
	vars := c.p.Driver.Vars
	for i, cred := range c.p.Credentials {
		if cred.User == "" || vars["user"] == "" || vars["user"] == cred.User || vars["password"] != "{"+cred.Name+"}" {
			continue
		}
		mine, of := "driver.vars.user", fmt.Sprintf("credential[%d].user", i+1)
		if c.doc.At(mine).File != c.doc.name {
			mine, of = of, mine+" of the preset"
		}
		c.doc.Mistake(mine, "differs from %s, want one user of %s", of, cred.Name)
	}
}

// fit holds the driver against the product as the start of a slot does, so that
// no profile passes here which the daemon refuses.
func (c check) fit() {
	driver, err := console.New(c.p.Driver.Script)
	if err != nil {
		return // its mistakes are named
	}
	for _, err := range unjoin(c.p.Station().CheckDriver(driver)) {
		c.unfit("%s", strings.TrimPrefix(err.Error(), "product "+c.p.ID+": "))
	}
	for from, fact := range map[string]string{"device": "serial", "counter": "hardware_id"} {
		if c.p.Serial.From == from && !driver.Captures(station.Identify, fact) {
			c.unfit("identify captures no %s, want it where serial.from = %q", fact, from)
		}
	}
}

// unfit reports what the driver doesn't do, at the preset that it is built on.
func (c check) unfit(format string, args ...any) {
	c.doc.add(Mistake{Pos: c.doc.At("driver.preset"), Key: "driver", Text: fmt.Sprintf(format, args...)})
}

// whole asks about the product what the start of a slot asks, in case that
// nothing above did.
func (c check) whole() {
	if c.doc.Err() != nil {
		return
	}
	for _, err := range unjoin(c.p.Station().Check()) {
		c.doc.Mistake("", "%v", err)
	}
}

// script reports a mistake of the script. What is in the preset can be put right
// in the profile alone, so that is the place. A var of the preset that nothing uses
// any more is no mistake: the profile has a phase of its own in its place.
func (c check) script(key, text string) {
	at := c.doc.At(key)
	if at.File == c.doc.name {
		c.doc.Mistake(key, "%s", text)
		return
	}
	if strings.HasPrefix(key, "driver.vars.") {
		return
	}
	c.doc.add(Mistake{Pos: c.doc.At("driver.preset"), Key: key, Text: fmt.Sprintf("%s (%s)", text, at)})
}

func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

func (c check) proof() {
	if !c.choice("proof.class", c.p.Proof.Class, proofs, true) {
		return
	}
	if c.p.Proof.Class == "login" && len(c.p.Proof.Old) == 0 {
		c.doc.Mistake("proof.old", "missing, want at least one old credential that the device must refuse")
	}
	c.known("proof.old", c.p.Proof.Old)
	c.known("reset.universal", c.p.Reset.Universal)
	if c.p.Proof.Class == "stored-verifier" {
		c.doc.Warn("proof.class", "stored-verifier shows what the device stores, not that its login uses it; login is stronger")
	}
}

// known refuses a candidate that could not be told apart from nothing.
func (c check) known(key string, list []Known) {
	for i, k := range list {
		if k.User == "" && k.Password == "" {
			c.doc.Mistake(fmt.Sprintf("%s[%d]", key, i+1), "has neither user nor password, want at least one")
		}
	}
}

func (c check) reset() {
	share := c.p.Reset.Share
	switch {
	case share < 0 || share > 1 || share != share:
		c.doc.Mistake("reset.share", "is %g, want 0 to 1", share)
	case share == 0:
		c.doc.Warn("reset.share", "no device is probed: nothing shows that a factory reset brings back no universal password (R-PW-08)")
	case len(c.p.Proof.Old)+len(c.p.Reset.Universal) == 0:
		c.doc.Mistake("reset.universal", "missing, want the universal credentials that must be refused after a reset (R-PW-08)")
	case len(c.p.Driver.Steps(station.Reset)) == 0:
		c.doc.Mistake("reset.share", "is %g, but the driver has no reset steps, want [[driver.reset]]", share)
	}
}

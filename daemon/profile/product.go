package profile

import (
	"fmt"
	"regexp"
	"slices"

	"mintmark/hsm"
	"mintmark/records"
	"mintmark/station"
)

// Product is what the ledger must know.
func (p *Profile) Product() records.Product {
	out := records.Product{ID: p.ID, Profile: p.Digest, Attempts: p.Attempts}
	for _, c := range p.Credentials {
		spec := records.Spec{
			Name: c.Name, Kind: records.Kind(c.Kind), Origin: records.Origin(c.Origin),
			ProductScope: c.Scope == "product", Bits: p.bits(c), Check: p.checkValue(c),
		}
		out.Credentials = append(out.Credentials, spec)
	}
	return out
}

// bits is the design entropy of one value.
func (p *Profile) bits(c Credential) float64 {
	if c.Alphabet == "" {
		return c.Bits
	}
	return p.generator(c).Bits()
}

func (p *Profile) generator(c Credential) hsm.Generator {
	return hsm.Generator{
		Kind: c.Kind, Alphabet: c.Alphabet, Length: c.Length,
		Throttled: p.Compliance.BruteforceControl != "",
	}
}

// Generator is how a value of the named credential is made, or how an imported
// one must look. Ok is false for a credential without alphabet.
func (p *Profile) Generator(name string) (g hsm.Generator, ok bool) {
	c, ok := p.Credential(name)
	if !ok || c.Alphabet == "" {
		return hsm.Generator{}, false
	}
	return p.generator(c), true
}

// Credential returns a credential by name.
func (p *Profile) Credential(name string) (Credential, bool) {
	i := slices.IndexFunc(p.Credentials, func(c Credential) bool { return c.Name == name })
	if i < 0 {
		return Credential{}, false
	}
	return p.Credentials[i], true
}

// HasLabel reports whether a label is printed here.
func (p *Profile) HasLabel() bool { return p.Label.ZPL != "" }

// Station is what a slot must know.
func (p *Profile) Station() station.Product {
	out := station.Product{
		Product: p.Product(), SerialFrom: station.SerialSource(p.Serial.From), Counter: p.Serial.Format,
		Users: map[string]string{}, Proof: p.Proof.Class, Old: candidates(p.Proof.Old),
		ResetShare: p.Reset.Share, Universal: candidates(p.Reset.Universal), Label: p.template,
	}
	for _, c := range p.Credentials {
		if c.User != "" {
			out.Users[c.Name] = c.User
		}
	}
	if p.Serial.Pattern != "" {
		out.CheckSerial = p.Serial.check
	}
	return out
}

func candidates(known []Known) []station.Candidate {
	var out []station.Candidate
	for _, k := range known {
		out = append(out, station.Candidate(k))
	}
	return out
}

// check refuses a serial that the pattern doesn't match as a whole.
func (s Serial) check(serial []byte) error {
	if regexp.MustCompile(`^(?:` + s.Pattern + `)$`).Match(serial) {
		return nil
	}
	return fmt.Errorf("serial doesn't match the profile's pattern %s", s.Pattern)
}

// Station is the same deadlines as a slot takes them; zero means the default.
func (t Timeouts) Station() station.Timeouts {
	return station.Timeouts{
		Open: t.Open, Identify: t.Identify, Inject: t.Inject, Restart: t.Restart, Prove: t.Prove, Refuse: t.Refuse,
		Reset: t.Reset, Label: t.Label, Lock: t.Lock, Scan: t.Scan, Vanish: t.Vanish,
	}
}

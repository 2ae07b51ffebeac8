package label

import (
	"bytes"
	"slices"

	"mintmark/hsm/secret"
)

// maxScan is the longest scan that is taken apart.
const maxScan = 1024

// A Reading is what a scan would mean if it came from one field of the label.
type Reading struct {
	Credential string
	Value      *secret.Value // the caller closes it
}

// Read takes a scan apart into the values that it would hold, for each field that
// it could be. A field that is nothing but a value fits every scan, so the caller
// has each reading recognised; those with more text around them come first.
func (t *Template) Read(scan *secret.Value, plain map[string]string) []Reading {
	var all []Reading
	if scan.Len() > maxScan {
		return nil
	}
	for _, f := range t.bySurroundings() {
		m := matcher{f: f, plain: plain}
		if m.match(f.parts, scan.Bytes()) {
			all = append(all, m.found...)
		}
	}
	return all
}

func (t *Template) bySurroundings() []*field {
	var fields []*field
	for _, p := range t.pieces {
		if p.field != nil {
			fields = append(fields, p.field)
		}
	}
	around := func(f *field) (n int) {
		for _, at := range f.parts {
			n += len(at.text)
		}
		return n
	}
	slices.SortStableFunc(fields, func(a, b *field) int { return around(b) - around(a) })
	return fields
}

// A matcher finds the values of a field in a scan.
type matcher struct {
	f     *field
	plain map[string]string
	found []Reading
}

// match reports whether rest is what parts look like when they are printed.
func (m *matcher) match(parts []part, rest []byte) bool {
	if len(parts) == 0 {
		return len(rest) == 0
	}
	at := parts[0]
	if text, ok := m.text(at); ok {
		return bytes.HasPrefix(rest, text) && m.match(parts[1:], rest[len(text):])
	}
	for n := 1; n <= len(rest); n++ {
		v := m.value(at, rest[:n])
		if v == nil {
			continue
		}
		had := len(m.found)
		m.found = append(m.found, Reading{at.name, v})
		if m.match(parts[1:], rest[n:]) {
			return true
		}
		v.Close()
		m.found = m.found[:had]
	}
	return false
}

// text is what a part looks like if it holds no secret.
func (m *matcher) text(at part) ([]byte, bool) {
	switch {
	case at.name == "":
		return []byte(at.text), true
	case !slices.Contains(plainFields, at.name):
		return nil, false
	}
	var b []byte
	for i, c := range []byte(m.plain[at.name]) {
		if at.startsGroup(i) {
			b = append(b, '-')
		}
		if m.f.wifi && bytes.IndexByte([]byte(`\;,:"`), c) >= 0 {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return b, true
}

// value undoes what a field does to a value: groups, and the escapes of a Wi-Fi
// code. It returns nil if b can't be such a value.
func (m *matcher) value(at part, b []byte) *secret.Value {
	room := secret.New(len(b))
	defer room.Close()
	v := room.Bytes()[:0]
	hyphen := false // the one before the next character was seen
	for i := 0; i < len(b); i++ {
		if at.startsGroup(len(v)) && !hyphen {
			if hyphen = b[i] == '-'; !hyphen {
				return nil
			}
			continue
		}
		if m.f.wifi && b[i] == '\\' {
			if i++; i == len(b) {
				return nil
			}
		}
		v, hyphen = append(v, b[i]), false
	}
	if at.group != nil && len(v) != sum(at.group) {
		return nil
	}
	return secret.Join(v)
}

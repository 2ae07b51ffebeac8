package label

import (
	"bytes"
	"fmt"
	"slices"

	"mintmark/hsm/secret"
)

// Render fills the template. The caller closes the label.
func (t *Template) Render(plain map[string]string, secrets map[string]*secret.Value) (*secret.Value, error) {
	values := func(name string) ([]byte, bool) {
		if slices.Contains(plainFields, name) {
			s, ok := plain[name]
			return []byte(s), ok
		}
		v := secrets[name]
		if v == nil {
			return nil, false
		}
		return v.Bytes(), true
	}
	size, err := t.size(values)
	if err != nil {
		return nil, err
	}
	room := secret.New(size)
	defer room.Close()
	b := room.Bytes()[:0] // large enough, so that append never moves it
	for _, p := range t.pieces {
		b = append(b, p.zpl...)
		if p.field != nil {
			b = p.field.append(b, values)
		}
	}
	return secret.Join(b), nil
}

// size is enough room for the label. It fails if a value is missing or doesn't
// fit its groups.
func (t *Template) size(values func(string) ([]byte, bool)) (n int, err error) {
	for _, p := range t.pieces {
		n += len(p.zpl)
		if p.field == nil {
			continue
		}
		n += len(p.field.lead)
		for _, at := range p.field.parts {
			n += 6 * len(at.text)
			if at.name == "" {
				continue
			}
			v, ok := values(at.name)
			if !ok {
				return 0, fmt.Errorf("label wants %s, which this device doesn't have", at.name)
			}
			if want := sum(at.group); at.group != nil && want != len(v) {
				return 0, fmt.Errorf("%s has %d characters, the label's groups want %d", at.name, len(v), want)
			}
			n += 12*len(v) + len(at.group)
		}
	}
	return n, nil
}

func sum(ns []int) (total int) {
	for _, n := range ns {
		total += n
	}
	return total
}

func (f *field) append(b []byte, values func(string) ([]byte, bool)) []byte {
	b = append(b, f.lead...)
	for _, at := range f.parts {
		if at.name == "" {
			for i := range len(at.text) {
				b = f.escape(b, at.text[i], false)
			}
			continue
		}
		v, _ := values(at.name) // size has seen it
		for i, c := range v {
			if at.startsGroup(i) {
				b = append(b, '-')
			}
			b = f.escape(b, c, true)
		}
	}
	return b
}

// startsGroup reports whether a hyphen goes before the i-th character.
func (at part) startsGroup(i int) bool {
	for _, n := range at.group {
		if i == 0 {
			return false
		}
		if i -= n; i == 0 {
			return true
		}
	}
	return false
}

const hexDigits = "0123456789ABCDEF"

// escape appends c so that it is printed as it is. The text of the template keeps
// the meaning that it has in a block or a Wi-Fi code; that of a value has none.
func (f *field) escape(b []byte, c byte, value bool) []byte {
	switch {
	case value && f.wifi && bytes.IndexByte([]byte(`\;,:"`), c) >= 0:
		b = append(b, '_', '5', 'C')
	case value && f.block && c == '\\':
		b = append(b, '_', '5', 'C')
	case f.code == code128 && c == '>':
		return append(b, '>', '0') // > alone chooses a code set
	}
	if c < ' ' || c > '~' || c == '^' || c == '~' || c == '_' || (c == '\\' && value) {
		return append(b, '_', hexDigits[c>>4], hexDigits[c&15])
	}
	return append(b, c)
}

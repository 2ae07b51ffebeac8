package records

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"mintmark/hsm/secret"
)

const (
	indexDomain = "mintmark/index"

	// maxCanonical is the longest canonical form, in bytes.
	maxCanonical = 256
)

// class returns the class of a kind, or "" if the ledger can't index it.
func (k Kind) class() Class {
	switch k {
	case LoginPassword, WifiPSK, APIKey:
		return Text
	case PIN:
		return Code
	case SymmetricKey:
		return Bytes
	}
	return ""
}

// appendCanonical appends the canonical form of value to dst, which needs room
// for len(value) bytes more. The forms never change: docs/ledger-index.md and
// its golden vectors hold them. The error never shows the value.
func appendCanonical(dst []byte, class Class, value []byte) ([]byte, error) {
	start := len(dst)
	var err error
	switch class {
	case Text:
		dst, err = appendText(dst, value)
	case Code:
		dst, err = appendCode(dst, value)
	case Bytes:
		if dst, err = hex.AppendDecode(dst, value); err != nil {
			err = errors.New("value is not hexadecimal, want pairs of 0-9 and a-f") // the cause shows a character
		}
	default:
		err = fmt.Errorf("values of class %q can't be indexed", class)
	}
	switch n := len(dst) - start; {
	case err != nil:
		return dst, err
	case n == 0:
		return dst, errors.New("value is empty but for separators")
	case n > maxCanonical:
		return dst, fmt.Errorf("value has %d characters that count, want at most %d", n, maxCanonical)
	}
	return dst, nil
}

func appendText(dst, value []byte) ([]byte, error) {
	for _, b := range value {
		switch {
		case b < 0x20 || b > 0x7e:
			return dst, errors.New("value has a character that is not printable ASCII")
		case separator(b):
		case b >= 'a' && b <= 'z':
			dst = append(dst, b-'a'+'A')
		default:
			dst = append(dst, b)
		}
	}
	return dst, nil
}

func appendCode(dst, value []byte) ([]byte, error) {
	for _, b := range value {
		switch {
		case separator(b):
		case b < '0' || b > '9':
			return dst, errors.New("value has a character that is not a digit")
		default:
			dst = append(dst, b)
		}
	}
	return dst, nil
}

// separator says whether b only groups the characters of a value.
func separator(b byte) bool {
	return b == ' ' || b == '-' || b == '_' || b == '.' || b == ':'
}

// appendMessage appends what the index of a canonical value is the keyed digest
// of. Every field has its length before it, so no two values share a message.
func appendMessage(dst []byte, version uint32, class Class, scope string, value []byte) []byte {
	return appendField(appendHead(dst, version, class, scope), value)
}

// appendHead appends what comes before the value in a message.
func appendHead(dst []byte, version uint32, class Class, scope string) []byte {
	dst = appendField(dst, indexDomain)
	dst = binary.BigEndian.AppendUint32(append(dst, 0, 0, 0, 4), version)
	dst = appendField(dst, class)
	return appendField(dst, scope)
}

func appendField[T ~string | ~[]byte](dst []byte, field T) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(field)))
	return append(dst, field...)
}

// messageSize bounds a message but for its value.
func messageSize(scope string) int { return 5*4 + len(indexDomain) + 4 + len("bytes") + len(scope) }

// scope is what the values of s must be unique in: the product, or "" for the
// whole ledger.
func (s Spec) scope(product string) string {
	if s.ProductScope {
		return product
	}
	return ""
}

// A summer computes many keyed digests with one call to the authority. Its
// messages lie in secret memory, which is used again and wiped by close.
type summer struct {
	mem  *secret.Value
	flat []byte
	msgs [][]byte
	out  [][32]byte
}

// reset makes room for messages of size bytes in all.
func (s *summer) reset(size int) {
	if s.mem == nil || s.mem.Len() < size {
		s.mem.Close()
		s.mem = secret.New(size)
	}
	s.flat, s.msgs = s.mem.Bytes()[:0], s.msgs[:0]
}

func (s *summer) close() { s.mem.Close() }

// add adds the message of a head and a value; together they must fit into what
// reset made room for.
func (s *summer) add(head, value []byte) {
	start := len(s.flat)
	s.flat = appendField(append(s.flat, head...), value)
	s.msgs = append(s.msgs, s.flat[start:])
}

// sum returns the digests of the messages, valid until the next call.
func (s *summer) sum(ctx context.Context, keys Keys, version uint32) ([][32]byte, error) {
	if cap(s.out) < len(s.msgs) {
		s.out = make([][32]byte, len(s.msgs))
	}
	s.out = s.out[:len(s.msgs)]
	if err := keys.Sum(ctx, version, s.msgs, s.out); err != nil {
		return nil, fmt.Errorf("compute indexes: %w", err)
	}
	return s.out, nil
}

// An indexSet is every index of one value.
type indexSet struct {
	Claim   Index   // what a new claim is made of
	Version uint32  // of the key that made Claim: the last one
	Lookup  []Index // under every key version, oldest first; any that is claimed means: used

	// Wide is set for a product scope only: the ledger-wide indexes of the value
	// under every version. They are reported, never refused.
	Wide []Index
}

// indexes computes the indexes of one value of each named credential of p. It
// asks the authority, so it must be called before the writer is entered.
func (l *Ledger) indexes(ctx context.Context, p Product, values map[string]*secret.Value) (map[string]indexSet, error) {
	sets, known := map[string]indexSet{}, 0
	for _, spec := range p.Credentials {
		v, ok := values[spec.Name]
		if !ok {
			continue
		}
		known++
		set, err := l.indexesOf(ctx, p.ID, spec, v)
		if err != nil {
			return nil, err
		}
		sets[spec.Name] = set
	}
	if known < len(values) {
		return nil, fmt.Errorf("%d values for %d credentials of product %s", len(values), known, p.ID)
	}
	return sets, nil
}

func (l *Ledger) indexesOf(ctx context.Context, product string, spec Spec, v *secret.Value) (indexSet, error) {
	canonical := secret.New(v.Len())
	defer canonical.Close()
	c, err := appendCanonical(canonical.Bytes()[:0], spec.Kind.class(), v.Bytes())
	if err != nil {
		return indexSet{}, refuse("", "credential %s: %v", spec.Name, err)
	}
	var s summer
	defer s.close()
	var set indexSet
	for _, version := range l.keys.Versions() {
		s.reset(2 * (messageSize(product) + len(c)))
		s.add(appendHead(nil, version, spec.Kind.class(), spec.scope(product)), c)
		if spec.ProductScope {
			s.add(appendHead(nil, version, spec.Kind.class(), ""), c)
		}
		out, err := s.sum(ctx, l.keys, version)
		if err != nil {
			return indexSet{}, err
		}
		set.Claim, set.Version = Index(out[0][:16]), version
		set.Lookup = append(set.Lookup, set.Claim)
		if spec.ProductScope {
			set.Wide = append(set.Wide, Index(out[1][:16]))
		}
	}
	return set, nil
}

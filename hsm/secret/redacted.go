package secret

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const shown = "[secret]"

// ErrEncode is what every binary encoder gets instead of a secret.
var ErrEncode = errors.New("a secret is never encoded")

// redacted gives Value and *Value the methods by which formatters, encoders and
// loggers ask a type how it looks. It is embedded, not written on *Value, so that
// a Value that is printed as a copy is covered too.
type redacted struct{}

// Format covers every verb of fmt, also %x, %#v, %d and %p.
func (redacted) Format(f fmt.State, _ rune) { io.WriteString(f, shown) }

// String is for those who ask for a fmt.Stringer without going through fmt.
func (redacted) String() string { return shown }

// GoString is for those who ask for a fmt.GoStringer.
func (redacted) GoString() string { return shown }

// MarshalText covers JSON map keys, XML, TOML and YAML.
func (redacted) MarshalText() ([]byte, error) { return []byte(shown), nil }

// MarshalJSON covers encoding/json.
func (redacted) MarshalJSON() ([]byte, error) { return []byte(`"` + shown + `"`), nil }

// MarshalBinary refuses gob, CBOR and other encoders whose output is meant to be
// read back: a placeholder there would be taken for the secret.
func (redacted) MarshalBinary() ([]byte, error) { return nil, ErrEncode }

// LogValue covers slog.
func (redacted) LogValue() slog.Value { return slog.StringValue(shown) }

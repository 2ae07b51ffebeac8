// Package label fills the ZPL template of a product and has it printed.
//
// It promises:
//
//   - A value can't become a command: every byte of it that ZPL, a barcode or
//     a Wi-Fi code would take for one is escaped, and [Parse] refuses the places
//     where that isn't possible.
//   - A filled label lives in a [secret.Value] only. Templates that would leave
//     it in the printer, or print it twice, are refused.
//   - [Printer.Print] returns nil only after the printer said that nothing is left
//     to print and nothing is wrong.
//
// # Template
//
// One label, ^XA to ^XZ, with {serial}, {product}, {label} and the names of
// credentials in its ^FD fields; {admin:5-5-5} puts hyphens between groups, "{{"
// is a brace. ^CI28 and ^FH_ are added where they are missing. A QR code that
// begins with WIFI: gets the escapes of that form.
package label

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Template is the label of a product. It is not changed after Parse.
type Template struct {
	pieces      []piece
	credentials []string // on the label, in order of appearance
}

// A piece is either ZPL as it stands, or the data of a field.
type piece struct {
	zpl   string
	field *field
}

// A field is the data of one ^FD with placeholders.
type field struct {
	code  code
	block bool // ^FB: a backslash is a command
	wifi  bool // a Wi-Fi code: ; , : " and \ are escaped
	lead  string
	parts []part
}

// A part is either text or a placeholder.
type part struct {
	text  string
	name  string
	group []int // lengths of groups, nil for none
}

// A code is how a field is printed.
type code string

const (
	plainText code = ""
	code128   code = "^BC"
	qr        code = "^BQ"
)

// plainFields are the fields that hold no secret.
var plainFields = []string{"serial", "product", "label"}

// Parse reads a template. Credentials are the names that it may use. It reports
// all mistakes at once, each with its line.
func Parse(zpl string, credentials []string) (*Template, error) {
	p := parser{known: slices.Concat(plainFields, credentials)}
	p.t = &Template{}
	rest := strings.TrimSpace(zpl)
	if !strings.HasPrefix(rest, "^XA") || !strings.HasSuffix(rest, "^XZ") {
		p.mistake("label is not one format, want it to begin with ^XA and to end with ^XZ")
		return nil, errors.Join(p.mistakes...)
	}
	p.line = 1 + strings.Count(zpl[:strings.Index(zpl, "^XA")], "\n")
	p.utf8 = strings.Contains(rest, "^CI28")
	for rest != "" {
		end := 1 + strings.IndexAny(rest[1:], "^~")
		if end == 0 {
			end = len(rest)
		}
		p.command(rest[:end])
		p.line += strings.Count(rest[:end], "\n")
		rest = rest[end:]
	}
	if p.formats != 1 {
		p.mistake("label has %d formats, want one", p.formats)
	}
	if len(p.mistakes) > 0 {
		return nil, errors.Join(p.mistakes...)
	}
	for _, name := range p.used {
		if !slices.Contains(plainFields, name) {
			p.t.credentials = append(p.t.credentials, name)
		}
	}
	return p.t, nil
}

// Credentials lists the credentials on the label.
func (t *Template) Credentials() []string { return slices.Clone(t.credentials) }

// A parser reads a template command by command.
type parser struct {
	t        *Template
	known    []string
	used     []string
	utf8     bool
	line     int
	formats  int
	mistakes []error

	// Of the field that is being described, until ^FS.
	code  code
	other string // a barcode of another kind
	mode  string // of Code 128
	block bool
	hex   bool
	wrong bool // ^FH with another sign than _
}

func (p *parser) mistake(format string, args ...any) {
	p.mistakes = append(p.mistakes, fmt.Errorf("line %d: "+format, append([]any{p.line}, args...)...))
}

// refused are the commands that a label of secrets must not have, and why.
var refused = map[string]string{
	"^CC": "changes the sign of commands", "^CT": "changes the sign of commands", "^CD": "changes the separator",
	"~CC": "changes the sign of commands", "~CT": "changes the sign of commands", "~CD": "changes the separator",
	"^DF": "leaves the label in the printer", "^IS": "leaves the label in the printer",
	"^MC": "leaves the label on the next one", "^XF": "prints a form that is not in the template",
	"^SN": "counts, want {serial}", "^SF": "counts, want {serial}", "^FN": "is filled by the printer, want a field in braces",
	"^FV": "keeps a field apart, want ^FD",
}

// command takes one command with all that follows it.
func (p *parser) command(s string) {
	name, data := s, ""
	if len(s) > 3 {
		name, data = s[:3], s[3:]
	}
	name = strings.ToUpper(name)
	if why := refused[name]; why != "" {
		p.mistake("%s %s", name, why)
	} else if name[0] == '~' && name != "~SD" {
		p.mistake("%s acts on the printer, not on the label", name)
	}
	if name != "^FD" && strings.Contains(data, "{") {
		p.mistake("%s has a brace, want fields only in ^FD", name)
	}
	switch params := strings.TrimSpace(data); name {
	case "^XA":
		p.formats++
		if !p.utf8 {
			s = "^XA^CI28" + data
		}
	case "^CI":
		p.want(params == "28", "^CI is %q, want 28", params)
	case "^PQ":
		n, _, _ := strings.Cut(params, ",")
		p.want(n == "1" || n == "", "^PQ prints %q labels, want 1", n)
	case "^FH":
		p.hex, p.wrong = true, params != "" && params != "_"
	case "^FB":
		p.block = true
	case "^FS":
		p.code, p.other, p.mode, p.block, p.hex, p.wrong = "", "", "", false, false, false
	case "^FD":
		if strings.Contains(data, "{") {
			p.field(data)
			return
		}
	default:
		p.barcode(name, params)
	}
	p.zpl(s)
}

func (p *parser) want(ok bool, format string, args ...any) {
	if !ok {
		p.mistake(format, args...)
	}
}

// barcode notes how the field will be printed.
func (p *parser) barcode(name, params string) {
	switch {
	case name == "^BY", !strings.HasPrefix(name, "^B"):
	case name == string(code128):
		p.code = code128
		if all := strings.Split(params, ","); len(all) > 5 {
			p.mode = all[5]
		}
	case name == string(qr):
		p.code = qr
	default:
		p.other = name
	}
}

func (p *parser) zpl(s string) {
	if n := len(p.t.pieces); n > 0 && p.t.pieces[n-1].field == nil {
		p.t.pieces[n-1].zpl += s
		return
	}
	p.t.pieces = append(p.t.pieces, piece{zpl: s})
}

var qrLead = regexp.MustCompile(`^[HQML]A,`)

// field takes the data of a ^FD that has placeholders.
func (p *parser) field(data string) {
	f := &field{code: p.code, block: p.block}
	p.want(p.other == "", "%s is a code whose escapes are not known here, want text, ^BC or ^BQ", p.other)
	p.want(p.mode == "" || p.mode == "N", "^BC has mode %q, want N", p.mode)
	p.want(!p.wrong, "^FH has a sign of its own, want ^FH_")
	data = strings.NewReplacer("\r", "", "\n", "").Replace(data)
	if p.hex {
		data = unescape(data)
	}
	if f.code == qr {
		f.lead = qrLead.FindString(data)
		p.want(f.lead != "", "^BQ has no mode before its data, want ^FDQA,")
		data = data[len(f.lead):]
		f.wifi = strings.HasPrefix(data, "WIFI:")
	}
	f.parts = p.parts(data)
	if !p.hex {
		p.zpl("^FH_")
	}
	p.zpl("^FD")
	p.t.pieces = append(p.t.pieces, piece{field: f})
}

// parts splits the data of a field at its placeholders.
func (p *parser) parts(data string) (parts []part) {
	text := func(s string) {
		if n := len(parts); n > 0 && parts[n-1].name == "" {
			parts[n-1].text += s
		} else if s != "" {
			parts = append(parts, part{text: s})
		}
	}
	for {
		before, rest, found := strings.Cut(data, "{")
		text(before)
		if !found {
			return parts
		}
		if strings.HasPrefix(rest, "{") {
			text("{")
			data = rest[1:]
			continue
		}
		inside, after, closed := strings.Cut(rest, "}")
		if !closed {
			p.mistake("{%.20s is not closed", rest)
			return parts
		}
		parts = append(parts, p.placeholder(inside))
		data = after
	}
}

var groups = regexp.MustCompile(`^[1-9][0-9]?(-[1-9][0-9]?)+$`)

func (p *parser) placeholder(inside string) part {
	name, group, grouped := strings.Cut(inside, ":")
	p.want(slices.Contains(p.known, name), "{%s} is no field of this product, want one of %s", inside, strings.Join(p.known, ", "))
	if !slices.Contains(p.used, name) {
		p.used = append(p.used, name)
	}
	at := part{name: name}
	if !grouped {
		return at
	}
	if !groups.MatchString(group) {
		p.mistake("{%s} has a group of %q, want a form like 5-5-5", inside, group)
		return at
	}
	for n := range strings.SplitSeq(group, "-") {
		size, _ := strconv.Atoi(n) // groups has only numbers
		at.group = append(at.group, size)
	}
	return at
}

// unescape undoes ^FH_ in a template.
func unescape(s string) string {
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		if s[i] == '_' && i+2 < len(s) {
			if v, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				b.WriteByte(byte(v))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

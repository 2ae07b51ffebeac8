package label_test

import (
	"strconv"
	"strings"
	"unicode"
)

// ascii is what a text credential may be made of.
var ascii = &unicode.RangeTable{R16: []unicode.Range16{{Lo: ' ', Hi: '~', Stride: 1}}, LatinOffset: 1}

// fieldsOf reads a label as a printer does: "^" and "~" begin a command anywhere,
// ^FH_ lets _XX stand for a byte in the next field.
func fieldsOf(zpl string) (fields []string) {
	hex := false
	for _, c := range strings.FieldsFunc(zpl, func(r rune) bool { return r == '^' || r == '~' }) {
		switch {
		case strings.HasPrefix(c, "FH_"):
			hex = true
		case strings.HasPrefix(c, "FS"):
			hex = false
		case strings.HasPrefix(c, "FD") && hex:
			fields = append(fields, dehex(c[2:]))
		case strings.HasPrefix(c, "FD"):
			fields = append(fields, c[2:])
		}
	}
	return fields
}

func dehex(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '_' {
			v, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				panic(err)
			}
			b.WriteByte(byte(v))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// scanned is what a scanner types for the data of a field.
func scanned(data string) string {
	if lead, rest, found := strings.Cut(data, "QA,"); found && lead == "" {
		return rest
	}
	return strings.ReplaceAll(data, ">0", ">")
}

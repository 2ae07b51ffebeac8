package console

import "bytes"

// widest is the most bytes that quoting makes of one byte, and framing what it
// adds around a value.
const (
	widest  = 4
	framing = 2
)

// quote appends b to dst as one word of the dialect, so that the device's
// shell takes it for exactly b. It refuses what the dialect can't carry, and then
// dst is as long as before. It never appends more than widest*len(b)+framing.
func (d Dialect) quote(dst, b []byte) ([]byte, bool) {
	if !d.carries(b) {
		return dst, false
	}
	switch d {
	case UBoot:
		return quoteSingle(dst, b, `'\`), true
	case Posix:
		return quoteSingle(dst, b, `'`), true
	case Python:
		return quotePython(dst, b), true
	case Argv:
		return quoteArgv(dst, b), true
	default:
		return append(dst, b...), true
	}
}

// carries says whether b survives a line of the dialect. Control characters
// would act on the line editor, bytes above ASCII depend on the device's locale.
func (d Dialect) carries(b []byte) bool {
	if !typeable(b) {
		return false
	}
	switch d {
	case Argv: // ESP-IDF and Zephyr disagree about ' and Zephyr may complete * and ?
		return !bytes.ContainsAny(b, `'*?`) && !bytes.HasSuffix(b, []byte(" "))
	case None:
		return len(b) > 0 && plain(b)
	}
	return true
}

// typeable says whether b is printable ASCII.
func typeable(b []byte) bool {
	for _, c := range b {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return true
}

// plain says whether b has only characters that no shell gives a meaning.
func plain(b []byte) bool {
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case bytes.IndexByte([]byte("-_.:/+=@,%"), c) >= 0:
		default:
			return false
		}
	}
	return true
}

// quoteSingle puts b between single quotes, and the special characters outside
// them behind a backslash. U-Boot's hush drops a backslash even inside single
// quotes (2023.01), hence it is special there.
func quoteSingle(dst, b []byte, special string) []byte {
	dst = append(dst, '\'')
	for _, c := range b {
		if bytes.IndexByte([]byte(special), c) >= 0 {
			dst = append(dst, '\'', '\\', c, '\'')
			continue
		}
		dst = append(dst, c)
	}
	return append(dst, '\'')
}

func quotePython(dst, b []byte) []byte {
	dst = append(dst, '\'')
	for _, c := range b {
		if c == '\'' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '\'')
}

// quoteArgv escapes what both Zephyr's shell and ESP-IDF's console unescape
// outside quotes. Only an empty word needs quotes.
func quoteArgv(dst, b []byte) []byte {
	if len(b) == 0 {
		return append(dst, '"', '"')
	}
	for _, c := range b {
		if c == ' ' || c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return dst
}

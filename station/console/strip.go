package console

// maxSequence bounds what an escape sequence may swallow, so that a lone ESC in
// garbage hides only a little.
const maxSequence = 128

// state is where a stripper is within an escape sequence.
type state uint8

const (
	ground  state = iota
	escape        // after ESC
	charset       // after ESC and an intermediate byte
	csi           // in ESC [ ...
	str           // in a string: OSC, DCS, SOS, PM, APC
	strEsc        // after ESC in a string
)

// A stripper turns what a terminal would get into plain text: escape sequences
// and control characters vanish, "\r\n", "\r\r\n", "\n\r" and a lone "\r" become
// "\n", and each byte above ASCII becomes "?". What comes out depends on the bytes
// alone, not on how they were split.
type stripper struct {
	state   state
	size    int  // bytes of the sequence so far
	cr      bool // a carriage return waits to see whether a line feed follows
	newline bool // the last byte that came out was a newline
	param   byte // the only parameter byte of a CSI sequence, for queries
	params  int

	queries []byte // 'n' sequences that wait for an answer: '5' or '6', at most a few
}

// maxQueries bounds the queries that wait.
const maxQueries = 8

// strip appends the text of src to dst. It appends at most one byte more than
// src has.
func (s *stripper) strip(dst, src []byte) []byte {
	for _, c := range src {
		dst = s.one(dst, c)
	}
	return dst
}

func (s *stripper) one(dst []byte, c byte) []byte {
	if s.state != ground {
		if s.inSequence(c) {
			return dst
		}
		s.state = ground // the sequence was broken off, c is text
	}
	if c == 0x1b {
		s.state, s.size, s.params = escape, 0, 0
		return dst
	}
	return s.text(dst, c)
}

// text appends one byte that is in no sequence.
func (s *stripper) text(dst []byte, c byte) []byte {
	switch {
	case c == '\r':
		s.cr = true
		return dst
	case c == '\n':
		s.cr = false
		return s.put(dst, c)
	case c < 0x20 && c != '\t', c == 0x7f:
		return dst
	case c > 0x7f:
		c = '?'
	}
	if s.cr && !s.newline {
		dst = s.put(dst, '\n')
	}
	s.cr = false
	return s.put(dst, c)
}

func (s *stripper) put(dst []byte, c byte) []byte {
	s.newline = c == '\n'
	return append(dst, c)
}

// inSequence takes one byte of a sequence. It returns false if c can't belong to
// it.
func (s *stripper) inSequence(c byte) bool {
	s.size++
	if s.size > maxSequence {
		return false
	}
	switch s.state {
	case escape:
		return s.afterEscape(c)
	case charset:
		s.end(c >= 0x30)
		return c >= 0x20 && c < 0x7f
	case csi:
		return s.inCSI(c)
	case str:
		return s.inString(c)
	default: // strEsc
		s.state = ground // ESC \ ends a string; any other ESC breaks it off
		return c == '\\' || s.afterEscape(c)
	}
}

func (s *stripper) end(is bool) {
	if is {
		s.state = ground
	}
}

func (s *stripper) afterEscape(c byte) bool {
	switch {
	case c == '[':
		s.state = csi
	case c == ']', c == 'P', c == 'X', c == '^', c == '_':
		s.state = str
	case c >= 0x20 && c < 0x30:
		s.state = charset
	case c >= 0x30 && c < 0x7f:
		s.state = ground
	case c == 0x1b:
		s.state = escape
	default:
		return false
	}
	return true
}

func (s *stripper) inCSI(c byte) bool {
	switch {
	case c >= 0x20 && c < 0x40:
		s.param = c
		s.params++
	case c >= 0x40 && c < 0x7f:
		s.state = ground
		s.query(c)
	case c == 0x1b:
		s.state, s.params = escape, 0
	default:
		return false
	}
	return true
}

// query notes ESC[5n and ESC[6n.
func (s *stripper) query(final byte) {
	if final == 'n' && s.params == 1 && (s.param == '5' || s.param == '6') && len(s.queries) < maxQueries {
		s.queries = append(s.queries, s.param)
	}
}

func (s *stripper) inString(c byte) bool {
	switch {
	case c == 0x07:
		s.state = ground
	case c == 0x1b:
		s.state = strEsc
	case c == '\n' || c == '\r':
		return false
	}
	return true
}

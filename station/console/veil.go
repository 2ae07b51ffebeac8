package console

import (
	"bytes"

	"mintmark/station"
)

// inherits says whether a step may hear what somebody typed before us: a daemon
// that was killed, or we ourselves to a device that lost contact in the middle of
// a line. What to look for in it is known no more.
func (s *session) inherits(st *step) bool {
	return s.phase == station.Identify && st.index == 1 && len(s.vars.Secret) == 0
}

// veil returns text with a star for each word that has a capital or a digit, as
// credentials and their pieces have. Enough is left to see where a device is.
func veil(text []byte) []byte {
	var out []byte
	for line := range bytes.Lines(text) {
		for i, word := range bytes.Split(bytes.TrimRight(line, "\r\n"), []byte(" ")) {
			if i > 0 {
				out = append(out, ' ')
			}
			if bytes.ContainsAny(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") {
				word = []byte("*")
			}
			out = append(out, word...)
		}
		out = append(out, '\n')
	}
	return out
}

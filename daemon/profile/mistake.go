package profile

import (
	"fmt"
	"sort"
	"strings"
)

// A Pos is a place in a file, counted from 1. The zero Pos is the file itself.
type Pos struct {
	File string
	Line int
	Col  int
}

func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Col)
}

// A Mistake is one thing wrong with a file, at its place and by its key. The
// text says what was wanted and never repeats a value that could be a password.
type Mistake struct {
	Pos     Pos
	Key     string // as in credential[1].length; empty for the file as a whole
	Text    string
	Warning bool // weak or unfinished, but allowed

	unreadable bool // nothing is known of the value, so nothing more is said of what is in it
}

func (m Mistake) Error() string {
	s := m.Pos.String() + ": "
	if m.Warning {
		s += "warning: "
	}
	if m.Key != "" {
		s += m.Key + ": "
	}
	return s + m.Text
}

// covers reports whether m already says that key can't be right.
func (m Mistake) covers(key string) bool {
	rest, below := strings.CutPrefix(key, m.Key)
	switch {
	case m.Warning || !below:
		return false
	case rest == "":
		return true
	}
	return m.unreadable && (rest[0] == '.' || rest[0] == '[')
}

// Mistakes is everything that is wrong with a file, in the order of the file.
type Mistakes []Mistake

func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

func (ms Mistakes) sorted() Mistakes {
	sort.SliceStable(ms, func(i, j int) bool {
		a, b := ms[i].Pos, ms[j].Pos
		if a.File != b.File {
			return a.File > b.File // a profile comes before the preset it builds on
		}
		if a.Line != b.Line {
			return a.Line < b.Line
		}
		return a.Col < b.Col
	})
	return ms
}

// nearest returns the word that a mistyped one was probably meant to be, or "".
func nearest(word string, words []string) string {
	best, bestDistance := "", 1+len(word)/3
	for _, w := range words {
		if d := distance(word, w); d <= bestDistance {
			best, bestDistance = w, d-1
		}
	}
	return best
}

// distance is the number of letters to add, drop or change to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// oneOf lists what is allowed, for the end of a mistake.
func oneOf(words []string) string {
	switch n := len(words); n {
	case 0:
		return "nothing"
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " or " + words[n-1]
	}
}

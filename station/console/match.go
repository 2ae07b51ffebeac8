package console

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Bounds of a pattern, so that matching one byte costs little.
const (
	maxPattern = 1000 // characters
	maxInsts   = 2000 // instructions
)

// A pattern is a regular expression in Go's syntax. ^ and $ mean the ends of a
// line. The nil pattern never matches.
type pattern struct {
	text string
	re   *regexp.Regexp
	prog *syntax.Prog // nil if it is only for complete text
}

func (p *pattern) String() string {
	if p == nil {
		return "nothing"
	}
	return "/" + p.text + "/"
}

// compileWhole compiles a pattern for complete text.
func compileWhole(text string) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("pattern has %d characters, want at most %d", len(text), maxPattern)
	}
	re, err := regexp.Compile("(?m)" + text)
	if err != nil {
		var se *syntax.Error
		if errors.As(err, &se) {
			return nil, fmt.Errorf("pattern is no regular expression: %s: %.60q", se.Code, se.Expr)
		}
		return nil, fmt.Errorf("pattern is no regular expression: %w", err)
	}
	return &pattern{text: text, re: re}, nil
}

// compileStream compiles a pattern for text that is still arriving. It refuses
// what would depend on where that text happens to end.
func compileStream(text string) (*pattern, error) {
	p, err := compileWhole(text)
	if err != nil {
		return nil, err
	}
	tree, err := syntax.Parse("(?m)"+text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	if op := looksAhead(tree); op != "" {
		return nil, fmt.Errorf("pattern uses %s, which depends on text that is still to come; want the text that follows instead, such as \\n", op)
	}
	if p.re.MatchString("") {
		return nil, errors.New("pattern matches the empty text, want at least one character")
	}
	if p.prog, err = syntax.Compile(tree.Simplify()); err != nil {
		return nil, err
	}
	if len(p.prog.Inst) > maxInsts {
		return nil, fmt.Errorf("pattern is too large, want fewer or smaller repetitions")
	}
	return p, nil
}

func looksAhead(r *syntax.Regexp) string {
	switch r.Op {
	case syntax.OpEndLine:
		return "$"
	case syntax.OpEndText:
		return `\z`
	case syntax.OpBeginText:
		return `\A`
	case syntax.OpWordBoundary:
		return `\b`
	case syntax.OpNoWordBoundary:
		return `\B`
	}
	for _, sub := range r.Sub {
		if op := looksAhead(sub); op != "" {
			return op
		}
	}
	return ""
}

// A matcher watches arriving text for several patterns at once. It needs the
// same time and memory for every byte, and finds a match at the first byte with
// which there is one.
type matcher struct {
	threads []threads // one for each pattern
}

// newMatcher returns a matcher for text that begins after a byte that was a
// newline, or not.
func newMatcher(pats []*pattern, newline bool) *matcher {
	m := &matcher{threads: make([]threads, len(pats))}
	for i, p := range pats {
		if p == nil {
			continue
		}
		m.threads[i] = newThreads(p.prog)
		m.threads[i].start(newline)
	}
	return m
}

// feed takes one byte and returns the first pattern of which a match ends with
// it, or -1.
func (m *matcher) feed(c byte) int {
	hit := -1
	for i := range m.threads {
		if t := &m.threads[i]; t.prog != nil && t.step(c) && hit < 0 {
			hit = i
		}
	}
	return hit
}

// threads simulates one pattern: the instructions that the text so far may have
// led to.
type threads struct {
	prog *syntax.Prog // nil never matches
	now  []uint32     // instructions that wait for a byte
	next []uint32
	seen []uint64 // the round in which an instruction was last added
	n    uint64   // rounds
}

func newThreads(p *syntax.Prog) threads {
	return threads{prog: p, seen: make([]uint64, len(p.Inst))}
}

// start lets a match begin at the next byte.
func (t *threads) start(newline bool) {
	t.n++
	t.add(uint32(t.prog.Start), newline)
	t.now, t.next = t.next, t.now[:0]
}

// step takes one byte and reports whether a match ends with it.
func (t *threads) step(c byte) bool {
	t.n++
	matched := false
	for _, pc := range t.now {
		if in := &t.prog.Inst[pc]; in.MatchRune(rune(c)) {
			matched = t.add(in.Out, c == '\n') || matched
		}
	}
	t.add(uint32(t.prog.Start), c == '\n')
	t.now, t.next = t.next, t.now[:0]
	return matched
}

// add follows the instructions that need no byte, and reports whether one of
// them ends the match.
func (t *threads) add(pc uint32, newline bool) bool {
	if t.seen[pc] == t.n {
		return false
	}
	t.seen[pc] = t.n
	in := &t.prog.Inst[pc]
	switch in.Op {
	case syntax.InstAlt, syntax.InstAltMatch:
		one := t.add(in.Out, newline)
		return t.add(in.Arg, newline) || one
	case syntax.InstCapture, syntax.InstNop:
		return t.add(in.Out, newline)
	case syntax.InstEmptyWidth: // only ^ is left, see looksAhead
		return newline && t.add(in.Out, newline)
	case syntax.InstMatch:
		return true
	case syntax.InstFail:
		return false
	default:
		t.next = append(t.next, pc)
		return false
	}
}

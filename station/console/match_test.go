package console

import (
	"strings"
	"testing"
)

// first returns after how many bytes of text p matches, or -1.
func first(p *pattern, text string) int {
	m := newMatcher([]*pattern{p}, true)
	for i := range len(text) {
		if m.feed(text[i]) >= 0 {
			return i + 1
		}
	}
	return -1
}

func TestMatchEndsAtTheFirstByteWithWhichItCan(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          int
	}{
		{`login: ?`, "camera login: ", len("camera login:")},
		{`^login:`, "no login:\nlogin:", len("no login:\nlogin:")},
		{`id=(\w+)\n`, "id=12ab\nx", len("id=12ab\n")},
		{`id=(\w+)`, "id=12ab\n", len("id=1")},
		{`a{3}b`, "aaaab", 5},
		{`(?i)OK|failed`, "saving... FAILED", len("saving... FAILED")},
		{`x.y`, "x\ny x-y", 7},
		{`nothing`, "something", -1},
	} {
		p, err := compileStream(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := first(p, tt.text); got != tt.want {
			t.Errorf("/%s/ in %q matches after %d bytes, want %d", tt.pattern, tt.text, got, tt.want)
		}
	}
}

func TestMatchKnowsWhetherTheFirstByteBeginsALine(t *testing.T) {
	p, err := compileStream(`^x`)
	if err != nil {
		t.Fatal(err)
	}
	if newMatcher([]*pattern{p}, false).feed('x') >= 0 {
		t.Error("^x matched in the middle of a line")
	}
	if newMatcher([]*pattern{p}, true).feed('x') < 0 {
		t.Error("^x did not match at the beginning of a line")
	}
}

func TestMatchPrefersTheFirstPatternAndSkipsNone(t *testing.T) {
	a, _ := compileStream(`b`)
	b, _ := compileStream(`[abc]`)
	m := newMatcher([]*pattern{nil, a, b}, true)
	for text, want := range map[byte]int{'a': 2, 'b': 1, 'c': 2, 'd': -1} {
		if got := m.feed(text); got != want {
			t.Errorf("feed(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestPatternsThatDependOnTheFutureAreRefused(t *testing.T) {
	for pattern, want := range map[string]string{
		`# $`:                     "uses $",
		`x\z`:                     `uses \z`,
		`\Ax`:                     `uses \A`,
		`login\b`:                 `uses \b`,
		`x\B`:                     `uses \B`,
		`x*`:                      "matches the empty text",
		`(`:                       "missing closing )",
		`(a{500}){3}`:             "repeat",
		`(a{30}b{30}c{30}){30}`:   "too large",
		strings.Repeat("x", 1001): "1001 characters",
	} {
		_, err := compileStream(pattern)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("compileStream(%.20q) = %v, want %q", pattern, err, want)
		}
	}
	if _, err := compileWhole(`^value=(.*)$`); err != nil {
		t.Errorf("compileWhole = %v, want none: a complete text has an end", err)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add(`login: ?`, "x login: ")
	f.Add(`^(a|ab)*c\n`, "abab\nababc\n")
	f.Add(`[^a]{2,3}x`, "aabbxbbbbx")
	f.Add(`(?i:^ok)|er{1,2}or`, "oK error")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		p, err := compileStream(pattern)
		if err != nil || len(text) > 200 {
			return
		}
		text = stripped(text)
		want := -1
		for i := 1; i <= len(text) && want < 0; i++ {
			if p.re.MatchString(text[:i]) {
				want = i
			}
		}
		if got := first(p, text); got != want {
			t.Errorf("/%s/ in %q matches after %d bytes, regexp after %d", pattern, text, got, want)
		}
	})
}

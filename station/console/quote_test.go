package console

import (
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// interpreters run a line of a dialect that prints one word and a zero byte.
var interpreters = []struct {
	name    string
	dialect Dialect
	argv    []string
	line    string
}{
	{"dash", Posix, []string{"dash", "-c"}, `printf '%%s\0' %s`},
	{"bash", Posix, []string{"bash", "-c"}, `printf '%%s\0' %s`},
	{"busybox ash", Posix, []string{"busybox", "ash", "-c"}, `printf '%%s\0' %s`},
	{"Python", Python, []string{"python3", "-c"}, `import sys; sys.stdout.write(%s); sys.stdout.write(chr(0))`},
}

func quoted(d Dialect, b []byte) (string, bool) {
	q, ok := d.quote(nil, b)
	return string(q), ok
}

// survive has every interpreter read what its dialect makes of values.
func survive(t *testing.T, values ...[]byte) {
	t.Helper()
	for _, in := range interpreters {
		var script, want bytes.Buffer
		for _, v := range values {
			if q, ok := quoted(in.dialect, v); ok {
				fmt.Fprintf(&script, in.line+"\n", q)
				want.Write(append(v, 0))
			}
		}
		if want.Len() == 0 {
			continue
		}
		got, err := exec.CommandContext(t.Context(), in.argv[0], append(in.argv[1:], script.String())...).Output()
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("%s read\n%s\nas %q with %v, want %q", in.name, script.String(), got, err, want.Bytes())
		}
	}
}

// hostile are values that a careless script would trip over.
var hostile = []string{
	"", "x", "'", "''", `\`, `\\`, `a\`, `'\''`, `"`, "$HOME", "${IFS}", "$(id)", "`id`", "a;b", "a|b&c", "a && b",
	"*", "?", "[a-z]", "~", "~root", "#x", "!x", "!!", "-n", "--", "-e\\n", "%s%d", "a  b ", " ", "<>", "(x)", "{a,b}",
	"=x", "$6$salt$hash/.", "\\n", `\x41`, "&#38;", "$'x'", `$"x"`, "^a^b", "a=b", "\\'", `'"'"'`, "{admin}", "{{x}}",
}

func TestQuotedValuesSurviveRealShells(t *testing.T) {
	var values [][]byte
	var all []byte
	for c := byte(0x20); c < 0x7f; c++ {
		all = append(all, c)
		values = append(values, []byte{c}, []byte{'a', c, 'b'}, []byte{c, '\''})
	}
	for _, v := range hostile {
		values = append(values, []byte(v))
	}
	survive(t, append(values, all)...)
}

func TestQuoteRefusesWhatALineCannotCarry(t *testing.T) {
	for _, d := range []Dialect{UBoot, Posix, Python, Argv, None} {
		for _, v := range []string{"a\nb", "a\rb", "\x00", "\x03", "\x1b[A", "\t", "a\x7f", "caf\xc3\xa9"} {
			if q, ok := quoted(d, []byte(v)); ok {
				t.Errorf("%s: quote(%q) = %q, want it refused", d, v, q)
			}
		}
	}
	for _, v := range []string{"it's", "a*", "what?", "ends "} {
		if q, ok := quoted(Argv, []byte(v)); ok {
			t.Errorf("argv: quote(%q) = %q, want it refused: Zephyr and ESP-IDF disagree", v, q)
		}
	}
	for _, v := range []string{"", "a b", "a;b", "$x", `"`, "a~b"} {
		if q, ok := quoted(None, []byte(v)); ok {
			t.Errorf("none: quote(%q) = %q, want it refused", v, q)
		}
	}
}

// The words of the other dialects, which no program on this machine reads, are
// spelt out. U-Boot's are read by a real one in the presets' tests.
func TestQuotedWordsOfDevices(t *testing.T) {
	for _, tt := range []struct {
		d        Dialect
		in, want string
	}{
		{UBoot, `$6$ab;c"d`, `'$6$ab;c"d'`},
		{UBoot, `it's`, `'it'\''s'`},
		{UBoot, `a\b`, `'a'\\'b'`},
		{Argv, `a b"c\d`, `a\ b\"c\\d`},
		{Argv, ``, `""`},
		{None, `Abc-1.2:3`, `Abc-1.2:3`},
	} {
		if got, ok := quoted(tt.d, []byte(tt.in)); !ok || got != tt.want {
			t.Errorf("%s: quote(%q) = %q, %v, want %q", tt.d, tt.in, got, ok, tt.want)
		}
	}
}

func TestQuoteNeverNeedsMoreRoomThanCounted(t *testing.T) {
	for _, d := range []Dialect{UBoot, Posix, Python, Argv, None} {
		for _, v := range append(hostile, strings.Repeat("'", 100), strings.Repeat(`\`, 100)) {
			if q, _ := quoted(d, []byte(v)); len(q) > widest*len(v)+framing {
				t.Errorf("%s: quote(%q) needs %d bytes, counted %d", d, v, len(q), widest*len(v)+framing)
			}
		}
	}
}

func FuzzQuote(f *testing.F) {
	f.Add([]byte(strings.Join(hostile, " ")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 256 {
			return
		}
		survive(t, b)
	})
}

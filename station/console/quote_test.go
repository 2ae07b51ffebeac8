package console

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// interpreters read lines of a dialect that each print one word and a zero byte.
var interpreters = []struct {
	name    string
	dialect Dialect
	argv    []string
	line    string
}{
	{"dash", Posix, []string{"dash"}, `printf '%%s\0' %s`},
	{"bash", Posix, []string{"bash"}, `printf '%%s\0' %s`},
	{"busybox ash", Posix, []string{"busybox", "ash"}, `printf '%%s\0' %s`},
	{"Python", Python, []string{"python3", "-c", python}, `%s`},
}

const python = `import sys
for line in sys.stdin:
    sys.stdout.write(eval(line) + chr(0))
    sys.stdout.flush()`

func quoted(d Dialect, b []byte) (string, bool) {
	q, ok := d.quote(nil, b)
	return string(q), ok
}

// A reader is an interpreter that stays.
type reader struct {
	name    string
	dialect Dialect
	line    string
	in      io.Writer
	out     *bufio.Reader
	limit   func(time.Time) error
}

// start starts every interpreter. They end with the test.
func start(t testing.TB) []reader {
	t.Helper()
	var all []reader
	for _, in := range interpreters {
		cmd := exec.Command(in.argv[0], in.argv[1:]...)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { stdin.Close(); cmd.Wait() })
		all = append(all, reader{in.name, in.dialect, in.line, stdin, bufio.NewReader(stdout), stdout.(*os.File).SetReadDeadline})
	}
	return all
}

// reads has the interpreter read what its dialect makes of v.
func (r reader) reads(t *testing.T, v []byte) {
	t.Helper()
	q, ok := quoted(r.dialect, v)
	if !ok {
		return
	}
	r.limit(time.Now().Add(20 * time.Second)) // an unfinished quote swallows what follows
	if _, err := fmt.Fprintf(r.in, r.line+"\n", q); err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	got, err := r.out.ReadBytes(0)
	if err != nil || !bytes.Equal(bytes.TrimSuffix(got, []byte{0}), v) {
		t.Fatalf("%s read %s as %q with %v, want %q", r.name, q, got, err, v)
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
	for _, r := range start(t) {
		for _, v := range append(values, all) {
			r.reads(t, v)
		}
	}
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
	for _, v := range hostile {
		f.Add([]byte(v))
	}
	readers := start(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 256 {
			return
		}
		for _, r := range readers {
			r.reads(t, b)
		}
	})
}

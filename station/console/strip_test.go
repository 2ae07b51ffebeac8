package console

import (
	"bytes"
	"testing"
)

func stripped(chunks ...string) string {
	var s stripper
	var out []byte
	for _, c := range chunks {
		out = s.strip(out, []byte(c))
	}
	return string(out)
}

func TestStripLeavesThePlainText(t *testing.T) {
	for _, tt := range []struct{ name, in, want string }{
		{"Zephyr's coloured prompt", "\x1b[1;32muart:~$ \x1b[m", "uart:~$ "},
		{"busybox asks for the cursor after its prompt", "~ # \x1b[6n", "~ # "},
		{"bash's bracketed paste", "\x1b[?2004h$ ls\r\n\x1b[?2004l\r", "$ ls\n"},
		{"a window title", "\x1b]0;root@camera: ~\x07# ", "# "},
		{"a title ended by ST", "\x1b]0;title\x1b\\# ", "# "},
		{"a character set", "\x1b(Blogin: ", "login: "},
		{"U-Boot's countdown", "autoboot:  2 \b\b\b 1 \b\b\b 0 \r\r\n=> ", "autoboot:  2  1  0 \n=> "},
		{"line ends of every kind", "a\nb\r\nc\r\r\nd\n\re\rf", "a\nb\nc\nd\ne\nf"},
		{"an empty line stays", "a\r\n\r\nb", "a\n\nb"},
		{"a line that is redrawn", "12%\r34%\r", "12%\n34%"},
		{"bytes above ASCII", "ung\xc3\xbcltig", "ung??ltig"},
		{"NUL, bell and delete", "a\x00b\x07c\x7fd", "abcd"},
		{"a sequence that is broken off by a new line", "\x1b[12\r\nlogin: ", "\nlogin: "},
		{"a lone escape in a title ends it", "\x1b]0;x\x1b[mlogin: ", "login: "},
	} {
		if got := stripped(tt.in); got != tt.want {
			t.Errorf("%s: strip(%q) = %q, want %q", tt.name, tt.in, got, tt.want)
		}
	}
}

func TestStripSwallowsOnlyALittleOfGarbage(t *testing.T) {
	in := "\x1b]" + string(bytes.Repeat([]byte("x"), 10*maxSequence)) + "login: "
	if got := stripped(in); len(got) < len(in)-2*maxSequence {
		t.Errorf("strip left %d of %d bytes, want at most %d swallowed", len(got), len(in), 2*maxSequence)
	}
}

func TestStripNotesQueriesAndNothingElse(t *testing.T) {
	var s stripper
	s.strip(nil, []byte("\x1b[6n\x1b[5n\x1b[56n\x1b[?6n\x1b[6m"))
	if got := string(s.queries); got != "65" {
		t.Errorf("queries = %q, want %q", got, "65")
	}
	for range 100 {
		s.strip(nil, []byte("\x1b[6n"))
	}
	if len(s.queries) > maxQueries {
		t.Errorf("%d queries wait, want at most %d", len(s.queries), maxQueries)
	}
}

func FuzzStrip(f *testing.F) {
	f.Add([]byte("\x1b[1;32muart:~$ \x1b[m\r\r\nlogin: \x1b]0;t\x07x"), 3)
	f.Add([]byte("\r\n\r\r\n\n\r\x1b\x1b[\x1b(\x9b6n\xff"), 1)
	f.Add([]byte("\x1bPq\x1b\x1b\\\x1b[6\r7n"), 7)
	f.Fuzz(func(t *testing.T, in []byte, at int) {
		whole := stripped(string(in))
		at = max(0, min(at, len(in)))
		if got := stripped(string(in[:at]), string(in[at:])); got != whole {
			t.Errorf("split at %d: %q, whole: %q", at, got, whole)
		}
		var s stripper
		var bytewise []byte
		for i := range in {
			before := len(bytewise)
			bytewise = s.strip(bytewise, in[i:i+1])
			if len(bytewise) > before+2 {
				t.Fatalf("one byte became %d", len(bytewise)-before)
			}
		}
		if string(bytewise) != whole {
			t.Errorf("byte by byte: %q, whole: %q", bytewise, whole)
		}
		if len(whole) > len(in)+1 {
			t.Errorf("%d bytes became %d", len(in), len(whole))
		}
		if again := stripped(whole); again != whole {
			t.Errorf("stripped twice: %q, once: %q", again, whole)
		}
		for _, c := range []byte(whole) {
			if (c < 0x20 && c != '\n' && c != '\t') || c > 0x7e {
				t.Fatalf("%#x came through", c)
			}
		}
	})
}

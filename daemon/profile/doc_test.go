package profile_test

import (
	"strings"
	"testing"
	"time"

	"mintmark/daemon/profile"
)

type settings struct {
	Name  string            `toml:"name"`
	Wait  time.Duration     `toml:"wait"`
	Until profile.Date      `toml:"until"`
	Share float64           `toml:"share"`
	Count *int              `toml:"count"`
	On    bool              `toml:"on"`
	Words []string          `toml:"words"`
	Vars  map[string]string `toml:"vars"`
	Inner struct {
		Deep string `toml:"deep"`
	} `toml:"inner"`
	Slots []struct {
		Name string `toml:"name"`
		Port string `toml:"port"`
	} `toml:"slot"`
}

func TestDecodeStoresEveryKindOfValue(t *testing.T) {
	const file = `
name = "a \u0041"
wait = "3ms"
until = 2031-12-31
share = 1
count = 1_000
on = true
words = ["x", "y",]
vars = { a = "1", "b c" = "2" }
inner.deep = '''z'''
[[slot]]
name = "1"
[[slot]]
name = "2"
port = "/dev/x"
`
	d := profile.Read("s.toml", []byte(file))
	var s settings
	d.Decode(&s)
	if err := d.Err(); err != nil {
		t.Fatal(err)
	}
	if s.Name != "a A" || s.Wait != 3*time.Millisecond || s.Until.String() != "2031-12-31" || s.Share != 1 ||
		*s.Count != 1000 || !s.On || strings.Join(s.Words, "") != "xy" || s.Vars["b c"] != "2" ||
		s.Inner.Deep != "z" || len(s.Slots) != 2 || s.Slots[1].Port != "/dev/x" {
		t.Errorf("Decode stored %+v", s)
	}
}

func TestDecodeReportsAllMistakesAtOnceWithTheirPlaces(t *testing.T) {
	const file = `nam = "x"
name = 7
wait = 3
until = "2031-12-31"
on = "yes"
name = "again"
words = "x"
count = 1.5
colour = "blue"
  [inner]
  depe = "x"
[[slot]]
name = "1"
name = "2"
prot = "/dev/x"
[inner]
deep = 1
[slot]
`
	const want = `s.toml:1:1: nam: no such setting, did you mean name
s.toml:2:1: name: is a number, want text in quotes
s.toml:3:1: wait: is a number, want a time with its unit in quotes, like "3ms" or "20s"
s.toml:4:1: until: is text, want a day like 2031-12-31, without quotes
s.toml:5:1: on: is text, want true or false
s.toml:6:1: name: written twice, first in line 2
s.toml:7:1: words: is text, want a list
s.toml:8:1: count: is a fraction, want a whole number
s.toml:9:1: colour: no such setting, want name, wait, until, share, count, on, words, vars, inner or slot
s.toml:11:3: inner.depe: no such setting, did you mean deep
s.toml:14:1: slot[1].name: written twice, first in line 13
s.toml:15:1: slot[1].prot: no such setting, did you mean port
s.toml:16:2: inner: written twice, first in line 10
s.toml:17:1: inner.deep: is a number, want text in quotes
s.toml:18:2: slot: written twice, first in line 12`
	d := profile.Read("s.toml", []byte(file))
	var s settings
	d.Decode(&s)
	if got := d.Err().Error(); got != want {
		t.Errorf("mistakes are\n%s\nwant\n%s", got, want)
	}
}

func TestReadNamesThePlaceOfASyntaxMistake(t *testing.T) {
	d := profile.Read("s.toml", []byte("name = \"x\"\nwait = \n"))
	err := d.Err()
	if err == nil || !strings.HasPrefix(err.Error(), "s.toml:2:") {
		t.Errorf("Err = %v, want a mistake in line 2", err)
	}
}

func TestReadRefusesDeepNestingAndHugeFiles(t *testing.T) {
	deep := profile.Read("s.toml", []byte("words = "+strings.Repeat("[", 50)+strings.Repeat("]", 50)))
	if err := deep.Err(); err == nil || !strings.Contains(err.Error(), "nested deeper than 16 levels") {
		t.Errorf("Err of deep nesting = %v", err)
	}
	huge := profile.Read("s.toml", make([]byte, 1<<20+1))
	if err := huge.Err(); err == nil || !strings.Contains(err.Error(), "has more than 1048576 bytes") {
		t.Errorf("Err of a huge file = %v", err)
	}
}

// TestReadFileStopsAtItsLimit reads a file that has no end.
func TestReadFileStopsAtItsLimit(t *testing.T) {
	d, data, err := profile.ReadFile("/dev/zero")
	if err != nil || len(data) > 1<<20+1 {
		t.Fatalf("ReadFile = %d bytes, %v", len(data), err)
	}
	if err := d.Err(); err == nil || !strings.Contains(err.Error(), "has more than 1048576 bytes") {
		t.Errorf("Err = %v, want the limit", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("name = \"x\"\n[[slot]]\nname = \"1\"\n"))
	f.Add([]byte("inner = {deep = \"x\"}\n[inner.deep]\na.b.c = 1979-05-27T07:32:00Z"))
	f.Add([]byte("[[slot]]\n[[slot.name]]\nslot.x = 1"))
	f.Add([]byte("count = 0x7fffffffffffffff\nshare = -inf\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		d := profile.Read("f.toml", data)
		var s settings
		d.Decode(&s)
		if err := d.Err(); err != nil && !strings.HasPrefix(err.Error(), "f.toml") {
			t.Errorf("mistake without its place: %v", err)
		}
	})
}

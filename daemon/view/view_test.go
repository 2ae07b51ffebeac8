package view_test

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/daemon/api"
	"mintmark/daemon/view"
	"mintmark/station"
)

// A script is a source that says one status after the other.
type script []api.Status

func (s *script) Status(ctx context.Context, after string) (api.Status, error) {
	if len(*s) == 0 {
		<-ctx.Done()
		return api.Status{}, ctx.Err()
	}
	next := (*s)[0]
	*s = (*s)[1:]
	return next, nil
}

func slots(s ...station.Snapshot) api.Status {
	return api.Status{About: api.About{Station: "line-1", Development: true}, Slots: s}
}

func stopping() api.Status { return api.Status{Stopping: true} }

func TestWithoutATerminalEachResultIsALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		v := view.New(view.Config{Out: &out})
		v.Title("devices come")
		source := script{
			slots(station.Snapshot{Slot: "1", State: station.Empty}, station.Snapshot{Slot: "2", State: station.Running, Step: "inject"}),
			slots(
				station.Snapshot{Slot: "1", State: station.WaitScan, Scan: "label"},
				station.Snapshot{Slot: "2", State: station.Pass, Serial: "A2", Result: "sealed", Good: 1, Takt: 1500 * time.Millisecond}),
			slots(
				station.Snapshot{Slot: "1", State: station.Fail, Serial: "A1", Error: "inject: no answer", Remedy: "check the cable", Bad: 1},
				station.Snapshot{Slot: "2", State: station.Empty, Good: 1}),
			stopping(),
		}
		if err := v.Watch(t.Context(), &source); err != nil {
			t.Fatal(err)
		}
		v.Note("a note")
		fmt.Fprintf(v, "a log line\nand half")
		fmt.Fprintf(v, " of one\n")
		const want = `devices come
slot 1 waits for a scan: label
slot 2 PASS A2 sealed in 1.5 s
slot 1 FAIL A1 inject: no answer (check the cable)
a note
a log line
and half of one
`
		if got := out.String(); got != want {
			t.Errorf("view wrote\n%s\nwant\n%s", got, want)
		}
	})
}

var escapes = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]|\r")

// screen is what stands on a terminal after all of out was written to it, as far
// as a view needs one: it goes up, and clears lines.
func screen(out string) []string {
	var lines []string
	row := 0
	for len(out) > 0 {
		var up int
		if n, err := fmt.Sscanf(out, "\x1b[%dA", &up); n == 1 && err == nil {
			row -= up
			out = out[strings.IndexByte(out, 'A')+1:]
			continue
		}
		if rest, ok := strings.CutPrefix(out, "\x1b[J"); ok {
			lines, out = lines[:row], rest
			continue
		}
		line, rest, _ := strings.Cut(out, "\n")
		out = rest
		if row == len(lines) {
			lines = append(lines, "")
		}
		lines[row] = strings.TrimRight(escapes.ReplaceAllString(line, ""), " ")
		row++
	}
	return lines
}

func TestOnATerminalThePictureIsRepaintedInPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		v := view.New(view.Config{Out: &out, Size: func() (int, int) { return 60, 12 }})
		source := script{
			slots(station.Snapshot{Slot: "1", State: station.Running, Step: "inject", StepIndex: 5, StepTotal: 11, Serial: "A1"}),
			slots(station.Snapshot{Slot: "1", State: station.Fail, Error: "prove: device \x1b[31mlies", Remedy: "set it aside", StepIndex: 7, StepTotal: 11, Serial: "A1", Bad: 1}),
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := v.Watch(ctx, &source); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			v.Note("note %d", i)
		}
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		v.Note("after the end")
		want := []string{
			"line-1   good 0   bad 1   2 devices/min   DEVELOPMENT autho…",
			"   1  FAIL      ████████······ A1             set it aside:…",
			"slot 1 FAIL A1 prove: device  [31mlies (set it aside)",
			"note 0", "note 1", "note 2", "note 3", "note 4",
			"after the end",
		}
		if got := screen(out.String()); strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("screen is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

func TestTheRateIsThatOfTheLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		v := view.New(view.Config{Out: &out, Size: func() (int, int) { return 100, 20 }})
		var source script
		for n := range 1800 { // three minutes at ten a second, one device each second
			source = append(source, slots(station.Snapshot{Slot: "1", Good: n / 10}))
		}
		source = append(source, slots(station.Snapshot{Slot: "1", Good: 3})) // the daemon was restarted
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		source = append(source, stopping())
		if err := v.Watch(ctx, &source); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out.String(), " 60 devices/min") || strings.Contains(out.String(), " 70 devices/min") {
			t.Error("one device a second is not 60 devices/min")
		}
	})
}

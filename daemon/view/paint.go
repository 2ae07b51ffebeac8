package view

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"mintmark/station"
)

// Colours of states; an operator reads them from two metres away.
const (
	plain  = "\x1b[0m"
	bold   = "\x1b[1m"
	good   = "\x1b[30;42m"
	bad    = "\x1b[97;41m"
	asks   = "\x1b[30;43m"
	busy   = "\x1b[36m"
	silent = "\x1b[2m"
)

func colour(s station.State) string {
	switch s {
	case station.Pass:
		return good
	case station.Fail, station.Stopped:
		return bad
	case station.WaitScan:
		return asks
	case station.Empty:
		return silent
	}
	return busy
}

// paint puts the picture over the last one. What doesn't fit is left out: a
// terminal that scrolls can't be repainted in place.
func (v *View) paint() {
	if v.cfg.Size == nil || v.closed {
		return
	}
	columns, rows := v.cfg.Size()
	lines := v.lines(columns)
	if len(lines) > rows-1 {
		lines = lines[:max(rows-1, 1)]
	}
	var b strings.Builder
	if v.painted > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", v.painted)
	}
	for _, l := range lines {
		b.WriteString("\r\x1b[2K" + l + "\n")
	}
	if v.painted > len(lines) {
		b.WriteString("\x1b[J")
	}
	v.painted = len(lines)
	fmt.Fprint(v.cfg.Out, b.String())
}

func (v *View) lines(columns int) []string {
	var lines []string
	add := func(colour, text string) { lines = append(lines, colour+clip(text, columns)+plain) }
	if v.title != "" {
		add(bold, v.title)
	}
	nGood, nBad := 0, 0
	for _, s := range v.status.Slots {
		nGood, nBad = nGood+s.Good, nBad+s.Bad
	}
	add(bold, fmt.Sprintf("%s   good %d   bad %d   %.0f devices/min%s", v.status.Station, nGood, nBad,
		v.rate.perMinute(time.Now()), development(v.status.Development)))
	for _, s := range v.status.Slots {
		lines = append(lines, slotLine(s, columns))
	}
	for _, n := range v.notes {
		add(silent, n)
	}
	return lines
}

func development(yes bool) string {
	if yes {
		return "   DEVELOPMENT authority"
	}
	return ""
}

// slotLine is a slot in one line: name, state in its colour, bar, serial, text.
func slotLine(s station.Snapshot, columns int) string {
	name := fmt.Sprintf("%4.4s ", s.Slot)
	state := fmt.Sprintf(" %-9s", s.State)
	text := fmt.Sprintf(" %s %-14.14s %s", bar(s), s.Serial, what(s))
	room := columns - utf8.RuneCountInString(name+state)
	return name + colour(s.State) + state + plain + clip(text, room)
}

const barWidth = 14

func bar(s station.Snapshot) string {
	full := 0
	if s.StepTotal > 0 {
		full = min(barWidth*s.StepIndex/s.StepTotal, barWidth)
	}
	return strings.Repeat("█", full) + strings.Repeat("·", barWidth-full)
}

// what says what the slot does, or what became of its device.
func what(s station.Snapshot) string {
	switch {
	case s.Error != "" && s.Remedy != "":
		return s.Remedy + ": " + s.Error
	case s.Error != "":
		return s.Error
	case s.State == station.WaitScan:
		return "scan the " + s.Scan
	case s.State == station.Pass:
		return s.Result
	}
	return s.Step
}

// clip makes text one line of at most n characters.
func clip(text string, n int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) {
			return ' '
		}
		return r
	}, text)
	if n < 1 {
		return ""
	}
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

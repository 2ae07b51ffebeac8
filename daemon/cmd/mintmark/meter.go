package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// A meter shows how far something is: a bar where a person watches, a line at
// every tenth where a program does.
type meter struct {
	out  io.Writer
	live bool   // repaint in place
	what string // "import"

	shown   int    // tenths already said
	phase   string // what is done when all is counted
	done    bool   // only then it is full
	painted time.Time
}

func newMeter(out *os.File, what string) *meter {
	return &meter{out: out, live: terminal(out), what: what}
}

// tell shows what the daemon tells, as an [api.Progress].
func (m *meter) tell(done, total int64, phase string) {
	if phase == "" {
		m.show(done, total)
		return
	}
	m.phase = " " + phase
	if m.live {
		m.painted = time.Time{}
		m.bar(1)
	} else {
		fmt.Fprintf(m.out, "mintmark: %s:%s\n", m.what, m.phase)
	}
}

const barWidth = 30

// show takes what is done of how much; a total of 0 is not known.
func (m *meter) show(done, total int64) {
	if total <= 0 {
		m.count(done)
		return
	}
	done = min(done, total)
	if m.live {
		m.bar(float64(done) / float64(total))
		return
	}
	tenths := int(10 * done / total)
	if !m.done {
		tenths = min(tenths, 9)
	}
	if tenths > m.shown {
		m.shown = tenths
		fmt.Fprintf(m.out, "mintmark: %s %d %%\n", m.what, 10*tenths)
	}
}

// count shows how much is done of nobody knows how much.
func (m *meter) count(done int64) {
	if m.live && m.due() {
		fmt.Fprintf(m.out, "\r\x1b[Kmintmark: %s %d", m.what, done)
	}
}

func (m *meter) bar(share float64) {
	if !m.due() {
		return
	}
	if !m.done {
		share = min(share, 0.99)
	}
	full := int(share * barWidth)
	fmt.Fprintf(m.out, "\r\x1b[Kmintmark: %s [%s%s] %3.0f %%%s", m.what,
		strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*share, m.phase)
}

func (m *meter) due() bool {
	now := time.Now()
	if now.Sub(m.painted) < 100*time.Millisecond {
		return false
	}
	m.painted = now
	return true
}

// end finishes the line, and says that all is done if it is.
func (m *meter) end(err error) {
	switch {
	case err == nil:
		m.painted, m.phase, m.done = time.Time{}, "", true
		m.show(1, 1)
		if m.live {
			fmt.Fprintln(m.out)
		}
	case m.live && !m.painted.IsZero():
		fmt.Fprint(m.out, "\r\x1b[K")
	}
}

package label_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/fixtures/printer"
	"mintmark/hsm/secret"
	"mintmark/station/label"
)

func start(t *testing.T, o printer.Options) (*printer.Printer, *label.Printer) {
	t.Helper()
	p, err := printer.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p, label.NewPrinter(p.Addr())
}

func one(t *testing.T) *secret.Value {
	v := secret.From([]byte("^XA^CI28^FH_^FDhello^FS^XZ"))
	t.Cleanup(v.Close)
	return v
}

func TestPrintIsAnsweredWhenThePaperIsOut(t *testing.T) {
	paper, p := start(t, printer.Options{Takes: 120 * time.Millisecond})
	if err := p.Ready(t.Context()); err != nil {
		t.Fatalf("Ready = %v", err)
	}
	if err := p.Print(t.Context(), one(t)); err != nil {
		t.Fatalf("Print = %v", err)
	}
	if n := paper.Count(); n != 1 {
		t.Errorf("when Print returned %d labels were out, want 1", n)
	}
}

func TestPrinterTroubleIsNamedWithARemedy(t *testing.T) {
	for _, tt := range []struct {
		fault        printer.Fault
		text, remedy string
	}{
		{printer.PaperOut, "printer has no labels", "load labels"},
		{printer.RibbonOut, "printer has no ribbon", "load a ribbon"},
		{printer.Paused, "printer is paused", "press PAUSE"},
		{printer.HeadOpen, "printer's head is open", "close the print head"},
		{printer.Hangs, "printer doesn't answer", "check the printer's power"},
		{printer.Drops, "printer doesn't answer", "check the printer's power"},
	} {
		t.Run(string(tt.fault)+"/before", func(t *testing.T) {
			paper, p := start(t, printer.Options{})
			paper.Break(tt.fault)
			wantTrouble(t, p.Ready(deadline(t)), tt.text, tt.remedy)
		})
		t.Run(string(tt.fault)+"/while printing", func(t *testing.T) {
			paper, p := start(t, printer.Options{Faults: map[int]printer.Fault{1: tt.fault}})
			if err := p.Ready(t.Context()); err != nil {
				t.Fatalf("Ready = %v", err)
			}
			wantTrouble(t, p.Print(deadline(t), one(t)), tt.text, tt.remedy)
			if n := paper.Count(); n != 0 {
				t.Errorf("%d labels came out, want none", n)
			}
		})
	}
}

// deadline is short, because a printer that hangs is waited for.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func wantTrouble(t *testing.T, err error, text, remedy string) {
	t.Helper()
	var trouble *label.Trouble
	if !errors.As(err, &trouble) || !strings.Contains(err.Error(), text) || !strings.Contains(trouble.Remedy, remedy) {
		t.Errorf("got %v with remedy %+v, want %q with remedy %q", err, trouble, text, remedy)
	}
}

func TestAPrinterThatIsAwayIsTrouble(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	wantTrouble(t, label.NewPrinter(l.Addr().String()).Ready(t.Context()), "reach printer", "power and network")
}

func TestSlotsShareAPrinter(t *testing.T) {
	paper, p := start(t, printer.Options{})
	var wg sync.WaitGroup
	for range 8 {
		v := one(t)
		wg.Go(func() {
			if err := p.Print(t.Context(), v); err != nil {
				t.Errorf("Print = %v", err)
			}
		})
	}
	wg.Wait()
	if n := paper.Count(); n != 8 {
		t.Errorf("%d labels came out, want 8", n)
	}
}

func TestWaitingForAPrinterEndsWithTheDeadline(t *testing.T) {
	paper, p := start(t, printer.Options{})
	paper.Break(printer.Hangs)
	var wg sync.WaitGroup
	wg.Go(func() { p.Ready(deadline(t)) })
	wg.Go(func() { p.Ready(deadline(t)) })
	wg.Wait() // the test's own deadline says whether it does
}

// TestAnyAnswerButStatusIsTrouble plays printers that talk nonsense.
func TestAnyAnswerButStatusIsTrouble(t *testing.T) {
	const good = "\x02030,0,0,1245,000,0,0,0,000,0,0,0\x03\r\n\x02001,0,0,0,1,2,6,0,00000000,1,000\x03\r\n\x021234,0\x03\r\n"
	for name, tt := range map[string]struct {
		answer string
		want   string // empty: no error
	}{
		"as in the manual":     {good, ""},
		"half a label left":    {strings.Replace(good, "000,0,0,0,000", "000,0,0,1,000", 1), "a part of a label"},
		"too hot":              {strings.Replace(good, "0,0,0\x03", "0,0,1\x03", 1), "too hot"},
		"too cold":             {strings.Replace(good, "0,0,0\x03", "0,1,0\x03", 1), "too cold"},
		"memory lost":          {strings.Replace(good, "0,0,0\x03", "1,0,0\x03", 1), "lost its memory"},
		"buffer full":          {strings.Replace(good, "000,0,0,0,000", "000,1,0,0,000", 1), "buffer is full"},
		"a line too short":     {strings.Replace(good, "030,", "", 1), "garbled"},
		"letters for numbers":  {strings.Replace(good, ",0,0,1245", ",x,0,1245", 1), "garbled"},
		"a negative number":    {strings.Replace(good, "1245,000", "1245,-1", 1), "garbled"},
		"no start of text":     {strings.ReplaceAll(good, "\x02", ""), "garbled"},
		"endless":              {strings.Repeat("x", 100_000), "doesn't answer"},
		"closed in the middle": {good[:20], "doesn't answer"},
	} {
		t.Run(name, func(t *testing.T) {
			err := label.NewPrinter(answering(t, tt.answer)).Ready(deadline(t))
			if (err == nil) != (tt.want == "") || (err != nil && !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Ready = %v, want %q", err, tt.want)
			}
		})
	}
}

// answering is a printer that answers each ~HS so and then hangs up.
func answering(t *testing.T, answer string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		bufio.NewReader(c).ReadString('S')
		c.Write([]byte(answer))
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String()
}

package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestMeterWritesALineAtEveryTenth(t *testing.T) {
	var out bytes.Buffer
	m := &meter{out: &out, what: "import"}
	for done := range int64(1001) {
		m.show(done, 1000)
	}
	if strings.Contains(out.String(), "100 %") {
		t.Error("all is said to be done before the answer")
	}
	m.end(nil)
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(got) != 10 || got[0] != "mintmark: import 10 %" || got[9] != "mintmark: import 100 %" {
		t.Errorf("meter wrote\n%s\nwant ten lines", out.String())
	}
}

func TestMeterNeverSaysThatAFailureIsDone(t *testing.T) {
	var out bytes.Buffer
	m := &meter{out: &out, what: "import"}
	m.show(999, 1000)
	m.end(errors.New("refused"))
	if strings.Contains(out.String(), "100 %") {
		t.Errorf("meter wrote %q", out.String())
	}
}

func TestMeterRepaintsItsBarInPlace(t *testing.T) {
	var out bytes.Buffer
	m := &meter{out: &out, live: true, what: "verify"}
	m.show(50, 100)
	m.end(nil)
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "\r\x1b[Kmintmark: verify [###############...............]  50 %") {
		t.Errorf("meter wrote %q", got)
	}
}

func TestMeterIsFullOnlyWhenAllIsDone(t *testing.T) {
	var out bytes.Buffer
	m := &meter{out: &out, live: true, what: "import"}
	m.tell(1000, 1000, "")
	m.tell(0, 0, "writing")
	m.painted = time.Time{}
	m.tell(1000, 1000, "") // told late
	const nearly = "mintmark: import [#############################.]  99 %"
	want := strings.Join([]string{"", nearly, nearly + " writing", nearly + " writing"}, "\r\x1b[K")
	if out.String() != want {
		t.Errorf("meter wrote %q, want %q", out.String(), want)
	}
	m.end(nil)
	if got := out.String(); !strings.HasSuffix(got, "\r\x1b[Kmintmark: import [##############################] 100 %\n") {
		t.Errorf("meter ends with %q, want a full bar", got)
	}
}

func TestMeterSaysThePhaseToAProgram(t *testing.T) {
	var out bytes.Buffer
	m := &meter{out: &out, what: "import"}
	m.tell(1000, 1000, "")
	m.tell(0, 0, "writing")
	m.end(nil)
	if want := "mintmark: import 90 %\nmintmark: import: writing\nmintmark: import 100 %\n"; out.String() != want {
		t.Errorf("meter wrote %q, want %q", out.String(), want)
	}
}

package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestMeterWritesALineAtEveryTenth(t *testing.T) {
	var out bytes.Buffer
	m := &meter{out: &out, what: "import", most: 9}
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
	m := &meter{out: &out, what: "import", most: 9}
	m.show(999, 1000)
	m.end(errors.New("refused"))
	if strings.Contains(out.String(), "100 %") {
		t.Errorf("meter wrote %q", out.String())
	}
}

func TestMeterRepaintsItsBarInPlace(t *testing.T) {
	var out bytes.Buffer
	m := &meter{out: &out, live: true, what: "verify", most: 9}
	m.show(50, 100)
	m.end(nil)
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "\r\x1b[Kmintmark: verify [###############...............]  50 %") {
		t.Errorf("meter wrote %q", got)
	}
}

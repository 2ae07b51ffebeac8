package main

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mintmark/records"
)

func TestABatchSaysWhatWasProbedAndWhatATrialLeavesOut(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    records.Batch
		line string // "" and word: there is no such line
		word string
	}{
		{"probed", records.Batch{Seals: 40, Probed: 2}, "probed  2 of 40 seals", "probed"},
		{"one seal", records.Batch{Seals: 1}, "probed  0 of 1 seal", "probed"},
		{"nothing sealed", records.Batch{}, "", "probed"},
		{"a trial", records.Batch{Trial: true}, "trial  yes: not labelled, not locked, all burned", "trial"},
		{"no trial", records.Batch{}, "", "trial"},
	} {
		out, err := os.Create(t.TempDir() + "/out")
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join((&app{out: out}).showBatch(tt.b), out.Close()); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		shown, err := os.ReadFile(out.Name())
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for line := range strings.Lines(string(shown)) {
			if name, text, _ := strings.Cut(strings.TrimSpace(line), "  "); name == tt.word {
				got = name + "  " + strings.TrimSpace(text)
			}
		}
		if got != tt.line {
			t.Errorf("%s: batch show says %q, want %q", tt.name, got, tt.line)
		}
	}
}

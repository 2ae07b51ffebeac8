package main

import (
	"testing"

	"mintmark/records"
)

// TestLabelsAreNamedWhereThereMayBeSeveral is a relabelling that was cut off.
func TestLabelsAreNamedWhereThereMayBeSeveral(t *testing.T) {
	d := records.Device{Attempts: []records.Attempt{{Number: 1, Mark: records.Locking, Outcome: records.Sealed, Label: "1"}}}
	if got := labelsOf(d); got != "" {
		t.Errorf("of one label: %q, want nothing", got)
	}
	d.Rework = &records.Rework{Kind: records.Relabel, Mark: records.Labelling, Label: "2", Attempt: 1}
	if got, want := labelsOf(d), "1, 2 may exist, one is the device's"; got != want {
		t.Errorf("after the cut: %q, want %q", got, want)
	}
}

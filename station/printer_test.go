package station_test

import (
	"slices"
	"strings"
	"testing"

	"mintmark/fixtures/printer"
	"mintmark/records"
	"mintmark/station"
	"mintmark/station/label"
)

// TestALabelComesOutOfThePrinter goes over TCP, so it takes real time.
func TestALabelComesOutOfThePrinter(t *testing.T) {
	paper, err := printer.Start(t.Context(), printer.Options{Faults: map[int]printer.Fault{2: printer.PaperOut}})
	if err != nil {
		t.Fatal(err)
	}
	defer paper.Close()
	r := newRig(t)
	defer r.close()
	r.printer = label.NewPrinter(paper.Addr())
	r.batch("B1", 10)
	r.timeouts.Vanish, r.timeouts.Linger = 1, 1 // the port stays, nobody reads
	r.start()

	d := r.sealed("SN1")
	a := d.saved["admin"]
	want := []string{"SN1 1", "QA," + a[:5] + "-" + a[5:10] + "-" + a[10:] + ";" + d.saved["wifi"]}
	if got := paper.Labels(); len(got) != 1 || !slices.Equal(got[0].Fields, want) {
		t.Errorf("labels are %+v, want one of %q", got, want)
	}

	got := r.put(newDevice("SN2"))
	r.want(got, station.Fail, "label: printer has no labels", "SN2", records.Burned)
	if want := "destroy label 2; load labels, then put the device in again"; got.Remedy != want {
		t.Errorf("remedy is %q, want %q", got.Remedy, want)
	}
	got = r.put(newDevice("SN3"))
	r.want(got, station.Fail, "label: printer has no labels", "SN3", records.Burned)
	if strings.Contains(got.Remedy, "destroy") || r.record("SN3").Attempts[0].Mark != records.Injecting {
		t.Errorf("remedy is %q at mark %q, want no label named and no mark, because none can exist", got.Remedy, r.record("SN3").Attempts[0].Mark)
	}
}

package crash_test

import (
	"errors"
	"path/filepath"
	"slices"

	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
	"mintmark/hsm/soft"
	"mintmark/records"
)

// A tally is what one look into the ledger counted.
type tally struct {
	claims          int64
	batches, sealed int
	lost            int // attempts that didn't end with a seal
}

// check opens the ledger as a restart does and holds it to what was answered
// before the kill. No daemon runs meanwhile.
func (w *world) check(answered answers) tally {
	w.t.Helper()
	a, err := soft.Open(filepath.Join(w.f.Dir, "authority"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Close()
	l, err := records.Open(w.t.Context(), filepath.Join(w.f.Dir, "ledger"), a, a, records.Options{Ballast: 8 << 20})
	if err != nil {
		w.t.Fatalf("open the ledger after a kill: %v", err)
	}
	got, err := l.Verify(w.t.Context(), nil)
	if err != nil || len(got.Problems) > 0 {
		w.t.Errorf("verify after a kill: %v, problems %q", err, got.Problems)
	}
	now, rows := w.checkDevices(l, answered)
	w.checkBatches(l, answered, rows)
	if err := l.Close(); err != nil {
		w.t.Error(err)
	}
	now.claims, now.batches = got.Claims, got.Batches
	return now
}

// checkBatches looks for half batches, and for answers that were forgotten.
func (w *world) checkBatches(l *records.Ledger, answered answers, rows map[string]int) {
	w.t.Helper()
	for name, size := range answered.asked {
		b, err := l.Batch(w.t.Context(), name)
		known := err == nil && b.State != records.Rejected
		switch {
		case err != nil && !errors.Is(err, records.ErrNotFound):
			w.t.Errorf("batch %s: %v", name, err)
		case known && size == 0:
			w.t.Errorf("batch %s reuses a credential and is %s", name, b.State)
		case known && (b.State != records.Admitted && b.State != records.Opened || b.Devices != size || rows[name] != size):
			w.t.Errorf("batch %s is %s with %d devices, %d rows, want %d admitted", name, b.State, b.Devices, rows[name], size)
		case !known && answered.admitted[name] > 0:
			w.t.Errorf("batch %s was answered as admitted and is gone: %v", name, err)
		case err != nil && answered.rejected[name]:
			w.t.Errorf("batch %s was answered as rejected and is gone: %v", name, err)
		}
	}
}

// checkDevices compares every device's record with the device itself, and counts
// the devices of each batch.
func (w *world) checkDevices(l *records.Ledger, answered answers) (now tally, rows map[string]int) {
	w.t.Helper()
	rows = map[string]int{}
	var sealed []string
	err := l.Devices(w.t.Context(), "", func(d records.Device) bool {
		if d.State == records.Sealed {
			sealed = append(sealed, d.Serial)
		}
		rows[d.Batch]++
		for _, a := range d.Attempts {
			if a.Outcome != records.Sealed {
				now.lost++
			}
		}
		real := answered.devices[d.Serial]
		if d.HardwareID != "" && (real == nil || real.HardwareID != d.HardwareID) {
			w.t.Errorf("record of %s is bound to %s", d.Serial, d.HardwareID)
		}
		return true
	})
	if err != nil {
		w.t.Error(err)
	}
	for serial := range answered.passed {
		if !slices.Contains(sealed, serial) {
			w.t.Errorf("%s passed before the kill and is not sealed after it", serial)
		}
	}
	all := make([]*line.Device, 0, len(answered.devices))
	for _, d := range answered.devices {
		all = append(all, d)
	}
	for _, p := range factory.Judge(all, w.f.Printer.Labels(), sealed) {
		w.t.Error(p)
	}
	now.sealed = len(sealed)
	return now, rows
}

package crash_test

import (
	"bytes"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

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
	segments        int // the highest number of a segment's file
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
	l, err := records.Open(w.t.Context(), filepath.Join(w.f.Dir, "ledger"), a, a, records.Options{Ballast: 8 << 20, FoldClaims: foldClaims})
	if err != nil {
		w.t.Fatalf("open the ledger after a kill: %v", err)
	}
	got, err := l.Verify(w.t.Context(), nil)
	if err != nil || len(got.Problems) > 0 {
		w.t.Errorf("verify after a kill: %v, problems %q", err, got.Problems)
	}
	now, rows := w.checkDevices(l, answered)
	w.checkBatches(l, answered, rows)
	now.segments = w.checkSegments(l)
	if err := l.Close(); err != nil {
		w.t.Error(err)
	}
	now.claims, now.batches = got.Claims, got.Batches
	return now
}

// checkSegments looks for claims that are there twice and for files that don't
// count, once what was due is merged. It returns the highest number of a file.
func (w *world) checkSegments(l *records.Ledger) (highest int) {
	w.t.Helper()
	for try := 0; ; try++ {
		a, err := l.Audit(w.t.Context())
		if err != nil || a.Twice != 0 {
			w.t.Errorf("audit after a kill: %+v, %v", a, err)
			return 0
		}
		files, err := filepath.Glob(filepath.Join(w.f.Dir, "ledger", "segments", "*"))
		if err != nil {
			w.t.Error(err)
		}
		if len(files) == a.Segments {
			return highestOf(files)
		}
		if try == 100 {
			w.t.Errorf("%d files for %d segments: %v", len(files), a.Segments, files)
			return 0
		}
		pause(w.t.Context(), 20*time.Millisecond)
	}
}

func highestOf(files []string) (highest int) {
	for _, f := range files {
		if n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(f), ".seg")); err == nil {
			highest = max(highest, n)
		}
	}
	return highest
}

// restores makes a ledger of the last backup and looks whether it is whole.
func (w *world) restores() {
	w.t.Helper()
	ctx, dir := w.t.Context(), w.t.TempDir()
	a, err := soft.Open(filepath.Join(w.f.Dir, "authority"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer a.Close()
	o := records.Options{Ballast: 8 << 20}
	if err := records.Restore(ctx, dir, bytes.NewReader(w.answers().backup), a, o, nil); err != nil {
		w.t.Fatal(err)
	}
	l, err := records.Open(ctx, dir, a, a, o)
	if err != nil {
		w.t.Fatal(err)
	}
	got, err := l.Verify(ctx, nil)
	if err != nil || len(got.Problems) > 0 || got.Claims == 0 {
		w.t.Errorf("the last backup has %d claims, %v, problems %q", got.Claims, err, got.Problems)
	}
	if err := l.Close(); err != nil {
		w.t.Error(err)
	}
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
		case answered.closed[name] && b.State != records.Closed:
			w.t.Errorf("batch %s was answered as closed and is %s", name, b.State)
		case known && (!answered.closing[name] && b.State != records.Admitted && b.State != records.Opened || b.Devices != size || rows[name] != size):
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

package station_test

import (
	"slices"
	"strings"
	"testing"

	"mintmark/hsm/secret"
	"mintmark/records"
	"mintmark/station"
	"mintmark/station/label"
)

// relabel orders a sealed device to be relabelled.
func (r *rig) relabel(serial string) {
	r.t.Helper()
	if _, err := r.ledger.OrderRework(r.t.Context(), "camera", serial,
		records.Rework{Kind: records.Relabel, Reason: "label torn"}, supervisor); err != nil {
		r.t.Fatal(err)
	}
}

// scanned puts a device in that is asked for its label, and scans code.
func (r *rig) scanned(d *device, code string) station.Snapshot {
	r.t.Helper()
	r.bay.plug(d)
	r.await(station.WaitScan)
	if err := r.slot.Scan(secret.From([]byte(code))); err != nil {
		r.t.Errorf("Scan = %v", err)
	}
	got := r.await(station.Pass, station.Fail, station.Stopped)
	r.bay.pull()
	r.await(station.Empty, station.Stopped)
	return got
}

// TestPowerCutsInRelabelling cuts the power around each durable fact of a
// relabelling: the rows of docs/architecture.md.
func TestPowerCutsInRelabelling(t *testing.T) {
	for _, tt := range []struct {
		name    string
		at      string
		kept    bool
		exist   []string // labels that may exist, on restart
		printed int
		again   string // what the same device is told then
	}{
		{"before the mark", "mark labelling", false, []string{"1"}, 1, "label 2 printed; destroy the old label 1"},
		{"after the mark, not printed", "mark labelling", true, []string{"1", "2"}, 1, "label 3 printed; destroy the old labels 1, 2"},
		{"after the mark, printed", "seen", false, []string{"1", "2"}, 2, "label 3 printed; destroy the old labels 1, 2"},
		{"done", "seen", true, []string{"2"}, 2, "already done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				r.start()
				d := r.sealed("SN1")
				r.relabel("SN1")
				cut(r.slot, tt.at, tt.kept)
				if got := r.scanned(d, labelCode(d)); got.State != station.Stopped {
					t.Errorf("slot shows %+v, want it stopped", got)
				}
				r.end()
				r.reopen()
				now := r.record("SN1")
				if got := now.Labels(); !slices.Equal(got, tt.exist) || len(r.paper.labels()) != tt.printed {
					t.Errorf("labels %v may exist and %d were printed, want %v and %d", got, len(r.paper.labels()), tt.exist, tt.printed)
				}
				if marked := now.Rework != nil && now.Rework.Mark == records.Labelling; marked != (len(tt.exist) > 1) {
					t.Errorf("order is %+v, want it marked: %v", now.Rework, len(tt.exist) > 1)
				}
				got := r.scanned(d, labelCode(d))
				r.want(got, station.Pass, "", "SN1", records.Sealed)
				if got.Result != tt.again {
					t.Errorf("result is %q, want %q", got.Result, tt.again)
				}
				if now := r.record("SN1"); now.Rework != nil || len(now.Labels()) != 1 {
					t.Errorf("record is %+v, want the order done and one label", now)
				}
			})
		})
	}
}

// TestPrinterFaultsInRelabelling tells trouble before the mark, when no new label
// can exist, from trouble after it. The old one is never named before there is a new.
func TestPrinterFaultsInRelabelling(t *testing.T) {
	for _, tt := range []struct {
		name         string
		ready, print error
		remedy       string
		exist        []string
	}{
		{"before", &troubleError{}, nil, "put the device in again", []string{"1"}},
		{"while printing", nil, &troubleError{}, "destroy label 2; put the device in again", []string{"1", "2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				r.start()
				d := r.sealed("SN1")
				r.relabel("SN1")
				r.paper.ready, r.paper.print = tt.ready, tt.print
				got := r.scanned(d, labelCode(d))
				r.want(got, station.Fail, "label: out of paper", "SN1", records.Sealed)
				if !strings.HasPrefix(got.Remedy, tt.remedy) {
					t.Errorf("remedy is %q, want %q", got.Remedy, tt.remedy)
				}
				now := r.record("SN1")
				if exist := now.Labels(); !slices.Equal(exist, tt.exist) || now.Rework == nil {
					t.Errorf("labels %v may exist, order %+v, want %v and the order standing", exist, now.Rework, tt.exist)
				}
			})
		})
	}
}

// TestADeviceSwappedWhileItsNewLabelPrintsFails asks once more after the label.
func TestADeviceSwappedWhileItsNewLabelPrintsFails(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.start()
		d := r.sealed("SN1")
		r.relabel("SN1")
		code := labelCode(d)
		r.paper.during = func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.hardware = "HW-OTHER"
		}
		got := r.scanned(d, code)
		r.want(got, station.Fail, "label: another device", "SN1", records.Sealed)
		if want := "destroy label 2; "; !strings.HasPrefix(got.Remedy, want) {
			t.Errorf("remedy is %q, want %q", got.Remedy, want)
		}
	})
}

// TestEitherLabelIsReadAfterACutRelabelling has the number in the code: nobody
// knows which of the two labels the device carries.
func TestEitherLabelIsReadAfterACutRelabelling(t *testing.T) {
	for _, number := range []string{"1", "2"} {
		t.Run("label "+number, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				l, err := label.Parse("^XA^BQN,2,4^FDQA,{label};{admin:5-5-5};{wifi}^FS^XZ", []string{"admin", "wifi"})
				if err != nil {
					t.Fatal(err)
				}
				r.product.Label = l
				r.batch("B1", 10)
				r.start()
				d := r.sealed("SN1")
				r.relabel("SN1")
				cut(r.slot, "seen", false)
				r.scanned(d, "1;"+labelCode(d))
				r.end()
				r.reopen()
				if got := r.scanned(d, number+";"+labelCode(d)); got.Result != "label 3 printed; destroy the old labels 1, 2" {
					t.Errorf("slot shows %+v, want the device relabelled", got)
				}
				if got := r.scanned(d, "3;"+labelCode(d)); got.Result != "already done" {
					t.Errorf("slot shows %+v, want its new label read", got)
				}
			})
		})
	}
}

// TestALabelOfAnEarlierAttemptIsNamedWhenADoubtfulDeviceIsProved had its first
// attempt cut off behind the label, the second behind the lock.
func TestALabelOfAnEarlierAttemptIsNamedWhenADoubtfulDeviceIsProved(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		d := newDevice("SN1")
		for _, at := range []string{"mark locking", "settle"} {
			cut(r.start(), at, false)
			r.put(d)
			r.end()
			r.ledger.Close() // whatever it says: the power was cut
			r.open()
		}
		r.start()
		if got := r.scanned(d, labelCode(d)); got.Result != "already done; destroy the old label 1" {
			t.Errorf("slot shows %+v, want the first label named", got)
		}
	})
}

// TestASecondLabelCostsNoMoreQuestions scans a wrong label, before and after there
// may be two labels with the same credentials: the ledger limits such questions.
func TestASecondLabelCostsNoMoreQuestions(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.start()
		d := r.sealed("SN1")
		var asked []int
		for range 2 {
			n := 0
			station.Around(r.slot, func(call string, do func() error) func() error {
				if call == "recognise" {
					n++
				}
				return do
			})
			r.bay.plug(d)
			r.await(station.WaitScan)
			scan(t, r.slot, "ABCDE-FGHIJ-KLMNO;something")
			r.await(station.Fail)
			r.bay.pull()
			r.await(station.Empty)
			asked = append(asked, n)
			r.relabel("SN1")
			if _, err := r.ledger.SetRelabelMark(t.Context(), r.product.Product, "SN1"); err != nil {
				t.Fatal(err)
			}
		}
		if asked[0] == 0 || asked[0] != asked[1] {
			t.Errorf("a scan costs %v questions, want as many with two labels as with one", asked)
		}
	})
}

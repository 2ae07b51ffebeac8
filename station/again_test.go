package station_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mintmark/hsm/secret"
	"mintmark/records"
	"mintmark/station"
	"mintmark/station/label"
)

// labelCode is the code on the device's label, as zpl lays it out.
func labelCode(d *device) string {
	a := d.saved["admin"]
	return a[:5] + "-" + a[5:10] + "-" + a[10:] + ";" + d.saved["wifi"]
}

func scan(t *testing.T, s *station.Slot, text string) {
	t.Helper()
	if err := s.Scan(secret.From([]byte(text))); err != nil {
		t.Errorf("Scan = %v", err)
	}
}

// sealed makes a device that was sealed before.
func (r *rig) sealed(serial string) *device {
	r.t.Helper()
	d := newDevice(serial)
	r.want(r.put(d), station.Pass, "", serial, records.Sealed)
	return d
}

func TestADeviceSeenAgainProvesWhatItHolds(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.start()
		d := r.sealed("SN1")
		r.bay.plug(d)
		if got := r.await(station.WaitScan); got.Scan != "label" || got.Step != "recognise" {
			t.Errorf("slot shows %+v, want it to ask for the label", got)
		}
		scan(t, r.slot, "someone else's;label")
		if got := r.await(station.WaitScan); got.Error != "scan: this is not the label of this device" {
			t.Errorf("after a wrong label the slot shows %q", got.Error)
		}
		code := secret.From([]byte(labelCode(d)))
		d.locked = false // so that a second lock would show
		if err := r.slot.Scan(code); err != nil {
			t.Errorf("Scan = %v", err)
		}
		got := r.await(station.Pass)
		if got.Result != "already done" || got.Serial != "SN1" || d.locked || !closed(code) {
			t.Errorf("slot shows %+v, locked %v, scan wiped %v; want it proved only", got, d.locked, closed(code))
		}
		if n := len(r.source.values); n != 2 {
			t.Errorf("%d values were drawn, want only the two of the first time", n)
		}
		if rec := r.record("SN1"); rec.Seen == nil || rec.Seen.Proof != "login" || len(rec.Attempts) != 1 {
			t.Errorf("record is %+v, want a sighting with proof and no new attempt", rec)
		}
		r.bay.pull()
		r.await(station.Empty)
	})
}

func TestADeviceSeenAgainNeverPassesUnproved(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(t *testing.T, r *rig, d *device)
		err  string
	}{
		{"no scan", func(_ *testing.T, r *rig, _ *device) {}, "recognise: sealed earlier, not re-proved: label was not scanned within 1m0s"},
		{"pulled", func(_ *testing.T, r *rig, _ *device) { r.bay.pull() }, "recognise: sealed earlier, not re-proved: device left the slot"},
		{"holds something else", func(t *testing.T, r *rig, d *device) {
			code := labelCode(d)
			d.mu.Lock()
			d.ram["admin"] = "hacked"
			d.mu.Unlock()
			scan(t, r.slot, code)
		}, "prove: sealed earlier, but it does not prove what it should hold"},
		{"others can log in", func(t *testing.T, r *rig, d *device) {
			d.mu.Lock()
			d.accepts = true
			d.mu.Unlock()
			scan(t, r.slot, labelCode(d))
		}, "prove: old credential 1 of 1: device accepts a credential that it must refuse"},
		{"swapped while waiting", func(t *testing.T, r *rig, d *device) {
			code := labelCode(d)
			d.mu.Lock()
			d.hardware = "HW-OTHER"
			d.mu.Unlock()
			scan(t, r.slot, code)
		}, "recognise: another device: it says hardware id HW-OTHER, want HW-SN1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.product.Old = []station.Candidate{{User: "root", Password: "root"}}
				r.batch("B1", 10)
				r.start()
				d := r.sealed("SN1")
				r.bay.plug(d)
				r.await(station.WaitScan)
				sent := len(d.received)
				tt.do(t, r, d)
				r.want(r.await(station.Fail), station.Fail, tt.err, "SN1", records.Sealed)
				if rec := r.record("SN1"); rec.Seen == nil || rec.Seen.Proof != "" {
					t.Errorf("record says %+v, want a sighting without proof", rec.Seen)
				}
				if strings.Contains(tt.name, "swapped") && len(d.received) > sent {
					t.Error("the other device was sent something")
				}
				r.bay.pull()
				r.await(station.Empty)
			})
		})
	}
}

func TestARowThatIsRecoverableNeedsNoScan(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product = imported(t)
		r.product.Credentials, r.product.Label = r.product.Credentials[:1], nil // nothing that only the label has
		r.driver.knows = []string{"admin"}
		r.rows("B1", "SN1")
		r.start()
		d := r.sealed("SN1")
		got := r.put(d)
		r.want(got, station.Pass, "", "SN1", records.Sealed)
		if got.Result != "already done" {
			t.Errorf("result is %q, want already done", got.Result)
		}
	})
}

// TestALabelMadeElsewhereIsScannedValueByValue is a product whose label and lock
// are not ours.
func TestALabelMadeElsewhereIsScannedValueByValue(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.Label, r.driver.lacks = nil, map[station.Phase]bool{station.Lock: true}
		r.batch("B1", 10)
		r.start()
		d := newDevice("SN1")
		if got := r.put(d); got.Result != "sealed" || got.StepTotal != 8 || d.locked {
			t.Errorf("slot shows %+v, locked %v, want it sealed without label and lock", got, d.locked)
		}
		r.bay.plug(d)
		for _, name := range []string{"wifi", "admin"} {
			r.await(station.WaitScan)
			scan(t, r.slot, d.saved[name])
		}
		if got := r.await(station.Pass, station.Fail); got.Result != "already done" {
			t.Errorf("slot shows %+v, want it proved", got)
		}
		r.bay.pull()
		r.await(station.Empty)
		if _, err := r.ledger.OrderRework(t.Context(), "camera", "SN1",
			records.Rework{Kind: records.Relabel, Reason: "torn"}, supervisor); err != nil {
			t.Fatal(err)
		}
		r.want(r.put(d), station.Fail, "interlock: relabel: the product has no label here", "SN1", records.Sealed)
	})
}

func TestACredentialThatIsNotOnTheLabelCannotBeScanned(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		l, err := label.Parse("^XA^FD{serial}^FS^XZ", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.product.Label = l
		r.batch("B1", 10)
		r.start()
		d := r.sealed("SN1")
		r.want(r.put(d), station.Fail, "recognise: sealed earlier, not re-proved: its label does not have admin", "SN1", records.Sealed)
	})
}

// TestAStoredVerifierIsAskedForAgain needs the same verifier of the same value.
func TestAStoredVerifierIsAskedForAgain(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.Proof, r.product.Old, r.driver.stores = "stored-verifier", nil, true
		r.batch("B1", 10)
		r.start()
		d := r.sealed("SN1")
		if d.has(r.source.values[0]) || !strings.HasPrefix(d.saved["admin.verifier"], "$6$") {
			t.Errorf("device was sent %q, want a verifier instead of the value", d.received)
		}
		d.saved["admin"] = r.source.values[0] // for the label's code
		r.bay.plug(d)
		r.await(station.WaitScan)
		scan(t, r.slot, labelCode(d))
		if got := r.await(station.Pass, station.Fail); got.Result != "already done" {
			t.Errorf("slot shows %+v, want the device proved", got)
		}
		r.bay.pull()
		r.await(station.Empty)
	})
}

func TestAScanThatNobodyWaitsForIsRefusedAndWiped(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.start()
		v := secret.From([]byte("CDFHJ"))
		if err := r.slot.Scan(v); err != station.ErrNotWaiting {
			t.Errorf("Scan = %v, want %v", err, station.ErrNotWaiting)
		}
		if !closed(v) {
			t.Error("the scan was not wiped")
		}
	})
}

func TestScannedSerials(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.SerialFrom = station.FromScan
		r.product.CheckSerial = func(s []byte) error {
			if !strings.HasPrefix(string(s), "SN") {
				return station.ErrAnother // whatever it says is not shown
			}
			return nil
		}
		r.batch("B1", 10)
		r.start()
		d := newDevice("whatever it says")
		d.hardware = "HW-1"
		r.bay.plug(d)
		if got := r.await(station.WaitScan); got.Scan != "serial" || got.Step != "scan" {
			t.Errorf("slot shows %+v, want it to ask for the serial", got)
		}
		secretCode := secret.From([]byte("CDFHJKMPQRTVWXY"))
		if err := r.slot.Scan(secretCode); err != nil {
			t.Errorf("Scan = %v", err)
		}
		got := r.await(station.WaitScan)
		if got.Error != "scan: this is no serial number of the product, want the one on the device" || !closed(secretCode) {
			t.Errorf("after a password was scanned the slot shows %q, wiped %v", got.Error, closed(secretCode))
		}
		scan(t, r.slot, "SN77")
		r.want(r.await(station.Pass), station.Pass, "", "SN77", records.Sealed)
		r.bay.pull()
		r.await(station.Empty)
		if strings.Contains(r.log.String(), "CDFHJ") {
			t.Error("the log has what was scanned")
		}
	})
}

func TestADeviceSwappedBeforeItsSerialIsScannedFails(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.SerialFrom = station.FromScan
		r.product.CheckSerial = func([]byte) error { return nil }
		r.batch("B1", 10)
		r.start()
		d := newDevice("SN1")
		r.bay.plug(d)
		r.await(station.WaitScan)
		d.mu.Lock()
		d.hardware = "HW-OTHER"
		d.mu.Unlock()
		scan(t, r.slot, "SN1")
		r.want(r.await(station.Fail), station.Fail, "scan: another device", "SN1", "")
		r.bay.pull()
		r.await(station.Empty)
	})
}

func TestAStopEndsTheWaitForAScan(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.SerialFrom = station.FromScan
		r.product.CheckSerial = func([]byte) error { return nil }
		r.batch("B1", 10)
		r.start()
		began := time.Now()
		r.bay.plug(newDevice("SN1"))
		r.await(station.WaitScan)
		if err := r.end(); err != nil {
			t.Errorf("Run = %v", err)
		}
		if waited := time.Since(began); waited > 10*time.Second {
			t.Errorf("the stop took %v", waited)
		}
		if now, _ := r.slot.Snapshot(); now.State != station.Stopped {
			t.Errorf("slot shows %s, want %s", now.State, station.Stopped)
		}
	})
}

func TestSerialsFromACounter(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.SerialFrom, r.product.Counter = station.FromCounter, "AC%06d"
		r.batch("B1", 10)
		r.start()
		first := newDevice("blank")
		r.want(r.put(first), station.Pass, "", "AC000001", records.Sealed)
		second := newDevice("blank")
		second.hardware = "HW-2"
		r.want(r.put(second), station.Pass, "", "AC000002", records.Sealed)
		r.bay.plug(first) // known by its hardware id
		if got := r.await(station.WaitScan); got.Serial != "AC000001" {
			t.Errorf("the first device is taken for %s", got.Serial)
		}
		r.bay.pull()
		r.await(station.Empty)
		nameless := newDevice("blank")
		nameless.hardware = ""
		r.want(r.put(nameless), station.Fail, "identify: device said no hardware id", "AC000003", "")
	})
}

// TestRework takes a sealed device through each kind.
func TestRework(t *testing.T) {
	for _, tt := range []struct {
		kind   records.ReworkKind
		board  bool // with another board
		result string
	}{
		{records.Relabel, false, "label 2 printed; destroy the old label 1"},
		{records.Reprovision, false, "sealed, label 2; destroy the old label 1"},
		{records.Refurbish, false, "sealed, label 2; destroy the old label 1"},
		{records.BoardSwap, true, "sealed, label 2; destroy the old label 1"},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				r.start()
				d := r.sealed("SN1")
				before := d.saved["admin"]
				if _, err := r.ledger.OrderRework(t.Context(), "camera", "SN1",
					records.Rework{Kind: tt.kind, Reason: "label torn"}, supervisor); err != nil {
					t.Fatal(err)
				}
				if tt.board {
					d = newDevice("SN1")
					d.hardware = "HW-NEW"
				}
				d.locked = false // the supervisor opened it
				r.bay.plug(d)
				if tt.kind == records.Relabel {
					r.await(station.WaitScan)
					scan(t, r.slot, labelCode(d))
				}
				got := r.await(station.Pass, station.Fail)
				r.want(got, station.Pass, "", "SN1", records.Sealed)
				if got.Result != tt.result {
					t.Errorf("result is %q, want %q", got.Result, tt.result)
				}
				if same := d.saved["admin"] == before; same != (tt.kind == records.Relabel) {
					t.Errorf("the device holds what it held: %v", same)
				}
				labels := r.paper.labels()
				if len(labels) != 2 || !strings.Contains(labels[1], "SN1 2") || (strings.ReplaceAll(labels[1], "SN1 2", "SN1 1") == labels[0]) != (tt.kind == records.Relabel) {
					t.Errorf("labels are %q, want one with a new number, and the same credentials if it is a relabel", labels)
				}
				r.bay.pull()
				r.await(station.Empty)
			})
		})
	}
}

// TestThePreviousCredentialIsRefusedAfterRework gives a sealed device a new row,
// as batch replace does, and watches which candidates are tried.
func TestThePreviousCredentialIsRefusedAfterRework(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("works still %v", old), func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.product = imported(t)
				r.rows("B1", "SN1")
				r.start()
				d := r.sealed("SN1")
				r.newRow("SN1", "REPLACED-SN1-XY")
				var tried []string
				r.driver.do = func(p station.Phase, v station.Vars) {
					if p == station.Refuse {
						tried = append(tried, string(v.Secret["candidate.user"].Bytes())+":"+string(v.Secret["candidate"].Bytes()))
					}
				}
				d.locked, d.keepsOld = false, old
				got := r.put(d)
				if want := "admin:admin admin:" + rowOf("SN1"); strings.Join(tried, " ") != want {
					t.Errorf("candidates are %q, want %q", tried, want)
				}
				if old {
					r.want(got, station.Fail, "prove: admin from before the rework: device accepts", "SN1", records.Kept)
					r.secretless(got)
				} else {
					r.want(got, station.Pass, "", "SN1", records.Sealed)
				}
				if d.saved["admin"] != "REPLACED-SN1-XY" {
					t.Errorf("device holds %q, want its new row", d.saved["admin"])
				}
			})
		})
	}
}

// newRow orders the device of an imported batch to be provisioned again.
func (r *rig) newRow(serial, value string) {
	r.t.Helper()
	if _, err := r.ledger.OrderRework(r.t.Context(), "camera", serial,
		records.Rework{Kind: records.Reprovision, Reason: "password known"}, supervisor); err != nil {
		r.t.Fatal(err)
	}
	if a, err := r.ledger.Import(r.t.Context(), records.ImportRequest{
		Product: r.product.Product, Batch: "B1", Actor: supervisor, Replace: true,
	}, strings.NewReader("serial,admin\n"+serial+","+value+"\n")); err != nil {
		r.t.Fatalf("Import = %+v, %v", a, err)
	}
}

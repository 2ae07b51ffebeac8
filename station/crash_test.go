package station_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mintmark/records"
	"mintmark/station"
)

var errCut = fmt.Errorf("power is gone: %w", records.ErrBroken)

// cut breaks the power at a ledger call: nothing reaches the ledger afterwards,
// and of the call itself only if it is kept.
func cut(s *station.Slot, at string, kept bool) {
	off := false
	station.Around(s, func(call string, do func() error) func() error {
		return func() error {
			if off || call != at {
				if off {
					return errCut
				}
				return do()
			}
			off = true
			if kept {
				return errors.Join(do(), errCut)
			}
			return errCut
		}
	})
}

// TestCommitFaults breaks every write of the path in both ways a disk can. The
// slot stops, and after the restart the ledger tells what became of the device.
func TestCommitFaults(t *testing.T) {
	for _, tt := range []struct {
		call     string
		lost     records.DeviceState // of a generated device, after the restart
		kept     records.DeviceState
		injected bool // something was sent to the device
		labelled bool
		locked   bool
	}{
		{call: "assign", lost: "", kept: records.Burned},
		{call: "mark injecting", lost: records.Burned, kept: records.Burned},
		{call: "mark labelling", lost: records.Burned, kept: records.Burned, injected: true},
		{call: "mark locking", lost: records.Burned, kept: records.Doubtful, injected: true, labelled: true},
		{call: "settle", lost: records.Doubtful, kept: records.Sealed, injected: true, labelled: true, locked: true},
	} {
		for name, kept := range map[string]bool{"lost": false, "kept but reported lost": true} {
			t.Run(tt.call+"/"+name, func(t *testing.T) {
				in(t, func(t *testing.T, r *rig) {
					r.batch("B1", 10)
					cut(r.start(), tt.call, kept)
					d := newDevice("SN1")
					got := r.put(d)
					err := r.end()
					if !errors.Is(err, station.ErrStop) || !errors.Is(err, errCut) || got.State != station.Stopped || err.Error() != got.Error {
						t.Errorf("Run = %v and the slot shows %s %q, want it stopped with the same text", err, got.State, got.Error)
					}
					if v := r.source.values; d.has(v[0]) != tt.injected || d.locked != tt.locked || (len(r.paper.labels()) > 0) != tt.labelled {
						t.Errorf("device has it: %v, locked %v, %d labels, want injected %v, locked %v, labelled %v",
							d.has(v[0]), d.locked, len(r.paper.labels()), tt.injected, tt.locked, tt.labelled)
					}
					r.reopen()
					want := tt.lost
					if kept {
						want = tt.kept
					}
					if now := r.record("SN1"); now.State != want {
						t.Errorf("after the restart the device is %q, want %q", now.State, want)
					}
				})
			})
		}
	}
}

// TestAnOutcomeThatCannotBeRecordedStopsTheLine has a device fail, and then the
// ledger, in whatever way: the second is what the operator must act on.
func TestAnOutcomeThatCannotBeRecordedStopsTheLine(t *testing.T) {
	for _, cause := range []error{errCut, errors.New("attempt 1 is settled already")} {
		t.Run(cause.Error(), func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				station.Around(r.start(), func(call string, do func() error) func() error {
					if call == "settle" {
						return func() error { return cause }
					}
					return do
				})
				d := newDevice("SN1")
				d.faults = map[station.Phase]fault{station.Prove: refuse}
				got := r.put(d)
				if err := r.end(); !errors.Is(err, station.ErrStop) || !errors.Is(err, cause) {
					t.Errorf("Run = %v, want the line stopped because %v", err, cause)
				}
				text := "prove: prove: device says no: not today; settle: attempt 1 of SN1: line stopped: " + cause.Error()
				if !strings.HasPrefix(got.Error, text) || got.Remedy != "set the device aside and start the station again, then put it in again" {
					t.Errorf("slot shows %q with remedy %q, want both failures and what to do about the second", got.Error, got.Remedy)
				}
				r.reopen()
			})
		})
	}
}

// TestPowerCuts cuts the power after each durable fact, before the effect that
// follows it and after it, and then puts the same and another device in: the
// table of docs/architecture.md, row by row.
func TestPowerCuts(t *testing.T) {
	for _, tt := range []struct {
		name  string
		at    string
		kept  bool // the fact of the call itself is durable
		rows  bool
		after records.DeviceState // on restart we find
		again string              // what the same device is told then
	}{
		{"before assign", "assign", false, false, "", ""},
		{"before assign, imported", "assign", false, true, records.Waiting, ""},
		{"after assign", "assign", true, false, records.Burned, ""},
		{"after assign, imported", "assign", true, true, records.Kept, ""},
		{"after injecting, nothing sent", "mark injecting", true, false, records.Burned, ""},
		{"after injecting, nothing sent, imported", "mark injecting", true, true, records.Kept, ""},
		{"after injecting, all sent", "mark labelling", false, false, records.Burned, ""},
		{"after injecting, all sent, imported", "mark labelling", false, true, records.Kept, ""},
		{"after labelling, not printed", "mark labelling", true, false, records.Burned, "; destroy the old label 1"},
		{"after labelling, not printed, imported", "mark labelling", true, true, records.Kept, "; destroy the old label 1"},
		{"after labelling, printed", "mark locking", false, false, records.Burned, "; destroy the old label 1"},
		{"after labelling, printed, imported", "mark locking", false, true, records.Kept, "; destroy the old label 1"},
		{"after locking, not locked", "mark locking", true, false, records.Doubtful, "already done"},
		{"after locking, not locked, imported", "mark locking", true, true, records.Doubtful, "already done"},
		{"after locking, locked", "settle", false, false, records.Doubtful, "already done"},
		{"after locking, locked, imported", "settle", false, true, records.Doubtful, "already done"},
		{"after settle", "settle", true, false, records.Sealed, "already done"},
		{"after settle, imported", "settle", true, true, records.Sealed, "already done"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				if tt.rows {
					r.product = imported(t)
					r.rows("B1", "SN1", "SN2")
				} else {
					r.batch("B1", 10)
				}
				cut(r.start(), tt.at, tt.kept)
				d := newDevice("SN1")
				r.put(d)
				r.end()
				first := slices.Clone(r.source.values)

				r.reopen()
				if now := r.record("SN1"); now.State != tt.after {
					t.Fatalf("on restart the device is %q, want %q", now.State, tt.after)
				}
				r.impostor(t, tt.after)
				r.sameAgain(t, d, first, tt.rows, tt.again)
				r.want(r.put(newDevice("SN2")), station.Pass, "", "SN2", records.Sealed)
			})
		})
	}
}

// impostor puts another board with the same serial in. Once the serial is bound
// to a hardware id, nothing is ever assigned to another one.
func (r *rig) impostor(t *testing.T, known records.DeviceState) {
	t.Helper()
	if known == "" || known == records.Waiting {
		return // not bound yet: it would be the device
	}
	other := newDevice("SN1")
	other.hardware = "HW-IMPOSTOR"
	r.want(r.put(other), station.Fail, "interlock: serial is bound to another hardware id", "SN1", known)
	if len(other.received) > 0 {
		t.Errorf("another board was sent %d values, want none", len(other.received))
	}
}

// sameAgain puts the same device in again.
func (r *rig) sameAgain(t *testing.T, d *device, first []string, rows bool, want string) {
	t.Helper()
	done := want == "already done"
	r.bay.plug(d)
	got := r.await(station.Pass, station.Fail, station.WaitScan)
	for got.State == station.WaitScan {
		scan(t, r.slot, labelCode(d))
		got = r.await(station.Pass, station.Fail)
	}
	r.bay.pull()
	r.await(station.Empty)
	r.want(got, station.Pass, "", "SN1", records.Sealed)
	if d.locked != true {
		t.Error("the device is sealed and not locked")
	}
	switch {
	case done && got.Result != want:
		t.Errorf("result is %q, want %q", got.Result, want)
	case !done && got.Result != "sealed, label "+r.record("SN1").Attempts[len(r.record("SN1").Attempts)-1].Label+want:
		t.Errorf("result is %q, want it to end in %q", got.Result, want)
	}
	if done && len(r.source.values) != len(first) {
		t.Error("a device that was sealed got new values")
	}
	if !done && !rows && slices.Contains(first, d.saved["admin"]) {
		t.Error("a burned value was used again")
	}
	if rows && d.saved["admin"] != rowOf("SN1") {
		t.Errorf("device holds %q, want the value of its row", d.saved["admin"])
	}
	if !done && slices.Contains(first, d.saved["wifi"]) {
		t.Error("a burned generated value was used again")
	}
}

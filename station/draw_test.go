package station_test

import (
	"errors"
	"strings"
	"testing"

	"mintmark/records"
	"mintmark/station"
)

func TestASmallSpaceIsDrawnFromAgain(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.Credentials[0].Bits = 26.6
		r.batch("B1", 10)
		r.start()
		r.source.next = []string{"10000001AAAAAAA", "WIFI-FIRST"}
		r.sealed("SN1")
		r.source.next = []string{"10000001AAAAAAA", "WIFI-SECOND", "10000002AAAAAAA"}
		d := r.sealed("SN2")
		if d.saved["admin"] != "10000002AAAAAAA" || d.saved["wifi"] != "WIFI-SECOND" {
			t.Errorf("device holds %v, want only what was used before drawn again", d.saved)
		}
	})
}

func TestASmallSpaceIsNotDrawnFromForEver(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.Credentials[0].Bits = 26.6
		r.batch("B1", 10)
		r.start()
		r.source.next = []string{"10000001AAAAAAA"}
		r.sealed("SN1")
		r.source.next = strings.Split("10000001AAAAAAA WIFI"+strings.Repeat(" 10000001AAAAAAA", 50), " ")
		r.want(r.put(newDevice("SN2")), station.Fail, "assign: 20 values of admin in a row were used before", "SN2", "")
	})
}

// TestALargeSpaceThatRepeatsItselfStopsTheLine is R-LED-06: the one fault of a
// generator that only the ledger can see.
func TestALargeSpaceThatRepeatsItselfStopsTheLine(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.start()
		r.source.next = []string{"CDFHJKMPQRTVWXY"}
		r.sealed("SN1")
		r.source.next = []string{"CDFHJKMPQRTVWXY"}
		d := newDevice("SN2")
		r.want(r.put(d), station.Stopped, "assign: line stopped: a generated value of 64.8 bits came twice", "SN2", "")
		err := r.end()
		var reuse *records.ReuseError
		if !errors.Is(err, station.ErrStop) || !errors.As(err, &reuse) || reuse.First.Serial != "SN1" {
			t.Errorf("Run = %v, want the line stopped by the value of SN1", err)
		}
		if len(d.received) > 0 {
			t.Error("the device was sent something")
		}
		if b, err := r.ledger.Batch(t.Context(), "B1"); err != nil || b.State != records.Held || !strings.Contains(b.Reason, "came twice") {
			t.Errorf("Batch = %+v, %v, want it held with the reason", b, err)
		}
		now, _ := r.slot.Snapshot()
		if now.State != station.Stopped || !strings.HasPrefix(now.Remedy, "stop the line and call security") {
			t.Errorf("slot shows %s with remedy %q", now.State, now.Remedy)
		}
	})
}

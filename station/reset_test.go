package station_test

import (
	"fmt"
	"math"
	"testing"

	"mintmark/records"
	"mintmark/station"

	"pgregory.net/rapid"
)

func TestExactlyTheShareIsProbedBeginningWithTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := float64(rapid.IntRange(1, 1000).Draw(t, "thousandths")) / 1000
		n := rapid.IntRange(1, 3000).Draw(t, "devices")
		probed := 0
		for i := range n {
			if station.Due(share, i) {
				probed++
			}
		}
		if want := int(math.Ceil(share*float64(n) - 1e-6)); probed != want || !station.Due(share, 0) {
			t.Errorf("of %d devices %d are probed, want %d and the first", n, probed, want)
		}
	})
	if station.Due(1, -1) {
		t.Error("a device that was started before is sampled again")
	}
}

func TestProbedDevicesAreThoseOfTheShare(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.ResetShare = 0.4
		r.batch("B1", 10)
		r.start()
		var got string
		for i := range 10 {
			d := r.sealed(fmt.Sprintf("SN%d", i))
			_ = d
			if r.record(d.serial).Attempts[0].Probed {
				got += "p"
			} else {
				got += "-"
			}
		}
		if want := "p-p--p-p--"; got != want {
			t.Errorf("probed %s, want %s", got, want)
		}
	})
}

func TestAProbeThatADeviceOwedFallsToTheNext(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.ResetShare = 0.1
		r.batch("B1", 10)
		r.start()
		bad := newDevice("SN1")
		bad.faults = map[station.Phase]fault{station.Prove: mute}
		r.want(r.put(bad), station.Fail, "prove: ", "SN1", records.Burned)
		r.sealed("SN2")
		r.sealed("SN3")
		if !r.record("SN2").Attempts[0].Probed || r.record("SN3").Attempts[0].Probed {
			t.Error("want the second device probed in place of the first, and the third not")
		}
	})
}

// TestAResetThatUndoesItStopsTheProduct is the founding requirement (C-RESET).
func TestAResetThatUndoesItStopsTheProduct(t *testing.T) {
	for _, tt := range []struct {
		name string
		d    func(*device)
		err  string
	}{
		{"own password lost", func(d *device) { d.resets = true }, "reset probe: C-RESET: after a factory reset: prove: device says no"},
		{"universal password works", func(d *device) { d.faults = map[station.Phase]fault{station.Reset: ""}; d.accepts = true },
			"reset probe: C-RESET: after a factory reset: universal credential 1 of 1: device accepts"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.product.ResetShare = 1
				r.batch("B1", 10)
				r.start()
				d := newDevice("SN1")
				tt.d(d)
				got := r.put(d)
				r.want(got, station.Fail, tt.err, "SN1", records.Burned)
				if want := "stop the line for this product"; !hasPrefix(got.Remedy, want) {
					t.Errorf("remedy is %q, want %q", got.Remedy, want)
				}
				b, err := r.ledger.Batch(t.Context(), "B1")
				if err != nil || b.State != records.Held {
					t.Errorf("Batch = %+v, %v, want it held", b, err)
				}
				r.want(r.put(newDevice("SN2")), station.Fail, "interlock: batch B1 is held", "SN2", "")
			})
		})
	}
}

func TestADeviceThatLeavesDuringItsProbeHoldsNothing(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.ResetShare = 1
		r.batch("B1", 10)
		d := newDevice("SN1")
		probing := false
		r.driver.do = func(p station.Phase, _ station.Vars) {
			probing = probing || p == station.Reset
			if probing && p == station.Prove {
				r.driver.do = nil
				r.bay.pull()
			}
		}
		r.start()
		r.want(r.put(d), station.Fail, "reset probe: connection lost", "SN1", records.Burned)
		r.sealed("SN2")
		if !r.record("SN2").Attempts[0].Probed {
			t.Error("the probe was not made up for")
		}
	})
}

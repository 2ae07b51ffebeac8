package station_test

import (
	"fmt"
	"math"
	"sync"
	"testing"

	"mintmark/records"
	"mintmark/station"

	"pgregory.net/rapid"
)

// TestOneSlotProbesExactlyTheShareBeginningWithTheFirst seals device after device.
func TestOneSlotProbesExactlyTheShareBeginningWithTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := float64(rapid.IntRange(1, 1000).Draw(t, "thousandths")) / 1000
		n := rapid.IntRange(1, 3000).Draw(t, "devices")
		probed := 0
		for i := range n {
			if station.Short(share, records.Sample{Probed: probed, Seals: i + 1}) {
				probed++
			}
			if i == 0 && probed == 0 {
				t.Error("the first device is not probed")
			}
		}
		if want := int(math.Ceil(share*float64(n) - 1e-6)); probed != want {
			t.Errorf("of %d devices %d are probed, want %d", n, probed, want)
		}
	})
	if station.Short(0, records.Sample{Seals: 1}) {
		t.Error("a product without probes is probed")
	}
}

// TestManySlotsNeverProbeLessThanTheShare has devices begin, fail, be sealed and
// be left in doubt in any order; whatever is sealed in the end, the share is kept.
func TestManySlotsNeverProbeLessThanTheShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		share := float64(rapid.IntRange(1, 1000).Draw(t, "thousandths")) / 1000
		var probed, seals int
		var open []bool // whether each device at work or in doubt is probed
		take := func() bool {
			i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
			was := open[i]
			open = append(open[:i], open[i+1:]...)
			return was
		}
		for range rapid.IntRange(1, 300).Draw(t, "events") {
			switch what := rapid.IntRange(0, 4).Draw(t, "event"); {
			case len(open) == 0 || what < 2:
				open = append(open, station.Short(share, records.Sample{Probed: probed, Seals: seals + len(open) + 1}))
			case what == 2:
				take() // fails
			default:
				if take() {
					probed++
				}
				seals++
			}
			if float64(probed) < share*float64(seals)-1e-6 {
				t.Fatalf("%d of %d seals are probed, want a share of %v", probed, seals, share)
			}
		}
	})
}

func TestProbedDevicesAreThoseOfTheShare(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.ResetShare = 0.4
		r.batch("B1", 10)
		r.start()
		var got string
		for i := range 10 {
			if i == 5 {
				r.restart() // which remembers nothing but the ledger
			}
			d := r.sealed(fmt.Sprintf("SN%d", i))
			if r.record(d.serial).Attempts[0].Probed {
				got += "p"
			} else {
				got += "-"
			}
		}
		if want := "p-p--p-p--"; got != want {
			t.Errorf("probed %s, want %s", got, want)
		}
		if b, err := r.ledger.Batch(t.Context(), "B1"); err != nil || b.Probed != 4 || b.Seals != 10 {
			t.Errorf("batch is %+v, %v, want 4 of 10 seals probed", b, err)
		}
	})
}

// TestAProbeThatADeviceOwedFallsToTheNext also if the next comes after a restart,
// or into another slot.
func TestAProbeThatADeviceOwedFallsToTheNext(t *testing.T) {
	for name, between := range map[string]func(r *rig) *rig{
		"same slot":     func(r *rig) *rig { return r },
		"after restart": func(r *rig) *rig { r.restart(); return r },
		"another slot":  func(r *rig) *rig { return r.beside() },
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.product.ResetShare = 0.1
				r.batch("B1", 10)
				r.start()
				bad := newDevice("SN1")
				bad.faults = map[station.Phase]fault{station.Prove: mute}
				r.want(r.put(bad), station.Fail, "prove: ", "SN1", records.Burned)
				next := between(r)
				next.sealed("SN2")
				next.sealed("SN3")
				r.sealed("SN4")
				if !r.record("SN2").Attempts[0].Probed || r.record("SN3").Attempts[0].Probed || r.record("SN4").Attempts[0].Probed {
					t.Error("want the second device probed in place of the first, and none after it")
				}
				if err := next.end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// restart stops the station and starts it again.
func (r *rig) restart() {
	r.t.Helper()
	if err := r.end(); err != nil {
		r.t.Fatal(err)
	}
	r.reopen()
}

// beside is a second slot of the station, which is running.
func (r *rig) beside() *rig {
	other := *r
	other.bay = newBay()
	other.start()
	return &other
}

// TestAPowerCutLosesNoProbe cuts the power around the fact that a device was
// probed and around what follows it. What is sealed in the end is probed, or the next
// device makes up for it.
func TestAPowerCutLosesNoProbe(t *testing.T) {
	for _, tt := range []struct {
		at     string
		kept   bool
		state  records.DeviceState // on restart
		probed bool                // on restart
		next   bool                // whether the next device is probed
	}{
		{"set probed", false, records.Burned, false, true},
		{"set probed", true, records.Burned, true, true},
		{"mark labelling", true, records.Burned, true, true},
		{"mark locking", true, records.Doubtful, true, false},
		{"settle", false, records.Doubtful, true, false},
		{"settle", true, records.Sealed, true, false},
	} {
		t.Run(fmt.Sprint(tt.at, ", kept ", tt.kept), func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.product.ResetShare = 0.5
				r.batch("B1", 10)
				cut(r.start(), tt.at, tt.kept)
				d := newDevice("SN1")
				r.put(d)
				r.end()
				r.reopen()
				if at := r.record("SN1"); at.State != tt.state || at.Attempts[0].Probed != tt.probed {
					t.Errorf("on restart the device is %s, probed %v, want %s, %v", at.State, at.Attempts[0].Probed, tt.state, tt.probed)
				}
				if tt.state == records.Doubtful {
					r.want(r.scanned(d, labelCode(d)), station.Pass, "", "SN1", records.Sealed)
				}
				r.sealed("SN2")
				if got := r.record("SN2").Attempts[0].Probed; got != tt.next {
					t.Errorf("the next device is probed: %v, want %v", got, tt.next)
				}
				if b, err := r.ledger.Batch(t.Context(), "B1"); err != nil || 2*b.Probed < b.Seals {
					t.Errorf("batch is %+v, %v, want at least half of its seals probed", b, err)
				}
			})
		})
	}
}

// TestTwoSlotsAtOnceMayBothProbeAndNeverBothLeaveIt lets two devices be assigned
// before either is sealed.
func TestTwoSlotsAtOnceMayBothProbeAndNeverBothLeaveIt(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.ResetShare = 0.4
		r.batch("B1", 10)
		r.start()
		r.sealed("SN1") // probed: alone, the second would not be due
		var assigned sync.WaitGroup
		assigned.Add(2)
		r.driver.do = func(p station.Phase, _ station.Vars) {
			if p == station.Inject {
				assigned.Done()
				assigned.Wait()
			}
		}
		other := r.beside()
		r.bay.plug(newDevice("SN2"))
		other.bay.plug(newDevice("SN3"))
		r.await(station.Pass)
		other.await(station.Pass)
		if err := other.end(); err != nil {
			t.Error(err)
		}
		r.bay.pull()
		r.await(station.Empty)
		if b, err := r.ledger.Batch(t.Context(), "B1"); err != nil || b.Seals != 3 || b.Probed < 2 {
			t.Errorf("batch is %+v, %v, want at least 2 of 3 seals probed", b, err)
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

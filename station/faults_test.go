package station_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"

	"mintmark/hsm/secret"
	"mintmark/records"
	"mintmark/station"
)

// TestFaults breaks a device at every step. The operator is told where, and what
// was assigned is settled as the table of docs/architecture.md says: the rig
// checks that nothing stays open and no secret stays unwiped.
func TestFaults(t *testing.T) {
	every := []fault{unplug, mute, noise, refuse, chatter, reboot, echo}
	for _, tt := range []struct {
		phase  station.Phase
		faults []fault
		err    string              // how the operator's text begins
		gen    records.DeviceState // of a device whose credentials are all generated
		imp    records.DeviceState // of one with a row
	}{
		{station.Identify, every, "identify: ", "", records.Waiting},
		{station.Inject, every, "inject: ", records.Burned, records.Kept},
		{station.Inject, []fault{swap}, "restart: another device", records.Burned, records.Burned}, // the other may have them
		{station.Restart, every, "restart: ", records.Burned, records.Kept},
		{station.Restart, []fault{swap}, "restart: another device", records.Burned, records.Burned},
		{station.Prove, append(every, swap), "prove: ", records.Burned, records.Kept},
		{station.Refuse, append(every, swap), "prove: ", records.Burned, records.Kept},
		{station.Reset, every, "reset probe: ", records.Burned, records.Kept},
		{station.Reset, []fault{swap}, "reset probe: another device", records.Burned, records.Kept},
		{station.Lock, every, "lock: ", records.Doubtful, records.Doubtful},
	} {
		for _, f := range tt.faults {
			t.Run(string(tt.phase)+"/"+string(f)+"/generated", func(t *testing.T) { breaks(t, tt.phase, f, false, tt.err, tt.gen) })
			t.Run(string(tt.phase)+"/"+string(f)+"/imported", func(t *testing.T) { breaks(t, tt.phase, f, true, tt.err, tt.imp) })
		}
	}
}

func breaks(t *testing.T, phase station.Phase, f fault, rows bool, text string, after records.DeviceState) {
	in(t, func(t *testing.T, r *rig) {
		if rows {
			r.product = imported(t)
			r.product.ResetShare = 1
			r.rows("B1", "SN1", "SN2")
		} else {
			r.product.ResetShare = 1
			r.batch("B1", 10)
		}
		r.start()
		d := newDevice("SN1")
		d.faults = map[station.Phase]fault{phase: f}
		got := r.put(d)
		r.want(got, station.Fail, text, "SN1", after)
		if got.Bad != 1 || got.Good != 0 || got.StepIndex == 0 {
			t.Errorf("slot counts %d good, %d bad, step %d", got.Good, got.Bad, got.StepIndex)
		}
		r.secretless(got)

		r.want(r.put(newDevice("SN2")), station.Pass, "", "SN2", records.Sealed) // the line goes on
	})
}

// secretless looks for credentials where anyone may look.
func (r *rig) secretless(s station.Snapshot) {
	r.t.Helper()
	for _, v := range append(r.source.values, rowOf("SN1"), rowOf("SN2")) {
		for where, text := range map[string]string{"snapshot": s.Error + s.Remedy + s.Result, "log": r.log.String()} {
			if strings.Contains(text, v) {
				r.t.Errorf("the %s has a credential: %s", where, text)
			}
		}
	}
}

// TestASwappedDeviceIsNeverLocked swaps while nobody speaks to the device.
func TestASwappedDeviceIsNeverLocked(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		d := newDevice("SN1")
		r.driver.do = func(p station.Phase, _ station.Vars) {
			if p == station.Refuse { // the last that is said to it before the label
				d.mu.Lock()
				d.hardware = "HW-OTHER"
				d.mu.Unlock()
			}
		}
		r.start()
		got := r.put(d)
		r.want(got, station.Fail, "label: another device: it says hardware id HW-OTHER, want HW-SN1", "SN1", records.Burned)
		if d.locked {
			t.Error("the other device was locked")
		}
		if !strings.HasPrefix(got.Remedy, "destroy label 1; ") {
			t.Errorf("remedy is %q, want it to name the label", got.Remedy)
		}
	})
}

// TestASwapNobodySpeaksDuringIsFound swaps at both ends of the path: before the
// first credential is sent, and after the last thing that is said where nothing
// is locked.
func TestASwapNobodySpeaksDuringIsFound(t *testing.T) {
	swapped := func(d *device) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.hardware = "HW-OTHER"
	}
	t.Run("before injecting", func(t *testing.T) {
		in(t, func(t *testing.T, r *rig) {
			r.product = imported(t)
			r.rows("B1", "SN1")
			d := newDevice("SN1")
			r.source.drawn = func() { swapped(d) }
			r.start()
			r.want(r.put(d), station.Fail, "inject: another device: it says hardware id HW-OTHER, want HW-SN1", "SN1", records.Kept)
			if len(d.received) > 0 {
				t.Errorf("the other device was sent %d values", len(d.received))
			}
		})
	})
	t.Run("while the label prints, without a lock", func(t *testing.T) {
		in(t, func(t *testing.T, r *rig) {
			r.batch("B1", 10)
			r.driver.lacks = map[station.Phase]bool{station.Lock: true}
			d := newDevice("SN1")
			r.paper.during = func() { swapped(d) }
			r.start()
			r.want(r.put(d), station.Fail, "label: another device: it says hardware id HW-OTHER, want HW-SN1", "SN1", records.Burned)
		})
	})
}

// TestADeviceThatForgetsWhoItIsFails has it change its identity at its restart.
func TestADeviceThatForgetsWhoItIsFails(t *testing.T) {
	for name, tt := range map[string]struct {
		be  func(*device)
		err string
	}{
		"another serial": {func(d *device) { d.serial = "SN2" }, "restart: another device: it says serial SN2, want SN1"},
		"no serial":      {func(d *device) { d.serial = "" }, "restart: another device: it says no serial, want SN1"},
		"no hardware id": {func(d *device) { d.hardware = "" }, "restart: another device: it says no hardware id, want HW-SN1"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				d := newDevice("SN1")
				r.driver.do = func(p station.Phase, _ station.Vars) {
					if p == station.Restart {
						d.mu.Lock()
						defer d.mu.Unlock()
						tt.be(d)
					}
				}
				r.start()
				r.want(r.put(d), station.Fail, tt.err, "SN1", records.Burned)
			})
		})
	}
}

// TestADeviceThatIsPulledWhileItsLabelPrints says nothing to anyone meanwhile.
func TestADeviceThatIsPulledWhileItsLabelPrints(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.paper.during = func() {
			synctest.Wait() // for whoever watches the slot
			r.bay.pull()
			synctest.Wait()
		}
		r.start()
		got := r.put(newDevice("SN1"))
		r.want(got, station.Fail, "label: ", "SN1", records.Burned)
		if want := "destroy label 1; "; !strings.HasPrefix(got.Remedy, want) {
			t.Errorf("remedy is %q, want %q", got.Remedy, want)
		}
	})
}

func TestTheLabelOfADoubtfulDeviceIsKept(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		d := newDevice("SN1")
		d.faults = map[station.Phase]fault{station.Lock: refuse}
		r.start()
		got := r.put(d)
		r.want(got, station.Fail, "lock: ", "SN1", records.Doubtful)
		if want := "keep label 1 with the device; "; !strings.HasPrefix(got.Remedy, want) {
			t.Errorf("remedy is %q, want %q", got.Remedy, want)
		}
	})
}

// TestCandidatesAreWiped keeps those that the driver was given.
func TestCandidatesAreWiped(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		var given []*secret.Value
		r.driver.do = func(p station.Phase, v station.Vars) {
			if p != station.Refuse {
				return
			}
			for name, s := range v.Secret {
				if !strings.HasPrefix(name, "candidate") {
					t.Errorf("driver was given %s to refuse", name)
				}
				given = append(given, s)
			}
		}
		r.start()
		r.sealed("SN1")
		if len(given) != 2 || !closed(given[0]) || !closed(given[1]) {
			t.Errorf("%d candidates were given and not all wiped", len(given))
		}
	})
}

// TestADeviceThatIsReplacedInTheSlotDoesNotInheritTheResult pulls one and plugs in
// the next before the result is there, and after.
func TestADeviceThatIsReplacedInTheSlotDoesNotInheritTheResult(t *testing.T) {
	for _, at := range []station.Phase{station.Inject, station.Prove, station.Lock} {
		t.Run(string(at), func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				first, second := newDevice("SN1"), newDevice("SN2")
				r.driver.do = func(p station.Phase, _ station.Vars) {
					if p == at {
						r.driver.do = nil
						synctest.Wait() // for whoever watches the slot
						r.bay.pull()
						r.bay.plug(second)
					}
				}
				r.start()
				r.bay.plug(first)
				r.want(r.await(station.Fail), station.Fail, string(at)+": connection lost", "SN1", r.record("SN1").State)
				r.want(r.await(station.Pass), station.Pass, "", "SN2", records.Sealed)
				if second.has(r.source.values[0]) {
					t.Error("the second device got a credential of the first")
				}
				r.bay.pull()
				r.await(station.Empty)
			})
		})
	}
}

func TestADeviceThatIsReplacedAfterItsResultIsANewOne(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.start()
		r.bay.plug(newDevice("SN1"))
		r.await(station.Pass)
		r.bay.pull()
		r.bay.plug(newDevice("SN2")) // faster than anyone can look
		r.await(station.Empty, station.Identifying, station.Running)
		r.want(r.await(station.Pass, station.Fail), station.Pass, "", "SN2", records.Sealed)
		r.bay.pull()
	})
}

// TestPrinterFaults tells trouble before the mark, when no label can exist, from
// trouble after it.
func TestPrinterFaults(t *testing.T) {
	errPaper := &troubleError{}
	for _, tt := range []struct {
		name         string
		ready, print error
		remedy       string
	}{
		{"before", errPaper, nil, "put the device in again"},
		{"while printing", nil, errPaper, "destroy label 1; "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				r.paper.ready, r.paper.print = tt.ready, tt.print
				r.start()
				got := r.put(newDevice("SN1"))
				r.want(got, station.Fail, "label: out of paper", "SN1", records.Burned)
				if !strings.HasPrefix(got.Remedy, tt.remedy) {
					t.Errorf("remedy is %q, want %q", got.Remedy, tt.remedy)
				}
				r.paper.ready, r.paper.print = nil, nil
				got = r.put(newDevice("SN1"))
				r.want(got, station.Pass, "", "SN1", records.Sealed)
				if old := "; destroy the old label 1"; strings.HasSuffix(got.Result, old) != (tt.print != nil) {
					t.Errorf("result is %q, want the old label named: %v", got.Result, tt.print != nil)
				}
			})
		})
	}
}

type troubleError struct{}

func (*troubleError) Error() string { return "out of paper" }

func TestADriverThatPanicsFailsTheDeviceOnly(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.driver.panics = station.Prove
		r.start()
		r.want(r.put(newDevice("SN1")), station.Fail, "prove: internal error in the driver", "SN1", records.Burned)
		if !strings.Contains(r.log.String(), "driver panicked") {
			t.Errorf("log has no word of the panic: %s", r.log)
		}
		r.driver.panics = ""
		r.want(r.put(newDevice("SN1")), station.Pass, "", "SN1", records.Sealed)
	})
}

func TestAnAuthorityThatFailsFailsTheDeviceOnly(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.source.err = errors.New("vault is sealed")
		r.start()
		r.want(r.put(newDevice("SN1")), station.Fail, "assign: draw admin: vault is sealed", "SN1", "")
		r.source.err, r.source.verify = nil, errors.New("vault is sealed")
		r.want(r.put(newDevice("SN1")), station.Fail, "inject: derive verifier of admin: vault is sealed", "SN1", records.Burned)
		r.source.verify = nil
		r.want(r.put(newDevice("SN1")), station.Pass, "", "SN1", records.Sealed)
	})
}

// TestFactsAreParsed feeds identities that no record may have.
func TestFactsAreParsed(t *testing.T) {
	for name, d := range map[string]*device{
		"serial with a blank":    {hardware: "HW", serial: "SN 1"},
		"no serial":              {hardware: "HW"},
		"endless serial":         {hardware: "HW", serial: strings.Repeat("S", 41)},
		"hardware id of escapes": {hardware: "\x1b[2J", serial: "SN1"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				r.start()
				r.want(r.put(d), station.Fail, "identify: ", d.serial, "")
			})
		})
	}
}

package station_test

import (
	"slices"
	"testing"

	"mintmark/records"
	"mintmark/station"
)

// trial opens a batch of golden devices.
func (r *rig) trial(name string) {
	r.t.Helper()
	if _, err := r.ledger.OpenBatch(r.t.Context(), records.OpenRequest{
		Product: r.product.Product, Batch: name, Quota: 3, Trial: true, Actor: supervisor,
	}); err != nil {
		r.t.Fatalf("OpenBatch = %v", err)
	}
}

// TestATrialProvesAndProbesAndLeavesTheDeviceUsable takes a golden device twice.
func TestATrialProvesAndProbesAndLeavesTheDeviceUsable(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.ResetShare = 0.01
		r.trial("T1")
		var phases []station.Phase
		r.driver.do = func(p station.Phase, _ station.Vars) { phases = append(phases, p) }
		r.start()
		d := newDevice("SN1")
		for n := range 2 {
			got := r.put(d)
			r.want(got, station.Pass, "", "SN1", records.Burned)
			if want := "trial: not labelled, not locked; nothing is released, do not ship it"; got.Result != want || !got.Trial {
				t.Errorf("slot shows %q, trial %v, want %q", got.Result, got.Trial, want)
			}
			if got.StepIndex != 9 || got.StepTotal != 9 {
				t.Errorf("slot shows step %d of %d at the end, want 9 of 9", got.StepIndex, got.StepTotal)
			}
			at := r.record("SN1").Attempts[n]
			if at.Mark != records.Injecting || !at.Probed || at.Reason != "trial: not labelled, not locked" {
				t.Errorf("attempt is %+v, want it probed, not labelled, not locked, and to say so", at)
			}
		}
		if d.locked || len(r.paper.labels()) > 0 || slices.Contains(phases, station.Lock) {
			t.Errorf("device is locked: %v, %d labels, phases %v; want neither lock nor label", d.locked, len(r.paper.labels()), phases)
		}
		if b, err := r.ledger.Batch(t.Context(), "T1"); err != nil || b.Sealed != 0 || b.Seals != 0 || b.Burned != 1 {
			t.Errorf("batch is %+v, %v, want nothing sealed and the device burned", b, err)
		}
	})
}

// TestPowerCutsInATrial end as burned, and the device is used again.
func TestPowerCutsInATrial(t *testing.T) {
	for _, at := range []string{"assign", "mark injecting", "settle"} {
		for name, kept := range map[string]bool{"lost": false, "kept but reported lost": true} {
			t.Run(at+"/"+name, func(t *testing.T) {
				in(t, func(t *testing.T, r *rig) {
					r.trial("T1")
					cut(r.start(), at, kept)
					d := newDevice("SN1")
					r.put(d)
					r.end()
					r.reopen()
					want := records.Burned
					if at == "assign" && !kept {
						want = ""
					}
					if now := r.record("SN1"); now.State != want || d.locked || len(r.paper.labels()) > 0 {
						t.Errorf("device is %q, locked %v, %d labels, want it %q and neither", now.State, d.locked, len(r.paper.labels()), want)
					}
					r.want(r.put(d), station.Pass, "", "SN1", records.Burned)
				})
			})
		}
	}
}

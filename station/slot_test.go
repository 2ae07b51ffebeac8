package station_test

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/records"
	"mintmark/station"
)

func TestChangedIsClosedWhenThereIsSomethingNewer(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.start()
		_, changed := r.slot.Snapshot()
		synctest.Wait()
		select {
		case <-changed:
			t.Fatal("changed is closed though nothing happened")
		default:
		}
		r.bay.plug(newDevice("SN1"))
		<-changed
		r.await(station.Pass)
		late, again := r.slot.Snapshot() // a watcher that slept skips to the latest
		if late.State != station.Pass {
			t.Errorf("a late watcher sees %s, want %s", late.State, station.Pass)
		}
		synctest.Wait()
		select {
		case <-again:
			t.Error("changed is closed though the result is the latest")
		default:
		}
		r.bay.pull()
		<-again
		if now := r.await(station.Empty); now.Good != 1 || now.Serial != "" || now.Takt == 0 {
			t.Errorf("the empty slot shows %+v, want the count and the last takt only", now)
		}
	})
}

// TestStepsCountUp watches a device from outside.
func TestStepsCountUp(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.ResetShare = 1
		r.batch("B1", 10)
		s, err := station.New(r.config())
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		station.Around(s, func(_ string, do func() error) func() error { synctest.Wait(); return do })
		r.driver.do = func(station.Phase, station.Vars) { synctest.Wait() }
		r.run(s)
		r.bay.plug(newDevice("SN1"))
		for {
			now, changed := s.Snapshot()
			step := fmt.Sprintf("%s %d/%d", now.Step, now.StepIndex, now.StepTotal)
			if now.Step != "" && (len(steps) == 0 || steps[len(steps)-1] != step) {
				steps = append(steps, step)
			}
			if now.State == station.Pass {
				break
			}
			<-changed
		}
		const want = "identify 2/10, interlock 3/10, assign 4/10, inject 5/11, restart 6/11, prove 7/11, " +
			"reset probe 8/11, label 9/11, lock 10/11, settle 11/11"
		if got := strings.Join(steps, ", "); !strings.HasSuffix(got, want) {
			t.Errorf("steps are %s\nwant %s", got, want)
		}
		r.bay.pull()
		r.await(station.Empty)
	})
}

func TestASnapshotIsJSONAsTheAPIPromises(t *testing.T) {
	b, err := json.Marshal(station.Snapshot{
		Slot: "1", Product: "camera", State: station.WaitScan, Since: time.Unix(0, 0).UTC(), Step: "recognise", StepIndex: 4, StepTotal: 6,
		Serial: "SN1", Batch: "B1", Attempt: 2, Scan: "label", Result: "r", Error: "e", Remedy: "m", Good: 1, Bad: 2, Takt: 3,
	})
	const want = `{"slot":"1","product":"camera","state":"WAIT-SCAN","since":"1970-01-01T00:00:00Z","step":"recognise","step_index":4,` +
		`"step_total":6,"serial":"SN1","batch":"B1","attempt":2,"scan":"label","result":"r","error":"e","remedy":"m","good":1,"bad":2,"takt_ns":3}`
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v\nwant %s", b, err, want)
	}
}

func TestAStopFinishesTheDeviceInTheSlot(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		stopping, stop := context.WithCancel(t.Context())
		s, err := station.New(r.config())
		if err != nil {
			t.Fatal(err)
		}
		r.driver.do = func(p station.Phase, _ station.Vars) {
			if p == station.Inject {
				stop()
			}
		}
		d := newDevice("SN1")
		r.bay.plug(d)
		if err := s.Run(stopping); err != nil {
			t.Errorf("Run = %v", err)
		}
		r.bay.pull()
		r.bay.programs.Wait()
		if rec := r.record("SN1"); rec.State != records.Sealed || !d.locked {
			t.Errorf("the device is %s, locked %v, want it finished", rec.State, d.locked)
		}
		if now, _ := s.Snapshot(); now.State != station.Stopped || now.Good != 1 {
			t.Errorf("slot shows %+v, want it stopped with one good", now)
		}
	})
}

func TestASlotThatCannotBeWatchedSaysSoAndRecovers(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.bay.broken = errors.New("no such bus")
		r.start()
		if now := r.await(station.Fail); now.Error != "watch slot: no such bus" || now.Remedy == "" {
			t.Errorf("slot shows %+v", now)
		}
		r.bay.update(func() { r.bay.broken = nil })
		r.await(station.Empty)
		r.sealed("SN1")
	})
}

func TestAPortThatCannotBeOpenedFailsTheDevice(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		c := r.config()
		c.Open = func(context.Context) (station.Port, error) { return nil, errors.New("permission denied") }
		s, err := station.New(c)
		if err != nil {
			t.Fatal(err)
		}
		r.run(s)
		r.want(r.put(newDevice("SN1")), station.Fail, "detect: open port: permission denied", "SN1", "")
	})
}

// TestParallelSlotsNeverExceedTheQuota lets eight slots fight for five places.
func TestParallelSlotsNeverExceedTheQuota(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 5)
		type one struct {
			bay *bay
			rig rig
		}
		var slots []*one
		for range 8 {
			o := &one{bay: newBay(), rig: *r}
			o.rig.bay = o.bay
			o.rig.start()
			slots = append(slots, o)
		}
		var passed, refused int
		for round := range 2 {
			for i, o := range slots {
				o.bay.plug(newDevice(fmt.Sprintf("SN%d-%d", round, i)))
			}
			for _, o := range slots {
				switch now := o.rig.await(station.Pass, station.Fail); {
				case now.State == station.Pass:
					passed++
				case strings.Contains(now.Error, "quota of 5"):
					refused++
				default:
					t.Errorf("slot shows %q", now.Error)
				}
				o.bay.pull()
				o.rig.await(station.Empty)
			}
		}
		for _, o := range slots {
			if err := o.rig.end(); err != nil {
				t.Errorf("Run = %v", err)
			}
		}
		b, err := r.ledger.Batch(t.Context(), "B1")
		if err != nil || passed != 5 || refused != 11 || b.Started != 5 || b.Sealed != 5 {
			t.Errorf("%d passed, %d were refused, batch %+v, %v; want 5 and 11", passed, refused, b, err)
		}
	})
}

// TestOneLineIsLoggedForEachDevice also looks for secrets, and their plain
// digests, wherever a device leaves a trace.
func TestOneLineIsLoggedForEachDevice(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product = imported(t)
		r.rows("B1", "SN1", "SN2")
		r.start()
		r.sealed("SN1")
		bad := newDevice("SN2")
		bad.faults = map[station.Phase]fault{station.Lock: echo}
		got := r.put(bad)
		lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
		if len(lines) != 2 {
			t.Fatalf("log has %d lines, want 2: %s", len(lines), r.log)
		}
		var first, second map[string]any
		for i, into := range []*map[string]any{&first, &second} {
			if err := json.Unmarshal([]byte(lines[i]), into); err != nil {
				t.Fatal(err)
			}
		}
		if first["msg"] != "device done" || first["level"] != "INFO" || first["outcome"] != "sealed" || first["result"] != "pass" ||
			second["outcome"] != "doubtful" || second["result"] != "fail" || second["step"] != "lock" || second["serial"] != "SN2" {
			t.Errorf("log says %v\nand %v", first, second)
		}
		rec, err := json.Marshal(r.record("SN2"))
		if err != nil {
			t.Fatal(err)
		}
		shown, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range append(r.source.values, rowOf("SN1"), rowOf("SN2")) {
			m, s := md5.Sum([]byte(v)), sha256.Sum256([]byte(v))
			for _, trace := range []string{v, hex.EncodeToString(m[:]), hex.EncodeToString(s[:])} {
				if strings.Contains(r.log.String()+string(rec)+string(shown), trace) {
					t.Errorf("a trace of a credential is left: %s", trace)
				}
			}
		}
	})
}

// TestRefusalsOfTheLedgerNameTheirRemedy is what an operator reads most often.
func TestRefusalsOfTheLedgerNameTheirRemedy(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.start()
		got := r.put(newDevice("SN1"))
		r.want(got, station.Fail, "interlock: no batch of product camera is open", "SN1", "")
		if !strings.Contains(got.Remedy, "mintmark batch open") {
			t.Errorf("remedy is %q", got.Remedy)
		}
	})
}

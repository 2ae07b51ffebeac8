package daemon_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
	"mintmark/records"
)

// A breakage is a device that is broken at one phase, and what must become of it.
type breakage struct {
	phase line.Phase
	fault line.Fault
	at    string // how the reason in its record begins; empty: it never got that far
	after records.DeviceState
}

// breakages are the faults that a line sees, at every phase of the path. A reboot
// that comes when one was asked for is no fault.
func breakages() (all []breakage) {
	loud := []line.Fault{line.Unplug, line.Mute, line.Noise, line.Chatter, line.Refusal, line.RebootsInTheMiddle}
	lies := []line.Fault{line.WrongSerial, line.AnswersForAnother, line.Swapped}
	add := func(p line.Phase, at string, after records.DeviceState, faults ...line.Fault) {
		for _, f := range faults {
			all = append(all, breakage{p, f, at, after})
		}
	}
	add(line.Reset, "reset probe: ", records.Burned, loud[:5]...) // first, because they take the longest
	add(line.Boot, "", "", line.Mute, line.Noise, line.Chatter)   // one that leaves before it boots was never there
	add(line.Identify, "", "", loud[:5]...)
	add(line.Inject, "inject: ", records.Burned, loud...)
	add(line.Inject, "restart: another device", records.Burned, lies...)
	add(line.Inject, "prove: ", records.Burned, line.ForgetsOnReboot, line.AcceptsDefault)
	add(line.Restart, "restart: ", records.Burned, loud[:5]...)
	add(line.Restart, "restart: another device", records.Burned, lies...)
	add(line.Prove, "prove: ", records.Burned, loud...)
	add(line.Prove, "reset probe: another device", records.Burned, lies...)
	add(line.Refuse, "prove: ", records.Burned, loud...)
	add(line.Reset, "reset probe: another device", records.Burned, lies...)
	add(line.Lock, "lock: ", records.Doubtful, append(loud, line.LockFails)...)
	return all
}

// TestEveryFaultAtEveryPhaseFailsItsDeviceOnly has a line of broken devices on
// real PTYs, with the shipped preset and deadlines, and an operator who puts in
// one after the other. Between them are sound ones.
func TestEveryFaultAtEveryPhaseFailsItsDeviceOnly(t *testing.T) {
	const slots = 12
	p := run(t, factory.Options{Slots: strings.Fields(strings.Repeat(factory.Generated+" ", slots)), ResetShare: 1})
	if _, err := p.client.OpenBatch(t.Context(), "G1", factory.Generated, 1000, false); err != nil {
		t.Fatal(err)
	}
	broken := breakages()
	devices := factory.Devices(factory.Generated, 1, len(broken)+slots)
	for i, b := range broken {
		devices[i].Faults = map[line.Phase]line.Fault{b.phase: b.fault}
		devices[i].Other = line.Identity{Serial: "OTHER", HardwareID: "02:FF:00:00:00:01"}
	}
	ended := p.work(t, devices)
	var sealed []string
	for i, d := range devices {
		rec, err := p.client.Device(t.Context(), factory.Generated, d.Serial)
		if i >= len(broken) {
			sealed = append(sealed, d.Serial)
			if ended[d.Serial] != line.Pass || rec.State != records.Sealed {
				t.Errorf("%s, which is sound, ended as %s and is %q", d.Serial, ended[d.Serial], rec.State)
			}
			continue
		}
		b := broken[i]
		reason := ""
		if err == nil && len(rec.Attempts) == 1 {
			reason = rec.Attempts[0].Reason
		}
		if ended[d.Serial] != line.Fail || rec.State != b.after || !strings.HasPrefix(reason, b.at) {
			t.Errorf("%s at %s: ended as %s, is %q because of %q; want FAIL, %q, %q", b.fault, b.phase, ended[d.Serial], rec.State, reason, b.after, b.at)
		}
	}
	for _, problem := range factory.Judge(devices, p.Printer.Labels(), sealed) {
		t.Error(problem)
	}
	if check, err := p.client.Verify(t.Context(), nil); err != nil || len(check.Problems) > 0 || check.Open != 0 {
		t.Errorf("Verify = %+v, %v", check, err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	for _, d := range devices {
		for _, g := range d.Told() {
			if strings.Contains(p.log.String(), g.Value) {
				t.Errorf("the log has the %s of %s", g.Name, d.Serial)
			}
		}
	}
}

// work has an operator put the devices into all slots, and returns how they ended.
func (p *plant) work(t *testing.T, devices []*line.Device) map[string]string {
	t.Helper()
	queue := make(chan *line.Device, len(devices))
	for _, d := range devices {
		queue <- d
	}
	close(queue)
	var mu sync.Mutex
	ended := map[string]string{}
	o := line.Operator{
		Sockets: p.Sockets, Queue: queue,
		Await: func(ctx context.Context, slot int, want ...string) (string, error) {
			return p.await(ctx, slot, want...)
		},
		Done: func(d *line.Device, slot int, state string) {
			mu.Lock()
			defer mu.Unlock()
			if ended[d.Serial] != "" {
				state = fmt.Sprintf("%s, then %s", ended[d.Serial], state)
			}
			ended[d.Serial] = state
		},
	}
	if err := o.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ended
}

package station_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"mintmark/records"
	"mintmark/station"
)

func TestADeviceThatVanishesWhenItRestartsIsHeldAgain(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.product.ResetShare = 1
		r.batch("B1", 10)
		r.start()
		d := newDevice("SN1")
		d.vanishes = true
		r.want(r.put(d), station.Pass, "", "SN1", records.Sealed)
		if d.saved["admin"] != r.source.values[0] {
			t.Errorf("device holds %v", d.saved)
		}
	})
}

func TestADeviceThatDoesNotComeBackFails(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.bay.returns = false
		r.start()
		d := newDevice("SN1")
		d.vanishes = true
		r.want(r.put(d), station.Fail, "restart: device did not come back", "SN1", records.Burned)
	})
}

// TestAnotherDeviceThatComesBackIsNotWrittenTo swaps boards while one restarts.
func TestAnotherDeviceThatComesBackIsNotWrittenTo(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.bay.returns = false
		d, other := newDevice("SN1"), newDevice("SN2")
		d.vanishes = true
		r.driver.do = func(p station.Phase, _ station.Vars) {
			if p == station.Restart {
				r.bay.programs.Go(func() {
					time.Sleep(time.Second) // of the bubble
					r.bay.plug(other)
				})
			}
		}
		r.start()
		r.want(r.put(d), station.Fail, "restart: another device: it says hardware id HW-SN2, want HW-SN1", "SN1", records.Burned)
		if len(other.received) > 0 {
			t.Error("the other device was sent a credential")
		}
	})
}

// A power is a power hook that acts on the bay.
type power struct {
	bay    *bay
	port   bool // the port vanishes with the power
	device *device
	calls  []bool
	err    error
}

func (p *power) turn(_ context.Context, on bool) error {
	p.calls = append(p.calls, on)
	switch {
	case p.err != nil:
		return p.err
	case p.port && !on:
		p.bay.pull()
	case p.port:
		p.bay.plug(p.device)
	case on:
		p.device.mu.Lock()
		defer p.device.mu.Unlock()
		p.device.restart()
	}
	return nil
}

// TestPowerCycle restarts a device by its power, on a port that vanishes with it
// and on one that stays.
func TestPowerCycle(t *testing.T) {
	for name, port := range map[string]bool{"port stays": false, "port vanishes": true} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) { cycles(t, r, port) })
		})
	}
}

func cycles(t *testing.T, r *rig, port bool) {
	r.batch("B1", 10)
	d := newDevice("SN1")
	p := &power{bay: r.bay, port: port, device: d}
	r.driver.cycles = true
	c := r.config()
	c.Power = p.turn
	opens, open := 0, c.Open
	c.Open = func(ctx context.Context) (station.Port, error) { opens++; return open(ctx) }
	s, err := station.New(c)
	if err != nil {
		t.Fatal(err)
	}
	r.run(s)
	r.want(r.put(d), station.Pass, "", "SN1", records.Sealed)
	if len(p.calls) != 2 || p.calls[0] || !p.calls[1] {
		t.Errorf("power was switched %v, want off and on", p.calls)
	}
	if want := map[bool]int{false: 1, true: 2}[port]; opens != want {
		t.Errorf("the port was opened %d times, want %d: what a device says first is lost with it", opens, want)
	}
}

func TestPowerFaults(t *testing.T) {
	for name, tt := range map[string]struct {
		p   *power
		err string
	}{
		"none":   {nil, "restart: slot can't switch the device's power"},
		"broken": {&power{err: errors.New("relay is stuck")}, "restart: switch power off: relay is stuck"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				r.driver.cycles = true
				c := r.config()
				if tt.p != nil {
					c.Power = tt.p.turn
				}
				s, err := station.New(c)
				if err != nil {
					t.Fatal(err)
				}
				r.run(s)
				r.want(r.put(newDevice("SN1")), station.Fail, tt.err, "SN1", records.Burned)
			})
		})
	}
}

// TestADriverCannotWaitBeyondItsStep lets a driver ask for all the time there is.
func TestADriverCannotWaitBeyondItsStep(t *testing.T) {
	for name, ask := range map[string]time.Time{"no deadline": {}, "a late one": time.Now().Add(1000 * time.Hour)} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				r.batch("B1", 10)
				d := newDevice("SN1")
				d.faults = map[station.Phase]fault{station.Prove: mute}
				r.driver.deadline = &ask
				r.start()
				began := time.Now()
				r.want(r.put(d), station.Fail, "prove: ", "SN1", records.Burned)
				if took := time.Since(began); took > 4*time.Minute {
					t.Errorf("the device was waited for %v", took)
				}
			})
		})
	}
}

// TestAPortIsClosedWhenItsDeviceIsDone keeps every port and tries it afterwards.
func TestAPortIsClosedWhenItsDeviceIsDone(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		c := r.config()
		var ports []station.Port
		open := c.Open
		c.Open = func(ctx context.Context) (station.Port, error) {
			p, err := open(ctx)
			ports = append(ports, p)
			return p, err
		}
		var link station.Link
		r.driver.link = func(l station.Link) { link = l }
		s, err := station.New(c)
		if err != nil {
			t.Fatal(err)
		}
		r.run(s)
		r.bay.plug(newDevice("SN1"))
		r.await(station.Pass)
		for i, p := range ports {
			if _, err := p.Write([]byte("x")); err == nil || !strings.Contains(err.Error(), "closed") {
				t.Errorf("write to port %d after its device was done = %v, want it closed", i+1, err)
			}
		}
		_, rerr := link.Port().Read(make([]byte, 1))
		_, werr := link.Port().Write([]byte("x"))
		if !errors.Is(rerr, os.ErrClosed) || !errors.Is(werr, os.ErrClosed) || link.Port().SetDeadline(time.Time{}) == nil {
			t.Errorf("the link of a device that is done answers %v and %v, want %v", rerr, werr, os.ErrClosed)
		}
		r.bay.pull()
		r.await(station.Empty)
	})
}

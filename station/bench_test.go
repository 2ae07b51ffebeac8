package station_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"mintmark/station"
)

// nothing is a port to nowhere.
type nothing struct{}

func (nothing) SetDeadline(time.Time) error { return nil }
func (nothing) Close() error                { return nil }
func (nothing) Read([]byte) (int, error)    { return 0, os.ErrDeadlineExceeded }
func (nothing) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkDevice measures our own time for a device, from its arrival to its
// result: everything but wire, device, printer and configured waits. The
// authority is the software one, the ledger is real and durable.
func BenchmarkDevice(b *testing.B) {
	for _, slots := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("slots=%d", slots), func(b *testing.B) { benchDevices(b, slots) })
	}
}

func benchDevices(b *testing.B, slots int) {
	r := newRig(b)
	defer r.close()
	r.batch("B1", 100_000_000)
	var mu sync.Mutex
	var took []time.Duration
	devices := make(chan int)
	var wg sync.WaitGroup
	for i := range slots {
		wg.Go(func() {
			one := benchSlot(b, r, i, devices)
			mu.Lock()
			defer mu.Unlock()
			took = append(took, one...)
		})
	}
	b.ResetTimer()
	for n := range max(b.N, slots) {
		devices <- n
	}
	close(devices)
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	at := func(p int) float64 { return float64(took[(len(took)-1)*p/100].Microseconds()) / 1000 }
	b.ReportMetric(at(50), "p50-ms")
	b.ReportMetric(at(99), "p99-ms")
	b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "devices/s")
}

// benchSlot runs one slot for the devices it gets, and returns what each took.
func benchSlot(b *testing.B, r *rig, slot int, devices <-chan int) (took []time.Duration) {
	ctx, stop := context.WithCancel(b.Context())
	defer stop()
	c := r.config()
	serials := make(chan string)
	gone := make(chan struct{})
	var serial string
	c.Slot, c.Log, c.Driver = fmt.Sprint(slot), nil, &instantDriver{serial: &serial}
	c.Open = func(context.Context) (station.Port, error) { return nothing{}, nil }
	c.Present = func(ctx context.Context, want bool) error {
		from := gone
		if want {
			select {
			case serial = <-serials:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		select {
		case <-from:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s, err := station.New(c)
	if err != nil {
		b.Error(err)
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for n := range devices {
		serials <- fmt.Sprintf("SN%09d", n)
		for {
			now, changed := s.Snapshot()
			if now.State == station.Pass {
				took = append(took, now.Takt)
				break
			}
			if now.State == station.Fail {
				b.Errorf("device %d: %s", n, now.Error)
				break
			}
			<-changed
		}
		gone <- struct{}{}
	}
	stop()
	if err := <-done; err != nil {
		b.Error(err)
	}
	return took
}

// An instantDriver answers at once for the device with the serial.
type instantDriver struct {
	driver
	serial *string // of the device in the slot; written before the slot sees it
}

func (d *instantDriver) Do(_ context.Context, _ station.Link, p station.Phase, v station.Vars) (station.Facts, error) {
	if p == station.Identify {
		return station.Facts{"hardware_id": "HW-" + *d.serial, "serial": *d.serial}, nil
	}
	return nil, nil
}

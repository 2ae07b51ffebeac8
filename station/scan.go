package station

import (
	"context"
	"errors"

	"mintmark/hsm/secret"
	"mintmark/records"
)

// A scan is what an operator scanned; its receiver closes it.
type scan = *secret.Value

// Scan hands an operator's scan to the slot if it waits for one, and fails with
// [ErrNotWaiting] if not. It takes code over, whatever it is: a serial number and
// a password look alike until the slot has judged them.
func (s *Slot) Scan(code *secret.Value) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wanted == nil {
		code.Close()
		return ErrNotWaiting
	}
	s.wanted <- code // has room for one
	s.unwantLocked()
	return nil
}

// await shows that the slot wants a scan, and returns it. It ends when ctx is
// done, when the station stops, and when the device leaves the slot.
func (j *job) await(ctx context.Context, what string) (scan, error) {
	codes := j.s.want(what)
	defer j.s.unwant(codes)
	select {
	case code := <-codes:
		return code, nil
	case <-j.link.left:
		return nil, j.link.present()
	case <-j.stop:
		return nil, Faultf("start the station, then put the device in again", "station is stopping")
	case <-ctx.Done():
		return nil, Faultf("put it in again and scan its "+what, "%s was not scanned within %v", what, j.s.cfg.Timeouts.Scan)
	}
}

// want makes the slot wait for a scan.
func (s *Slot) want(what string) chan scan {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wanted = make(chan scan, 1)
	s.updateLocked(func(n *Snapshot) { n.State, n.Scan = WaitScan, what })
	return s.wanted
}

// unwant ends the wait and wipes a scan that came too late.
func (s *Slot) unwant(codes chan scan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case code := <-codes:
		code.Close()
	default:
	}
	if s.wanted != nil {
		s.unwantLocked()
	}
}

func (s *Slot) unwantLocked() {
	s.wanted = nil
	s.updateLocked(func(n *Snapshot) { n.State, n.Scan = Running, "" })
}

// scanSerial asks the operator for the serial number of the device.
func (j *job) scanSerial(ctx context.Context) error {
	for {
		code, err := j.await(ctx, "serial")
		if err != nil {
			return err
		}
		serial, err := j.serialOf(code)
		if err == nil {
			j.sees(serial)
			return nil
		}
		j.s.update(func(n *Snapshot) { n.Error = "scan: " + err.Error() })
	}
}

// serialOf judges a scan before it makes a copy that nobody wipes, and says
// nothing of what was scanned: it may be a label's secret.
func (j *job) serialOf(code scan) (string, error) {
	defer code.Close()
	errWrong := errors.New("this is no serial number of the product, want the one on the device")
	if code.Len() > records.MaxSerial || j.product().CheckSerial(code.Bytes()) != nil {
		return "", errWrong
	}
	serial, err := records.ParseSerial(string(code.Bytes()))
	if err != nil {
		return "", errWrong
	}
	return serial, nil
}

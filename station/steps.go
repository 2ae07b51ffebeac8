package station

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"mintmark/hsm/secret"
	"mintmark/records"
)

// maxDraws bounds how often a small space is drawn from for one device.
const maxDraws = 20

// identify asks the device what it is.
func (j *job) identify(ctx context.Context) error {
	f, err := j.drive(ctx, Identify, j.vars)
	if err != nil {
		return err
	}
	if f["hardware_id"] != "" {
		if j.hardware, err = records.ParseHardwareID(f["hardware_id"]); err != nil {
			return err
		}
		j.vars.Plain["hardware_id"] = j.hardware
	}
	j.firmware = printable(f["firmware"], 64)
	switch p := j.product(); p.SerialFrom {
	case FromDevice:
		serial, err := parseSerial(p, f["serial"])
		if err != nil {
			return err
		}
		j.sees(serial)
	case FromCounter:
		if j.hardware == "" {
			return Faultf("call a technician: the profile must read one",
				"device said no hardware id, want one where serials come from a counter")
		}
	}
	return nil
}

func parseSerial(p *Product, s string) (string, error) {
	serial, err := records.ParseSerial(s)
	if err == nil && p.CheckSerial != nil {
		err = p.CheckSerial([]byte(serial))
	}
	return serial, err
}

// sees notes the serial of the device and shows it.
func (j *job) sees(serial string) {
	j.serial = serial
	j.vars.Plain["serial"] = serial
	j.s.update(func(n *Snapshot) { n.Serial = serial })
}

// same makes sure that the device that was identified is still the one in the
// slot, before anything else is sent to it.
func (j *job) same(ctx context.Context) error {
	f, err := j.drive(ctx, Identify, j.vars)
	if err != nil {
		return err
	}
	if f["hardware_id"] == "" && j.hardware != "" {
		return j.another("no hardware id", j.hardware)
	}
	if j.product().SerialFrom == FromDevice && f["serial"] == "" {
		return j.another("no serial", j.serial)
	}
	return nil
}

func (j *job) another(got, want string) error {
	return Faultf("set both devices aside, and put in one device until the slot shows its result",
		"%w: it says %s, want %s", ErrAnother, got, want)
}

// known compares every fact that a device gives with what it said at first.
func (j *job) known(f Facts) error {
	if id := f["hardware_id"]; id != "" && j.hardware != "" && id != j.hardware {
		return j.another("hardware id "+printable(id, 64), j.hardware)
	}
	if s := f["serial"]; s != "" && j.product().SerialFrom == FromDevice && j.serial != "" && s != j.serial {
		return j.another("serial "+printable(s, records.MaxSerial), j.serial)
	}
	return nil
}

// drive has the driver carry out a phase. Nothing that a device sends ends the
// process: a driver that panics over it is a device that failed.
func (j *job) drive(ctx context.Context, p Phase, v Vars) (f Facts, err error) {
	defer func() {
		if r := recover(); r != nil {
			j.s.log.ErrorContext(ctx, "driver panicked", "phase", string(p), "panic", j.redact(fmt.Errorf("%v", r)))
			f, err = nil, Faultf("call a technician: see the station's log", "internal error in the driver")
		}
	}()
	if err := j.link.bound(ctx); err != nil {
		return nil, lostFault(err)
	}
	f, err = j.s.cfg.Driver.Do(ctx, j.link, p, v)
	switch {
	case err == nil:
		return f, j.known(f)
	case j.link.lost() && !errors.Is(err, ErrAccepted):
		return nil, lostFault(err)
	}
	return nil, err
}

func lostFault(err error) error {
	return Faultf("check cable and contacts, then put the device in again", "connection lost: %w", err)
}

// interlock asks the ledger whether this device may be worked here now.
func (j *job) interlock(ctx context.Context) error {
	p := j.product()
	j.sight = records.Sight{Product: p.Product, Serial: j.serial, HardwareID: j.hardware}
	if p.SerialFrom == FromCounter {
		j.sight.Counter = p.Counter
	}
	err := j.s.ledger("interlock", func() (err error) {
		j.clear, err = j.s.cfg.Ledger.Interlock(ctx, j.sight)
		return err
	})
	if err != nil {
		return err
	}
	if j.clear.Serial != "" {
		j.sees(j.clear.Serial)
	}
	j.plan = j.provisioning()
	j.s.update(func(n *Snapshot) { n.Batch, n.Trial = j.clear.Batch, j.clear.Trial })
	return nil
}

// recall fetches what a device in rework held until now, as far as the ledger
// still can: it must be refused afterwards.
func (j *job) recall(ctx context.Context) error {
	if j.clear.Device == nil || j.clear.Device.Rework == nil {
		return nil
	}
	var err error
	j.before, err = j.recalled(ctx)
	return err
}

// recalled returns the imported values of the device, or none.
func (j *job) recalled(ctx context.Context) (values map[string]*secret.Value, err error) {
	err = j.s.ledger("recall", func() error {
		values, err = j.s.cfg.Ledger.Recall(ctx, j.product().Product, j.clear.Serial)
		return err
	})
	if errors.Is(err, records.ErrNotFound) {
		err = nil
	}
	return values, err
}

// assign claims fresh values and binds all values to the device. A value of a
// small space may have been used before and is drawn again; a large space that
// repeats itself is a generator that can't be trusted.
func (j *job) assign(ctx context.Context) error {
	for draws := 1; ; draws++ {
		if err := j.draw(ctx); err != nil {
			return err
		}
		err := j.claim(ctx)
		var reuse *records.ReuseError
		if !errors.As(err, &reuse) {
			return err
		}
		if err := j.mayRedraw(ctx, reuse, draws); err != nil {
			return err
		}
		j.vars.Secret[reuse.Credential].Close()
		delete(j.vars.Secret, reuse.Credential)
	}
}

// draw makes the generated values that are missing.
func (j *job) draw(ctx context.Context) error {
	for _, c := range j.product().Credentials {
		if c.Origin != records.Generated || j.vars.Secret[c.Name] != nil {
			continue
		}
		v, err := j.s.cfg.Source.Draw(ctx, c.Name)
		if err != nil {
			return Faultf("call a technician: mintmark doctor says more", "draw %s: %w", c.Name, err)
		}
		j.vars.Secret[c.Name] = v
	}
	return nil
}

// claim makes the durable facts, and takes over what the row held.
func (j *job) claim(ctx context.Context) error {
	r := records.AssignRequest{
		Sight: j.sight, Clearance: j.clear, Generated: maps.Clone(j.vars.Secret), Authority: j.s.cfg.Source.ID(),
		Where: records.Where{Station: j.s.cfg.Name, Slot: j.s.cfg.Slot},
	}
	err := j.s.ledger("assign", func() (err error) {
		j.assigned, err = j.s.cfg.Ledger.Assign(ctx, r)
		return err
	})
	if err != nil {
		return err
	}
	maps.Copy(j.vars.Secret, j.assigned.Values)
	j.vars.Plain["label"] = j.assigned.Label
	j.sees(j.assigned.Serial)
	j.planReset()
	j.s.update(func(n *Snapshot) { n.Attempt = j.assigned.Attempt })
	return nil
}

// mayRedraw returns nil if the value may be drawn again. A repetition in 60 bits
// and more stops the line (R-LED-06): it can't be chance.
func (j *job) mayRedraw(ctx context.Context, reuse *records.ReuseError, draws int) error {
	i := slices.IndexFunc(j.product().Credentials, func(s records.Spec) bool { return s.Name == reuse.Credential })
	if i < 0 || j.product().Credentials[i].Origin != records.Generated {
		return reuse
	}
	spec := j.product().Credentials[i]
	if spec.Bits >= 60 {
		return errors.Join(Faultf("stop the line and call security: don't ship what was made since the generator was last known to be good",
			"%w: a generated value of %.1f bits came twice, the generator can't be trusted: %w", ErrStop, spec.Bits, reuse),
			j.hold(ctx, "a generated value came twice"))
	}
	if draws >= maxDraws {
		return Faultf("call a technician: the space of this credential is nearly used up",
			"%d values of %s in a row were used before: %w", draws, spec.Name, reuse)
	}
	return nil
}

// hold stops new devices of the batch, whichever slot they are in.
func (j *job) hold(ctx context.Context, why string) error {
	err := j.s.ledger("hold", func() error {
		_, err := j.s.cfg.Ledger.HoldBatch(ctx, j.clear.Batch, why+", serial "+j.serial, j.s.actor())
		return err
	})
	if errors.Is(err, records.ErrRefused) { // it is held or closing already
		return nil
	}
	return err
}

func (s *Slot) actor() records.Actor { return records.Actor{Name: "station", UID: os.Getuid()} }

// derive makes the verifiers that the device stores instead of values.
func (j *job) derive(ctx context.Context) error {
	for _, c := range j.product().Credentials {
		if j.vars.Secret[c.Name] == nil {
			continue // of a device seen again, and not needed
		}
		v, err := j.s.cfg.Source.Verifier(ctx, c.Name, j.vars.Secret[c.Name])
		if err != nil {
			return Faultf("call a technician: mintmark doctor says more", "derive verifier of %s: %w", c.Name, err)
		}
		if v != nil {
			j.vars.Secret[c.Name+".verifier"] = v
		}
	}
	return nil
}

func (j *job) inject(ctx context.Context) error { return j.simple(ctx, Inject) }

func (j *job) restart(ctx context.Context) error { return j.simple(ctx, Restart) }

func (j *job) prove(ctx context.Context) error { return j.simple(ctx, Prove) }

func (j *job) reset(ctx context.Context) error { return j.simple(ctx, Reset) }

func (j *job) lock(ctx context.Context) error { return j.simple(ctx, Lock) }

func (j *job) simple(ctx context.Context, p Phase) error {
	_, err := j.drive(ctx, p, j.vars)
	return err
}

// refuseOld makes sure that the device refuses what others know: the factory's
// credentials, and its own from before a rework.
func (j *job) refuseOld(ctx context.Context) error {
	if err := j.refuseAll(ctx, "old", j.product().Old); err != nil {
		return err
	}
	for name, v := range j.before {
		user := j.product().Users[name]
		if user == "" {
			continue // no login can be tried with it
		}
		if err := j.refuse(ctx, user, v.Bytes()); err != nil {
			return fmt.Errorf("%s from before the rework: %w", name, err)
		}
	}
	return nil
}

func (j *job) refuseAll(ctx context.Context, what string, list []Candidate) error {
	for i, c := range list {
		if err := j.refuse(ctx, c.User, []byte(c.Password)); err != nil {
			return fmt.Errorf("%s credential %d of %d: %w", what, i+1, len(list), err)
		}
	}
	return nil
}

// refuse tries one candidate. The driver gets nothing else that is secret.
func (j *job) refuse(ctx context.Context, user string, password []byte) error {
	ctx, cancel := context.WithTimeout(ctx, j.s.cfg.Timeouts.Refuse)
	defer cancel()
	v := Vars{Plain: j.vars.Plain, Secret: map[string]*secret.Value{
		"candidate.user": secret.Join([]byte(user)), "candidate": secret.Join(password),
	}}
	defer v.Secret["candidate.user"].Close()
	defer v.Secret["candidate"].Close()
	_, err := j.drive(ctx, Refuse, v)
	return err
}

package station

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"mintmark/hsm/secret"
	"mintmark/records"
	"mintmark/station/label"
)

// again is the path of a device that has credentials: nothing new is assigned.
// It passes only by proving that it still holds them. A doubtful one may have
// lost power before its lock, so it is locked now; a relabelled one gets the label
// of what it proved to hold.
func (j *job) again(ctx context.Context) (err error) {
	doubtful := j.clear.Device != nil && j.clear.Device.State == records.Doubtful
	relabel := j.clear.Do == records.DoRelabel
	j.plan = j.recognising(doubtful, relabel)
	if relabel && j.product().Label == nil {
		return &StepError{stepInterlock, Faultf("order another kind of rework", "relabel: the product has no label here")}
	}
	proved := false
	defer func() { err = j.sighted(ctx, proved, err) }()
	if err := j.do(ctx, stepRecognise, j.recognise, j.same); err != nil {
		return err
	}
	if err := j.do(ctx, stepProve, j.reprove, j.refuseOld); err != nil {
		return err
	}
	if err := j.do(ctx, stepLabel, j.ready, j.markRelabel, j.fill, j.print, j.same); err != nil {
		return err
	}
	if err := j.do(ctx, stepLock, j.same, j.lock); err != nil {
		return err
	}
	proved = true
	return nil
}

// sighted records that the device was seen, and whether it proved what it holds.
func (j *job) sighted(ctx context.Context, proved bool, err error) error {
	proof := ""
	if proved {
		proof = j.product().Proof
		j.begins(stepSettle)
	}
	ctx, cancel := context.WithTimeout(ctx, j.s.cfg.Timeouts.Settle)
	defer cancel()
	where := records.Where{Station: j.s.cfg.Name, Slot: j.s.cfg.Slot}
	serr := j.s.ledger("seen", func() (err error) {
		j.outcome, err = j.s.cfg.Ledger.Seen(ctx, j.product().Product, j.clear.Serial, proof, where)
		return err
	})
	switch {
	case serr != nil:
		return errors.Join(err, &StepError{stepSettle, serr})
	case proved && j.clear.Do == records.DoRelabel:
		j.result = "label " + j.vars.Plain["label"] + " printed" + j.destroy(j.clear.Device.Labels())
	case proved:
		j.result = "already done" + j.destroy(j.stray())
	case err != nil && j.marked == records.Labelling:
		return &Fault{err, "destroy label " + j.vars.Plain["label"] + "; " + remedyOf(err)}
	}
	return err
}

// stray are the labels of a doubtful device's earlier attempts: nobody was told to
// destroy them yet, if the power failed. Those of a sealed one may be its own.
func (j *job) stray() []string {
	if j.clear.Device.State != records.Doubtful {
		return nil
	}
	return slices.DeleteFunc(j.clear.Device.Labels(), func(l string) bool { return l == j.vars.Plain["label"] })
}

// markRelabel makes the durable mark before a label is printed, and gives the
// label its number.
func (j *job) markRelabel(ctx context.Context) error {
	return j.s.ledger("mark labelling", func() error {
		number, err := j.s.cfg.Ledger.SetRelabelMark(ctx, j.product().Product, j.clear.Serial)
		if err == nil {
			j.vars.Plain["label"], j.marked = number, records.Labelling
		}
		return err
	})
}

func (j *job) recognising(doubtful, relabel bool) []string {
	return j.only(map[string]bool{
		stepScan: j.product().SerialFrom == FromScan, stepLabel: relabel, stepLock: doubtful && j.s.cfg.Driver.Has(Lock),
	}, stepDetect, stepIdentify, stepScan, stepInterlock, stepRecognise, stepProve, stepLabel, stepLock, stepSettle)
}

// recognise finds the values that the device should hold: in its row while that
// is recoverable, otherwise on its label.
func (j *job) recognise(ctx context.Context) error {
	values, err := j.recalled(ctx)
	if err != nil {
		return err
	}
	maps.Copy(j.vars.Secret, values)
	j.vars.Plain["label"] = j.heldLabel()
	for missing := j.missing(); len(missing) > 0; missing = j.missing() {
		if err := j.scanLabel(ctx, missing); err != nil {
			return Faultf("scan its label, or have a supervisor order a rework",
				"%s earlier, not re-proved: %w", j.earlier(), err)
		}
	}
	return j.derive(ctx)
}

// missing lists the credentials that the proof, or a new label, needs and nobody
// has given yet.
func (j *job) missing() []string {
	needs := j.s.cfg.Driver.Needs(Prove)
	if j.clear.Do == records.DoRelabel {
		needs = append(slices.Clone(needs), j.product().Label.Credentials()...)
	}
	var missing []string
	for _, c := range j.product().Credentials {
		needed := slices.Contains(needs, c.Name) || slices.Contains(needs, c.Name+".verifier")
		if needed && j.vars.Secret[c.Name] == nil {
			missing = append(missing, c.Name)
		}
	}
	return missing
}

// scanLabel takes one scan of the operator's and keeps what the ledger
// recognises of it.
func (j *job) scanLabel(ctx context.Context, missing []string) error {
	if t := j.product().Label; t != nil && !slices.ContainsFunc(missing, func(m string) bool {
		return slices.Contains(t.Credentials(), m)
	}) {
		return fmt.Errorf("its label does not have %s", missing[0])
	}
	code, err := j.await(ctx, "label")
	if err != nil {
		return err
	}
	defer code.Close()
	readings := j.readings(code, missing)
	defer func() {
		for _, r := range readings {
			r.Value.Close()
		}
	}()
	found := false
	for i, r := range readings {
		if j.vars.Secret[r.Credential] != nil {
			continue
		}
		known, err := j.recognised(ctx, r.Credential, r.Value)
		if err != nil {
			return err
		}
		if known {
			j.vars.Secret[r.Credential], readings[i].Value, found = r.Value, nil, true
		}
	}
	if !found {
		j.s.update(func(n *Snapshot) { n.Error = "scan: this is not the label of this device" })
	}
	return nil
}

// readings are the values that a scan may hold. Without a label of ours it holds
// one value and nothing else.
func (j *job) readings(code scan, missing []string) []label.Reading {
	var all []label.Reading
	if t := j.product().Label; t != nil {
		for _, number := range append(j.clear.Device.Labels(), j.vars.Plain["label"]) {
			all = addReadings(all, t.Read(code, j.labelFields(number)))
		}
		return all
	}
	for _, name := range missing {
		all = append(all, label.Reading{Credential: name, Value: secret.Join(code.Bytes())})
	}
	return all
}

// addReadings adds those that are not there yet: each costs a question.
func addReadings(all, more []label.Reading) []label.Reading {
	for _, r := range more {
		if slices.ContainsFunc(all, func(had label.Reading) bool { return had.Credential == r.Credential && had.Value.Equal(r.Value) }) {
			r.Value.Close()
			continue
		}
		all = append(all, r)
	}
	return all
}

func (j *job) recognised(ctx context.Context, credential string, v *secret.Value) (known bool, err error) {
	err = j.s.ledger("recognise", func() error {
		known, err = j.s.cfg.Ledger.Recognise(ctx, j.product().Product, j.clear.Serial, credential, v, j.s.actor())
		return err
	})
	return known, err
}

// reprove is prove, for a device that has proved it before.
func (j *job) reprove(ctx context.Context) error {
	err := j.prove(ctx)
	if err == nil || j.link.lost() || errors.Is(err, ErrAnother) {
		return err
	}
	return Faultf("set it aside for quality; a supervisor may order a rework",
		"%s earlier, but it does not prove what it should hold: %w", j.earlier(), err)
}

func (j *job) earlier() string {
	if j.clear.Device.State == records.Doubtful {
		return "left in doubt"
	}
	return "sealed"
}

// heldLabel is the number of the label that the device got together with what it
// holds.
func (j *job) heldLabel() string {
	if d := j.clear.Device; d != nil {
		for _, a := range slices.Backward(d.Attempts) {
			if a.Outcome == records.Sealed || a.Outcome == records.Doubtful {
				return a.Label
			}
		}
	}
	return ""
}

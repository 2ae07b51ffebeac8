package station

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mintmark/hsm/secret"
	"mintmark/records"
)

// The steps of the path. scan belongs to products whose serial is scanned,
// recognise to devices that are seen again.
const (
	stepDetect    = "detect"
	stepIdentify  = "identify"
	stepScan      = "scan"
	stepInterlock = "interlock"
	stepRecognise = "recognise"
	stepAssign    = "assign"
	stepInject    = "inject"
	stepRestart   = "restart"
	stepProve     = "prove"
	stepReset     = "reset probe"
	stepLabel     = "label"
	stepLock      = "lock"
	stepSettle    = "settle"
)

// A job is one device on its path. It belongs to the goroutine of the slot.
type job struct {
	s    *Slot
	link *link
	stop <-chan struct{} // closed when the station stops: wait for no one

	hardware string // what the device said it is
	serial   string
	firmware string
	sight    records.Sight
	clear    records.Clearance
	assigned *records.Assignment
	outcome  records.DeviceState

	vars   Vars                     // closed at the end
	before map[string]*secret.Value // in rework: what the device held until now; closed at the end
	zpl    *secret.Value            // closed at the end

	plan   []string // steps, in order
	step   string   // the one under way, or the one that failed
	steps  []records.Step
	marked records.Mark
	proved bool   // this very device holds its credentials
	result string // of a PASS
	text   string // of a FAIL
}

func newJob(s *Slot, l *link, stop <-chan struct{}) *job {
	j := &job{s: s, link: l, stop: stop}
	j.vars = Vars{Plain: map[string]string{"product": j.product().ID}, Secret: map[string]*secret.Value{}}
	j.plan = j.provisioning()
	return j
}

func (j *job) product() *Product { return &j.s.cfg.Product }

// run takes the path and leaves nothing behind: no open port, no secret. The
// text of the error is made while the secrets that it must not have are known.
func (j *job) run(ctx context.Context) error {
	defer j.wipe()
	defer j.link.close() // whatever it says: nothing more is sent or read
	j.s.update(func(n *Snapshot) { *n = n.emptied(); n.State = Identifying })
	err := j.path(ctx)
	j.text = j.redact(err)
	return err
}

// path is the security argument, read from top to bottom. The package comment
// says why the steps are in this order; docs/architecture.md has the table of
// what is found when power fails between any two of them.
func (j *job) path(ctx context.Context) (err error) {
	if err := j.do(ctx, stepDetect, j.link.open); err != nil {
		return err
	}
	if err := j.do(ctx, stepIdentify, j.identify); err != nil {
		return err
	}
	if err := j.do(ctx, stepScan, j.scanSerial, j.same); err != nil {
		return err
	}
	if err := j.do(ctx, stepInterlock, j.interlock); err != nil {
		return err
	}
	if j.clear.Do != records.DoProvision {
		return j.again(ctx)
	}
	if err := j.do(ctx, stepAssign, j.recall, j.assign); err != nil {
		return err
	}

	// Credentials are bound to this device now, so every way out settles them.
	sealed := false
	defer func() { err = j.settle(ctx, sealed, err) }()

	if err := j.do(ctx, stepInject, j.derive, j.same, j.mark(records.Injecting), j.inject); err != nil {
		return err
	}
	if err := j.do(ctx, stepRestart, j.restart, j.same); err != nil {
		return err
	}
	if err := j.do(ctx, stepProve, j.prove, j.refuseOld); err != nil {
		return err
	}
	j.proved = true
	if err := j.do(ctx, stepReset, j.reset, j.same, j.proveReset, j.setProbed); err != nil {
		return err
	}
	if err := j.do(ctx, stepLabel, j.ready, j.mark(records.Labelling), j.print, j.same); err != nil {
		return err
	}
	if err := j.do(ctx, stepLock, j.same, j.mark(records.Locking), j.lock); err != nil {
		return err
	}
	sealed = true
	return nil
}

// provisioning lists the steps that this product has. A golden device is used
// again, so a trial doesn't lock it, and prints no label that could end on a
// product.
func (j *job) provisioning() []string {
	p, d := j.product(), j.s.cfg.Driver
	return j.only(map[string]bool{
		stepScan: p.SerialFrom == FromScan, stepReset: false, stepLabel: p.Label != nil && !j.clear.Trial,
		stepLock: d.Has(Lock) && !j.clear.Trial,
	}, stepDetect, stepIdentify, stepScan, stepInterlock, stepAssign, stepInject, stepRestart, stepProve,
		stepReset, stepLabel, stepLock, stepSettle)
}

// only leaves out the steps that has says are not there.
func (*job) only(has map[string]bool, steps ...string) []string {
	return slices.DeleteFunc(steps, func(s string) bool { is, named := has[s]; return named && !is })
}

// do carries out one step of the plan: its acts in order, under one deadline,
// named in the error.
func (j *job) do(ctx context.Context, step string, acts ...func(context.Context) error) error {
	if !slices.Contains(j.plan, step) {
		return nil
	}
	j.begins(step)
	ctx, cancel := context.WithTimeout(ctx, j.limit(step))
	defer cancel()
	start := time.Now()
	err := j.link.present()
	for _, act := range acts {
		if err != nil {
			break
		}
		err = act(ctx)
	}
	j.steps = append(j.steps, records.Step{Name: step, Start: start.UTC(), Took: time.Since(start), Err: j.redact(err)})
	if err != nil {
		return &StepError{step, err}
	}
	return nil
}

// begins shows the step.
func (j *job) begins(step string) {
	j.step = step
	j.s.update(func(n *Snapshot) {
		n.Step, n.StepIndex, n.StepTotal = step, slices.Index(j.plan, step)+1, len(j.plan)
		n.Error = ""
		if step != stepDetect && step != stepIdentify {
			n.State = Running
		}
	})
}

// limit is the deadline of a step. Those that speak to the device several times
// have as much for each.
func (j *job) limit(step string) time.Duration {
	t, p := j.s.cfg.Timeouts, j.product()
	prove := t.Prove + time.Duration(len(p.Old)+len(p.Credentials))*t.Refuse
	return map[string]time.Duration{
		stepDetect:    t.Open,
		stepIdentify:  t.Identify,
		stepScan:      t.Scan + t.Identify,
		stepInterlock: t.Interlock,
		stepRecognise: t.Scan + t.Identify,
		stepAssign:    t.Assign,
		stepInject:    t.Inject,
		stepRestart:   t.Restart + t.Identify,
		stepProve:     prove,
		stepReset:     t.Reset + t.Identify + prove + time.Duration(len(p.Universal))*t.Refuse,
		stepLabel:     t.Label,
		stepLock:      t.Lock + t.Identify,
	}[step]
}

// mark makes a durable mark before the effect that follows it.
func (j *job) mark(m records.Mark) func(context.Context) error {
	return func(ctx context.Context) error {
		err := j.s.ledger("mark "+string(m), func() error { return j.s.cfg.Ledger.SetMark(ctx, j.assigned, m) })
		if err == nil {
			j.marked = m
		}
		return err
	}
}

// settle ends the attempt. An outcome that can't be recorded stops the line.
func (j *job) settle(ctx context.Context, sealed bool, err error) error {
	if sealed {
		j.begins(stepSettle)
	}
	ctx, cancel := context.WithTimeout(ctx, j.s.cfg.Timeouts.Settle)
	defer cancel()
	if !sealed && err == nil {
		err = errors.New("internal error") // a panic is on its way
	}
	reason := j.redact(err)
	if sealed && j.clear.Trial {
		reason = trialText // why it was burned
	}
	var serr error
	j.outcome, serr = j.settled(ctx, records.Settlement{
		Sealed: sealed, Reason: reason, Proof: j.product().Proof,
		Firmware: j.firmware, Steps: j.steps, Strayed: !j.proved && errors.Is(err, ErrAnother),
	})
	if serr != nil {
		if !errors.Is(serr, ErrStop) {
			serr = fmt.Errorf("%w: %w", ErrStop, serr)
		}
		return errors.Join(err, &StepError{stepSettle, fmt.Errorf("attempt %d of %s: %w", j.assigned.Attempt, j.serial, serr)})
	}
	if err != nil {
		return j.advise(err)
	}
	j.result = j.congratulate()
	return nil
}

func (j *job) settled(ctx context.Context, s records.Settlement) (state records.DeviceState, err error) {
	err = j.s.ledger("settle", func() error {
		state, err = j.s.cfg.Ledger.Settle(ctx, j.assigned, s)
		return err
	})
	return state, err
}

// trialText is what a trial leaves out, for the operator and the record.
const trialText = "trial: not labelled, not locked"

// congratulate is the text of a PASS.
func (j *job) congratulate() string {
	text := "sealed"
	switch {
	case j.clear.Trial:
		text = trialText + "; nothing is released, do not ship it"
	case j.product().Label != nil:
		text = "sealed, label " + j.assigned.Label
	}
	if j.clear.Device != nil {
		text += j.destroy(j.clear.Device.Labels())
	}
	return text
}

// destroy names the labels of earlier attempts and reprints that may exist and are
// worth nothing now.
func (j *job) destroy(labels []string) string {
	switch {
	case len(labels) == 0 || j.product().Label == nil:
		return ""
	case len(labels) == 1:
		return "; destroy the old label " + labels[0]
	}
	return "; destroy the old labels " + strings.Join(labels, ", ")
}

// advise adds to the remedy what became of the device's label and credentials.
func (j *job) advise(err error) error {
	remedy := remedyOf(err)
	if j.product().Label == nil || j.marked == records.NotMarked || j.marked == records.Injecting {
		return err
	}
	if j.outcome == records.Doubtful {
		return &Fault{err, "keep label " + j.assigned.Label + " with the device; " + remedy}
	}
	return &Fault{err, "destroy label " + j.assigned.Label + "; " + remedy}
}

// wipe ends every secret of the job.
func (j *job) wipe() {
	for _, m := range []map[string]*secret.Value{j.vars.Secret, j.before} {
		for _, v := range m {
			v.Close()
		}
		clear(m)
	}
	j.zpl.Close()
	j.zpl = nil
}

func (j *job) attempt() int {
	if j.assigned == nil {
		return 0
	}
	return j.assigned.Attempt
}

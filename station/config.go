package station

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"mintmark/records"
	"mintmark/station/label"
)

// A SerialSource says where the serial of a device comes from.
type SerialSource string

// The sources of a serial.
const (
	FromDevice  SerialSource = "device"
	FromScan    SerialSource = "scan"
	FromCounter SerialSource = "counter"
)

// A Candidate is a credential that a device must refuse: one that is the same on
// every device, from the factory or from a dictionary. It is no secret.
type Candidate struct {
	User     string
	Password string
}

// A Product is what a slot must know of a profile.
type Product struct {
	records.Product

	SerialFrom  SerialSource
	Counter     string                    // for FromCounter: a format with one %d
	CheckSerial func(serial []byte) error // the profile's pattern; nil accepts what [records.ParseSerial] does
	Users       map[string]string         // user name by credential, where it has one
	Proof       string                    // proof class: signature, login, stored-verifier
	Old         []Candidate               // refused by every device
	ResetShare  float64                   // share of a batch that is probed by a factory reset, 0 to 1
	Universal   []Candidate               // refused after a factory reset, as Old is
	Label       *label.Template           // nil: the label is made elsewhere
}

// Timeouts are the deadlines of the steps. Zero means the default.
type Timeouts struct {
	Open      time.Duration // 5 s: the port of a device that is there
	Identify  time.Duration // 60 s, the boot of a device included
	Interlock time.Duration // 15 s
	Assign    time.Duration // 15 s
	Inject    time.Duration // 60 s
	Restart   time.Duration // 180 s
	Prove     time.Duration // 60 s
	Refuse    time.Duration // 30 s for each candidate
	Reset     time.Duration // 180 s
	Label     time.Duration // 60 s, with the wait for a shared printer
	Lock      time.Duration // 60 s
	Settle    time.Duration // 30 s
	Scan      time.Duration // 60 s for the operator
	Vanish    time.Duration // 2 s: how long a port may take to disappear when its device restarts
	Linger    time.Duration // 3 s: how long a FAIL is shown at least
}

// Config is what a slot is made of.
type Config struct {
	Name    string // the station's, for the record
	Slot    string // the slot's
	Product Product
	Ledger  *records.Ledger
	Driver  Driver
	Source  Source
	Printer Printer // required with a label

	// Open opens the port of the device in the slot.
	Open func(ctx context.Context) (Port, error)

	// Present waits until a device is in the slot, or with want false until the
	// one that is there now has left, also when another took its place. It fails
	// only when ctx is done or the slot can't be watched.
	Present func(ctx context.Context, want bool) error

	// Power switches the device's power. Nil: the slot has no power control.
	Power func(ctx context.Context, on bool) error

	Timeouts Timeouts
	Log      *slog.Logger // nil means discard
}

// check reports everything that is missing or wrong at once.
func (c Config) check() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	want(c.Name != "", "station has no name")
	want(c.Slot != "", "slot has no name")
	want(c.Ledger != nil, "slot %s has no ledger", c.Slot)
	want(c.Open != nil, "slot %s has no way to open its port", c.Slot)
	want(c.Present != nil, "slot %s has no way to watch for devices", c.Slot)
	want(c.Source != nil, "slot %s has no source of credentials", c.Slot)
	want(c.Product.Label == nil || c.Printer != nil, "product %s has a label, slot %s has no printer", c.Product.ID, c.Slot)
	errs = append(errs, c.Product.check())
	if c.Driver == nil {
		errs = append(errs, fmt.Errorf("slot %s has no driver", c.Slot))
	} else {
		errs = append(errs, c.Product.checkDriver(c.Driver))
	}
	return errors.Join(errs...)
}

func (p Product) check() error {
	var errs []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("product %s: "+format, append([]any{p.ID}, args...)...))
		}
	}
	want(p.ID != "", "has no id")
	want(len(p.Credentials) > 0, "has no credentials")
	want(p.Proof == "signature" || p.Proof == "login" || p.Proof == "stored-verifier",
		"proof is %q, want signature, login or stored-verifier", p.Proof)
	want(p.Proof != "login" || len(p.Old) > 0, "proof by login wants at least one old credential that must be refused")
	want(p.ResetShare >= 0 && p.ResetShare <= 1, "share of reset probes is %v, want 0 to 1", p.ResetShare)
	want(p.ResetShare == 0 || len(p.Old)+len(p.Universal) > 0, "reset probe wants universal credentials that must be refused")
	switch p.SerialFrom {
	case FromDevice, FromCounter:
		want(p.SerialFrom != FromCounter || p.Counter != "", "serial from a counter wants its format")
	case FromScan: // a label's secret scanned by mistake must not become a serial
		want(p.CheckSerial != nil, "a scanned serial wants a pattern, or a password scanned by mistake would pass for one")
	default:
		want(false, "serial from %q, want device, scan or counter", p.SerialFrom)
	}
	return errors.Join(errs...)
}

// checkDriver reports the phases that the product needs and d doesn't have.
func (p Product) checkDriver(d Driver) error {
	need := []Phase{Identify, Inject, Restart, Prove}
	if len(p.Old) > 0 || p.ResetShare > 0 {
		need = append(need, Refuse)
	}
	if p.ResetShare > 0 {
		need = append(need, Reset)
	}
	var errs []error
	for _, phase := range need {
		if !d.Has(phase) {
			errs = append(errs, fmt.Errorf("product %s: driver has no phase %s", p.ID, phase))
		}
	}
	for _, phase := range []Phase{Inject, Prove} { // what is injected and not proved would be sealed unseen
		used := d.Needs(phase)
		for _, c := range p.Credentials {
			if !slices.Contains(used, c.Name) && !slices.Contains(used, c.Name+".verifier") {
				errs = append(errs, fmt.Errorf("product %s: driver never %ss credential %s", p.ID, phase, c.Name))
			}
		}
	}
	return errors.Join(errs...)
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		t    *time.Duration
		zero time.Duration
	}{
		{&t.Open, 5 * time.Second}, {&t.Identify, time.Minute}, {&t.Interlock, 15 * time.Second},
		{&t.Assign, 15 * time.Second}, {&t.Inject, time.Minute}, {&t.Restart, 3 * time.Minute},
		{&t.Prove, time.Minute}, {&t.Refuse, 30 * time.Second}, {&t.Reset, 3 * time.Minute},
		{&t.Label, time.Minute}, {&t.Lock, time.Minute}, {&t.Settle, 30 * time.Second},
		{&t.Scan, time.Minute}, {&t.Vanish, 2 * time.Second}, {&t.Linger, 3 * time.Second},
	} {
		if *d.t == 0 {
			*d.t = d.zero
		}
	}
	return t
}

package station_test

import (
	"strings"
	"testing"

	"mintmark/records"
	"mintmark/station"
)

func TestNewReportsAllThatIsMissingAtOnce(t *testing.T) {
	_, err := station.New(station.Config{})
	const want = `station has no name
slot has no name
slot  has no ledger
slot  has no way to open its port
slot  has no way to watch for devices
slot  has no source of credentials
product : has no id
product : has no credentials
product : proof is "", want signature, login or stored-verifier
product : serial from "", want device, scan or counter
slot  has no driver`
	if err == nil || err.Error() != want {
		t.Errorf("New = %v\nwant %s", err, want)
	}
}

func TestNewChecksTheProductAgainstItsDriver(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*station.Config)
		want   string
	}{
		"label without printer": {func(c *station.Config) { c.Printer = nil }, "product camera has a label, slot 1 has no printer"},
		"login proves nothing alone": {func(c *station.Config) { c.Product.Old = nil },
			"product camera: proof by login wants at least one old credential that must be refused"},
		"reset without dictionary": {func(c *station.Config) {
			c.Product.Old, c.Product.Universal, c.Product.Proof, c.Product.ResetShare = nil, nil, "signature", 0.5
		}, "product camera: reset probe wants universal credentials that must be refused"},
		"share": {func(c *station.Config) { c.Product.ResetShare = 1.5 }, "product camera: share of reset probes is 1.5, want 0 to 1"},
		"scan without pattern": {func(c *station.Config) { c.Product.SerialFrom = station.FromScan },
			"product camera: a scanned serial wants a pattern, or a password scanned by mistake would pass for one"},
		"counter without format": {func(c *station.Config) { c.Product.SerialFrom = station.FromCounter },
			"product camera: serial from a counter wants its format"},
		"driver lacks phases": {func(c *station.Config) {
			c.Driver = &driver{lacks: map[station.Phase]bool{station.Restart: true, station.Reset: true, station.Refuse: true}}
			c.Product.ResetShare = 1
		}, "product camera: driver has no phase restart\nproduct camera: driver has no phase refuse\nproduct camera: driver has no phase reset"},
		"credential that is neither injected nor proved": {func(c *station.Config) {
			c.Product.Credentials = append(c.Product.Credentials, records.Spec{Name: "pin"})
		}, "product camera: driver never injects credential pin\nproduct camera: driver never proves credential pin"},
	} {
		t.Run(name, func(t *testing.T) {
			in(t, func(t *testing.T, r *rig) {
				c := r.config()
				tt.change(&c)
				_, err := station.New(c)
				if err == nil || err.Error() != tt.want {
					t.Errorf("New = %v\nwant %s", err, tt.want)
				}
			})
		})
	}
}

func TestErrorsNameTheirStep(t *testing.T) {
	err := &station.StepError{Step: "prove", Err: station.Faultf("do this", "no answer")}
	if got := err.Error(); got != "prove: no answer" || strings.Contains(got, "do this") {
		t.Errorf("text is %q", got)
	}
}

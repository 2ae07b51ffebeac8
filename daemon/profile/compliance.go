package profile

import (
	"net/url"
	"time"
)

func (c check) compliance() {
	f := c.p.Compliance
	c.need("compliance.manufacturer", f.Manufacturer, "the manufacturer's name (R-SOC-01)")
	c.soon("compliance.address", f.Address)
	c.soon("compliance.signatory", f.Signatory)
	c.choice("compliance.bruteforce_control", f.BruteforceControl, brakes, false)
	c.support(f.SupportEnd)
	c.need("compliance.vdp_contact", f.VDPContact, "whom a finder of a vulnerability writes to (R-VD-01)")
	if u, err := url.Parse(f.VDPURL); f.VDPURL == "" || err != nil || u.Scheme != "https" || u.Host == "" {
		c.doc.Mistake("compliance.vdp_url", "%s, want the https address of the vulnerability disclosure policy (R-VD-01)", absent(f.VDPURL))
	}
	c.days("compliance.ack_days", f.AckDays, "until a finder gets an acknowledgement")
	c.days("compliance.update_days", f.UpdateDays, "between status updates to a finder")
	if f.Example {
		c.doc.Warn("compliance.example", "these are the facts of an example, replace them before a device is sold")
	}
}

func (c check) soon(key, value string) {
	if value == "" {
		c.doc.Warn(key, "missing, the statement of compliance needs it (R-SOC-01)")
	}
}

func (c check) days(key string, n int, what string) {
	if n < 1 || n > 365 {
		c.doc.Mistake(key, "is %d, want 1 to 365 days %s (R-VD-01)", n, what)
	}
}

func (c check) support(end Date) {
	const key = "compliance.support_end"
	switch {
	case end.IsZero():
		c.doc.Mistake(key, "missing, want the day on which the support period ends (R-SP-01)")
	case end.Before(c.now.UTC().Truncate(24 * time.Hour)):
		c.doc.Mistake(key, "is %s, which is past: a device can't be supplied without support (R-SP-01)", end)
	case end.Before(c.now.AddDate(5, 0, 0)):
		c.doc.Warn(key, "is less than five years away, which the EU asks for unless the device is used for less (R-SP-02)")
	}
}

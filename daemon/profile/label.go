package profile

import (
	"fmt"
	"slices"

	"mintmark/hsm"
	"mintmark/records"
	"mintmark/station/label"
)

func (c check) label() {
	l := &c.p.Label
	if l.none || l.ZPL == "" {
		c.unlabelled()
		return
	}
	if c.p.LabelReason != "" {
		c.doc.Mistake("label_reason", "is only for label = \"none\"")
	}
	t, err := label.Parse(l.ZPL, c.names())
	if err != nil {
		for _, err := range unjoin(err) {
			c.doc.add(Mistake{Pos: c.doc.At("label.zpl"), Key: "label.zpl", Text: err.Error()})
		}
		return
	}
	c.p.template = t
	for i, cred := range c.p.Credentials {
		if cred.Origin == string(records.Generated) && cred.Kind != hsm.SymmetricKey && !slices.Contains(t.Credentials(), cred.Name) {
			c.doc.Warn(fmt.Sprintf("credential[%d].name", i+1), "%s is generated and not on the label: nobody will know it", cred.Name)
		}
	}
}

// unlabelled wants a reason for having no label.
func (c check) unlabelled() {
	l := c.p.Label
	switch {
	case l.none && c.p.LabelReason == "":
		c.doc.Mistake("label_reason", "missing, want why there is no label: else a generated password would be known to nobody")
	case l.none:
	case c.doc.Has("label"):
		c.doc.Mistake("label.zpl", "missing, want the ZPL of the label")
	default:
		c.doc.Mistake("label", "missing, want [label] with zpl, or label = \"none\" with a label_reason")
	}
}

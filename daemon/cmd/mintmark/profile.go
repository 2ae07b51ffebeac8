package main

import (
	"fmt"
	"time"

	"mintmark/daemon/profile"
)

type profileCommand struct {
	Check profileCheckCommand `cmd:"" help:"Say everything that is wrong or weak about a profile."`
}

type profileCheckCommand struct {
	jsonFlag
	File string `arg:"" help:"Profile to read."`
}

// A finding is a mistake as programs read it.
type finding struct {
	File    string `json:"file"`
	Line    int    `json:"line,omitempty"`
	Col     int    `json:"col,omitempty"`
	Key     string `json:"key,omitempty"`
	Text    string `json:"text"`
	Warning bool   `json:"warning,omitempty"`
}

func (c profileCheckCommand) Run(a *app) error {
	mistakes, err := profile.Check(c.File, time.Now())
	if err != nil {
		return err
	}
	if c.JSON {
		findings := []finding{}
		for _, m := range mistakes {
			findings = append(findings, finding{m.Pos.File, m.Pos.Line, m.Pos.Col, m.Key, m.Text, m.Warning})
		}
		if err := a.print(findings); err != nil {
			return err
		}
	}
	wrong := 0
	for _, m := range mistakes {
		if !m.Warning {
			wrong++
		}
		if !c.JSON {
			fmt.Fprintln(a.out, m)
		}
	}
	if wrong > 0 {
		return fmt.Errorf("profile has %s and %s", plural(wrong, "mistake"), plural(len(mistakes)-wrong, "warning"))
	}
	a.talk("profile is in order, with %s", plural(len(mistakes), "warning"))
	return nil
}

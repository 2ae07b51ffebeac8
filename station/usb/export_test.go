package usb

import (
	"os"

	"mintmark/station/port"
)

// Opening makes a open its port with f.
func (a *Address) Opening(f func(string, port.Config) (*port.Port, error)) { a.open = f }

// Hearing makes a hear events from where f says.
func (a *Address) Hearing(f func() (*os.File, error)) { a.listen = f }

// Allowing makes a ask f whether it may use a node.
func (a *Address) Allowing(f func(string) bool) { a.usable = f }

// Access is how long Wait waits for that.
const Access = access

// Listen subscribes to the real events.
var Listen = listen

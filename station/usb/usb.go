// Package usb knows which device is in which slot.
//
// A slot is a place, so its [Address] is one: a socket of the USB tree with an
// interface ("usb:1-1.3:1.0"), or an absolute path that always means the same
// socket, such as a soldered UART or a link of /dev/serial/by-path. The number in
// a name like ttyACM0 is nobody's place: it goes to whoever comes first.
//
// Nothing that a device says of itself (its USB serial, its name) decides
// anything here. Clones share serials, and some have none.
package usb

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"mintmark/station/port"
)

// Options tunes how a slot is watched. The zero value is right for production.
type Options struct {
	Sys    string        // where sysfs is; "" means /sys
	Dev    string        // where device nodes are; "" means /dev
	Poll   time.Duration // how often to look; 0 means 250 ms. Events of the kernel come on top
	Settle time.Duration // how long a device must stay to count as present; 0 means 300 ms, less means no time
}

func (o Options) withDefaults() Options {
	if o.Sys == "" {
		o.Sys = "/sys"
	}
	if o.Dev == "" {
		o.Dev = "/dev"
	}
	if o.Poll <= 0 {
		o.Poll = 250 * time.Millisecond
	}
	if o.Settle == 0 {
		o.Settle = 300 * time.Millisecond
	}
	return o
}

// An Address says where a slot is. Make it with [ParseAddress].
type Address struct {
	Options

	path   string // "" if the address is in the USB tree
	socket string // such as 1-1.3
	face   string // configuration and interface, such as 1.0

	// Seams for tests; nil means the real thing.
	open   func(string, port.Config) (*port.Port, error)
	listen func() (*os.File, error)
	usable func(string) bool
}

var (
	// The bus and a chain of up to seven sockets; configuration and interface.
	usbForm  = regexp.MustCompile(`^usb:([0-9]{1,3}-[0-9]{1,3}(?:\.[0-9]{1,3}){0,6}):([0-9]{1,3}\.[0-9]{1,3})$`)
	numbered = regexp.MustCompile(`^/dev/tty(ACM|USB)[0-9]+$`)
)

// ParseAddress returns the address that s means, or an error that says what is
// wrong with it.
func ParseAddress(s string) (Address, error) {
	if m := usbForm.FindStringSubmatch(s); m != nil {
		return Address{socket: m[1], face: m[2]}, nil
	}
	if !filepath.IsAbs(s) || filepath.Clean(s) != s || s == "/" {
		return Address{}, fmt.Errorf("slot address is %q, want an absolute path, or a USB socket and interface such as usb:1-1.3:1.0", s)
	}
	if numbered.MatchString(s) {
		return Address{}, fmt.Errorf("slot address is %q, which goes to whichever device comes first; "+
			"want a USB socket and interface such as usb:1-1.3:1.0, or a link in /dev/serial/by-path", s)
	}
	return Address{path: s}, nil
}

// String returns what ParseAddress was given.
func (a Address) String() string {
	if a.path != "" {
		return a.path
	}
	return "usb:" + a.socket + ":" + a.face
}

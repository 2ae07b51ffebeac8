package port

import (
	"errors"
	"fmt"
	"syscall"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"
)

// Flow is a kind of flow control.
type Flow string

// The kinds of flow control. Software is not for binary data: the device stops
// at a byte 13 and goes on at 11 (hexadecimal), whoever sent it.
const (
	None     Flow = "none"
	Hardware Flow = "rts/cts"
	Software Flow = "xon/xoff"
)

const defaultBaud = 115200

func (c Config) check() error {
	switch c.Flow {
	case "", None, Hardware, Software:
	default:
		return fmt.Errorf("flow control is %q, want %q, %q or %q", c.Flow, None, Hardware, Software)
	}
	if c.Baud < 0 || c.Baud > 10_000_000 {
		return fmt.Errorf("%d baud, want 1 to 10000000", c.Baud)
	}
	return nil
}

func (c Config) baud() int {
	if c.Baud == 0 {
		return defaultBaud
	}
	return c.Baud
}

// SetBaud changes the speed after all bytes have left. A port that is stuck is
// left as it was; one whose driver can't do the speed may have any other.
func (p *Port) SetBaud(baud int) error {
	c := p.cfg
	c.Baud = baud
	return p.control("set baud of", func(fd int) error {
		if err := c.check(); err != nil {
			return err
		}
		if !sent(fd, closeLimit) {
			return errors.New("output is stuck")
		}
		// Or we shut ourselves out. The lock stays.
		if err := unix.IoctlSetInt(fd, unix.TIOCNXCL, 0); err != nil {
			return err
		}
		return c.setUp(fd)
	})
}

// setUp makes the device raw at the wanted speed, as go.bug.st/serial does it,
// and repairs what that leaves open.
func (c Config) setUp(fd int) error {
	err := setMode(fd, &serial.Mode{BaudRate: c.baud()})
	if xerr := unix.IoctlSetInt(fd, unix.TIOCEXCL, 0); err == nil { // the library took it back when it closed
		err = xerr
	}
	if err != nil {
		return err
	}
	return c.refine(fd)
}

// setMode lets the library open the very device that fd is, through /proc, so
// that a link which changes meanwhile can't lead it to another one. The
// settings stay with the device as long as fd is open.
func setMode(fd int, m *serial.Mode) error {
	// The library opens without O_CLOEXEC. No child may start until it is closed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	s, err := serial.Open(fmt.Sprintf("/proc/self/fd/%d", fd), m)
	if err != nil {
		return err
	}
	return s.Close()
}

// refine keeps DTR up when the port is closed, because many boards restart when
// it falls, and sets flow control, which the library has no word for. It then
// looks whether the driver did as it was told.
func (c Config) refine(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Cflag &^= unix.HUPCL
	switch c.Flow {
	case Hardware:
		t.Cflag |= unix.CRTSCTS
	case Software:
		t.Iflag |= unix.IXON | unix.IXOFF
	}
	if err := unix.IoctlSetTermios(fd, unix.TCSETS2, t); err != nil {
		return err
	}
	if t, err = unix.IoctlGetTermios(fd, unix.TCGETS2); err != nil {
		return err
	}
	return c.compare(t)
}

// compare refuses a driver that silently chose something else.
func (c Config) compare(t *unix.Termios) error {
	if c.Flow == Hardware && t.Cflag&unix.CRTSCTS == 0 {
		return errors.New("port has no hardware flow control")
	}
	const tolerance = 0.03 // UARTs divide a clock; beyond this characters break
	got, want := float64(t.Ospeed), float64(c.baud())
	if got < want*(1-tolerance) || got > want*(1+tolerance) {
		return fmt.Errorf("port does %d baud, want %d", t.Ospeed, c.baud())
	}
	return nil
}

package port_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"go.bug.st/serial"
	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
	"mintmark/station/port"
)

// patience is for what must happen; only a failing test waits that long.
const patience = 10 * time.Second

// conn is what both kinds of port can do.
type conn interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
	SetBaud(int) error
}

// opener opens a port of one kind.
type opener func(path string, c port.Config) (conn, error)

func guarded(path string, c port.Config) (conn, error) {
	p, err := port.Open(path, c)
	if err != nil {
		return nil, err // not a conn that holds a nil *Port
	}
	return p, nil
}

// bare is the library with as little as a caller needs to use it.
type bare struct{ serial.Port }

func openBare(path string, c port.Config) (conn, error) {
	m := &serial.Mode{BaudRate: c.Baud}
	if c.Lines != nil {
		m.InitialStatusBits = &serial.ModemOutputBits{DTR: c.Lines.DTR, RTS: c.Lines.RTS}
	}
	p, err := serial.Open(path, m)
	if err != nil {
		return nil, err
	}
	return bare{p}, nil
}

func (b bare) SetDeadline(t time.Time) error { return b.SetReadTimeout(max(0, time.Until(t))) }
func (b bare) SetBaud(baud int) error        { return b.SetMode(&serial.Mode{BaudRate: baud}) }

// device makes a device whose own calls can't hang the test.
func device(t *testing.T) (master *os.File, slave string) {
	t.Helper()
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := master.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return master, slave
}

// must opens a port and closes it after the test.
func must(t *testing.T, open opener, path string, c port.Config) conn {
	t.Helper()
	p, err := open(path, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// plugged returns a guarded port with its device, and a deadline.
func plugged(t *testing.T) (*os.File, *port.Port) {
	t.Helper()
	master, slave := device(t)
	p := must(t, guarded, slave, port.Config{}).(*port.Port)
	if err := p.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return master, p
}

// got is the answer of a Read or Write.
type got struct {
	n   int
	err error
}

// run calls f in the background.
func run(f func([]byte) (int, error), b []byte) <-chan got {
	c := make(chan got, 1)
	go func() { n, err := f(b); c <- got{n, err} }() // ends when the port or its device is closed, at the latest by Cleanup
	return c
}

// begun waits until a Write is in the kernel, and stuck there if it is a long one.
func begun(t *testing.T, master *os.File) {
	t.Helper()
	if _, err := io.ReadFull(master, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}

// after waits for c and says what came, or "hangs".
func after(c <-chan got, d time.Duration) string {
	select {
	case g := <-c:
		return say(g.n, g.err)
	case <-time.After(d):
		return "hangs"
	}
}

// say names the class of a result.
func say(n int, err error) string {
	switch {
	case err == nil && n == 0:
		return "0, nil"
	case err == nil:
		return "success"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "deadline"
	case errors.Is(err, os.ErrClosed):
		return "closed"
	case errors.Is(err, port.ErrGone):
		return "gone"
	case errors.Is(err, port.ErrBusy):
		return "busy"
	}
	return err.Error()
}

// settings reads those of the device behind master.
func settings(t *testing.T, master *os.File) *unix.Termios {
	t.Helper()
	var s *unix.Termios
	ioctl(t, master, func(fd int) (err error) {
		s, err = unix.IoctlGetTermios(fd, unix.TCGETS2)
		return err
	})
	return s
}

// ioctl runs f without taking the master out of the poller, as Fd would.
func ioctl(t *testing.T, master *os.File, f func(fd int) error) {
	t.Helper()
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if cerr := raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
}

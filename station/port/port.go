// Package port is the serial port of a slot, guarded.
//
// A [Port] makes these promises, which the serial library alone doesn't:
//
//   - What is written to a Port reaches the device that was opened, or nobody.
//     Neither Close, nor unplugging, nor another device that takes the same
//     name or descriptor number changes that.
//   - Read and Write return when the deadline comes, when the port is closed and
//     when the device is unplugged, and say which of these it was:
//     [os.ErrDeadlineExceeded], [os.ErrClosed] or [ErrGone].
//   - Write returns nil only after the kernel has taken every byte.
//   - No second Port on the same device, in this or another process ([ErrBusy]),
//     and no child process that inherits it.
//
// How: go.bug.st/serial opens the device and sets it up, through a descriptor of
// its own that is closed again before Open returns. Bytes go through our
// descriptor, which doesn't block and belongs to Go's poller. So no call is ever
// stuck in the kernel with a descriptor number in its hand, and the number is
// given back to the kernel only after the last call that uses it has returned.
// docs/decisions/0002-serial-port.md has the argument and the alternatives.
//
// Linux only. What it can't do: opening raises DTR and RTS, the kernel does that
// before anyone can object; and a call that sets modem lines or bauds lasts as
// long as the driver takes, up to 5 s for a USB device that doesn't answer.
package port

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Errors that callers act on.
var (
	ErrBusy    = errors.New("port is in use")
	ErrGone    = errors.New("device is gone")
	ErrNoLines = errors.New("port has no modem lines") // a pseudo-terminal, for example

	errChanged = errors.New("settings were changed by another program")
)

// closeLimit is how long Close waits for bytes that the device has yet to take:
// time for a last command at 9600 baud, but no hang.
const closeLimit = 250 * time.Millisecond

// Config says how a port is set up. The zero value is 115200 baud, no flow
// control, modem lines as the kernel raises them. Always 8 bits, no parity, one
// stop bit, raw.
type Config struct {
	Baud  int    // any rate that the hardware can do; 0 means 115200
	Flow  Flow   // "" means none
	Lines *Lines // set as soon as the port is open; ignored where there are none
}

// A Port is an open serial port. Its methods may be called from several
// goroutines at once.
type Port struct {
	// Not changed after Open.
	name string
	cfg  Config
	f    *os.File // non-blocking, in the poller
	raw  syscall.RawConn
	dev  uint64
	done chan struct{} // closed by Close

	writing sync.Mutex // held during a Write
	cut     bool       // guarded by writing: the device has a part of a Write, and won't get the rest

	setting  sync.Mutex // held while lines or bauds are changed
	breaking bool       // guarded by setting: the line is in the break state

	mu     sync.Mutex // guards closed, and keeps deadlines of others away from Close
	closed bool
}

// Open opens the device at path, which may be a symbolic link, and locks it.
func Open(path string, c Config) (*Port, error) {
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	fd, err := openLocked(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, gone(err))
	}
	p, err := c.start(fd, path)
	if err != nil {
		unlock(fd)
		unix.Close(fd)
		return nil, fmt.Errorf("set up %s: %w", path, gone(err))
	}
	return p, nil
}

// start sets the device up and makes a Port of the descriptor. It owns fd only
// if it succeeds.
func (c Config) start(fd int, path string) (*Port, error) {
	if err := c.setUp(fd); err != nil {
		return nil, err
	}
	if c.Lines != nil {
		if err := c.Lines.set(fd); err != nil && !errors.Is(err, ErrNoLines) {
			return nil, err
		}
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	raw, err := f.SyscallConn()
	if err == nil {
		err = f.SetDeadline(time.Time{}) // an error if the poller doesn't take it
	}
	if err != nil {
		panic("port: internal error: a terminal that can't be polled: " + err.Error())
	}
	return &Port{name: path, cfg: c, f: f, raw: raw, dev: st.Rdev, done: make(chan struct{})}, nil
}

// Dev returns the device number. While the port is open the kernel gives it to
// no other device, so it tells for certain which device was opened.
func (p *Port) Dev() uint64 { return p.dev }

// Read waits for at least one byte. It never returns 0, nil for a non-empty b.
func (p *Port) Read(b []byte) (int, error) {
	n, err := p.f.Read(b)
	if err == io.EOF && !p.hungUp() {
		err = errChanged
	}
	return n, p.explain("read", err)
}

// Write returns nil after the kernel has taken all of b. After an error the
// device has an unknown part of it.
func (p *Port) Write(b []byte) (int, error) {
	p.writing.Lock()
	defer p.writing.Unlock()
	n, err := p.f.Write(b) // goes on after a short write, and never returns a short one as a success
	if n > 0 {
		p.cut = err != nil
	}
	return n, p.explain("write", err)
}

// SetDeadline sets the time after which pending and future calls of Read and
// Write fail with [os.ErrDeadlineExceeded], however busy the device is. The zero
// time means never.
func (p *Port) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.explainLocked("set deadline", os.ErrClosed)
	}
	return p.f.SetDeadline(t)
}

// Close ends pending calls with [os.ErrClosed] and gives the device free. Bytes
// of complete writes get a moment to leave; what is still here then, and any
// incomplete write, is thrown away. Nothing is open any more when it returns.
func (p *Port) Close() error {
	if err := p.stop(); err != nil {
		return err
	}
	p.writing.Lock() // pending writes are out, or about to be: their deadline has passed
	defer p.writing.Unlock()
	p.setting.Lock()
	defer p.setting.Unlock()
	last, err := -1, error(nil)
	p.raw.Control(func(fd uintptr) { // its only error is that the file is closed, which it isn't
		p.leave(int(fd))
		last, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err != nil { // no descriptor left: rather a slow close than none
		return p.f.Close()
	}
	return errors.Join(p.f.Close(), closeNow(last)) // the first waits for the last call that uses the descriptor
}

// leave undoes what would stay with the device. Errors don't matter: the device
// may be gone, and the descriptor is closed in any case.
func (p *Port) leave(fd int) {
	if p.breaking {
		unix.IoctlSetInt(fd, unix.TIOCCBRK, 0)
	}
	limit := closeLimit
	if p.cut {
		limit = 0
	}
	if !sent(fd, limit) {
		unix.IoctlSetInt(fd, unix.TCFLSH, unix.TCOFLUSH) // some drivers don't; see closeNow
	}
	unlock(fd)
}

// stop turns new calls away and wakes the pending ones.
func (p *Port) stop() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return p.explainLocked("close", os.ErrClosed)
	}
	p.closed = true
	close(p.done)
	return p.f.SetDeadline(time.Unix(1, 0))
}

// closeNow closes the last descriptor of a device. Where a driver can't throw
// bytes away, close(2) waits up to 30 s for a device that doesn't take them. A
// signal ends that wait; SIGURG is the one that the Go runtime sends its own
// threads at any time.
func closeNow(fd int) error {
	const patience = 20 * time.Millisecond
	runtime.LockOSThread() // the signal must reach the thread that waits
	defer runtime.UnlockOSThread()
	thread, closed, ended := unix.Gettid(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for t := time.NewTicker(patience); ; {
			select {
			case <-closed:
				t.Stop()
				return
			case <-t.C:
				unix.Tgkill(unix.Getpid(), thread, unix.SIGURG)
			}
		}
	}()
	err := unix.Close(fd)
	close(closed)
	<-ended // or a later signal could hit whoever gets the thread next
	return err
}

// sent waits until the device has taken all bytes, but not longer than limit.
func sent(fd int, limit time.Duration) bool {
	const pause = 2 * time.Millisecond
	for end := time.Now().Add(limit); ; time.Sleep(pause) {
		n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ)
		if err != nil || n == 0 {
			return true // or nobody can say; a hung-up port has nothing to send
		}
		if !time.Now().Before(end) {
			return false
		}
	}
}

// control runs f with the descriptor, which stays ours until f has returned.
func (p *Port) control(op string, f func(fd int) error) error {
	p.setting.Lock()
	defer p.setting.Unlock()
	select {
	case <-p.done:
		return p.explain(op, os.ErrClosed)
	default:
	}
	var err error
	if cerr := p.raw.Control(func(fd uintptr) { err = f(int(fd)) }); cerr != nil {
		err = os.ErrClosed // its only error
	}
	return p.explain(op, err)
}

// hungUp tells the end of the device from a read that gives nothing because
// somebody changed the settings.
func (p *Port) hungUp() bool {
	fds := []unix.PollFd{{}}
	err := p.raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		for {
			if _, err := unix.Poll(fds, 0); err != unix.EINTR {
				return
			}
		}
	})
	return err != nil || fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// explain gives err the name of the port and of the class that it belongs to.
func (p *Port) explain(op string, err error) error {
	if err == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.explainLocked(op, err)
}

func (p *Port) explainLocked(op string, err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		err = pe.Err // says the path already
	}
	if p.closed {
		err = os.ErrClosed
	}
	return fmt.Errorf("%s %s: %w", op, p.name, gone(err))
}

// gone adds ErrGone to what the kernel says of a device that was unplugged.
func gone(err error) error {
	for _, e := range []error{io.EOF, unix.EIO, unix.ENXIO, unix.ENODEV} {
		if errors.Is(err, e) {
			return fmt.Errorf("%w: %w", ErrGone, err)
		}
	}
	return err
}

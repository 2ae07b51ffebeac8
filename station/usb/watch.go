package usb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/station/port"
)

// access is how long udev may take to let us use a new node. After that the
// device counts as present, and opening it says what is missing.
const access = 2 * time.Second

// Wait returns the path of the device in the slot as soon as one is there, has
// stayed there for the settling time, and may be opened.
func (a Address) Wait(ctx context.Context) (string, error) {
	w := a.watch()
	defer w.stop()
	settle := max(0, a.withDefaults().Settle)
	var since time.Time
	var stay string
	for {
		d, present, err := a.Look()
		if err != nil {
			return "", err
		}
		if d.stay != stay { // "" in an empty slot
			stay, since = d.stay, time.Now()
		}
		pause := time.Hour
		if present {
			age := time.Since(since)
			if age >= settle && (age >= settle+access || a.mayUse(d.Path)) {
				return d.Path, nil
			}
			if age < settle {
				pause = settle - age
			}
		}
		if err := w.next(ctx, pause); err != nil {
			return "", err
		}
	}
}

// Gone returns when the device at path, or whichever is in the slot now if path
// is "", isn't there any more: unplugged, or replaced by another one, also where
// that has got the same path.
func (a Address) Gone(ctx context.Context, path string) error {
	w := a.watch()
	defer w.stop()
	first, present, err := a.Look()
	if err != nil || !present || path != "" && path != first.Path {
		return err
	}
	for {
		if err := w.next(ctx, time.Hour); err != nil {
			return err
		}
		d, present, err := a.Look()
		if err != nil || !present || d.stay != first.stay {
			return err
		}
	}
}

// Open opens the port of the device in the slot, and makes sure that it is this
// slot's: between looking and opening another device may have got the name. It
// tries until ctx is done while the slot is empty or somebody else has the port,
// as programs do that try every new port for a modem.
func (a Address) Open(ctx context.Context, c port.Config) (*port.Port, error) {
	w := a.watch()
	defer w.stop()
	for {
		p, err := a.openNow(c)
		if !passing(err) {
			return p, err // p is nil with an error
		}
		if cerr := w.next(ctx, time.Hour); cerr != nil {
			return nil, fmt.Errorf("open slot %s: %w (%w)", a, err, cerr)
		}
	}
}

var (
	errEmpty = errors.New("no device is there")
	errMoved = errors.New("the device has changed")
)

func passing(err error) bool {
	for _, e := range []error{errEmpty, errMoved, port.ErrGone, port.ErrBusy, fs.ErrNotExist} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (a Address) openNow(c port.Config) (*port.Port, error) {
	d, present, err := a.Look()
	if err != nil {
		return nil, err
	}
	if !present {
		return nil, errEmpty
	}
	open := a.open
	if open == nil {
		open = port.Open
	}
	p, err := open(d.Path, c)
	if err != nil {
		return nil, err
	}
	// While we have it open nobody else gets its number, so what has this number
	// now had it then.
	if now, present, err := a.Look(); err != nil || !present || now.Dev != p.Dev() {
		return nil, errors.Join(errMoved, err, p.Close())
	}
	return p, nil
}

func (a Address) mayUse(path string) bool {
	if a.usable != nil {
		return a.usable(path)
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK, unix.AT_EACCESS) == nil
}

// A watcher says when it is time to look again.
type watcher struct {
	poll   time.Duration
	f      *os.File      // events of the kernel; nil without
	events chan struct{} // nil without
	done   chan struct{} // closed when the reader of f has ended
}

// watch starts to listen before the first look, so that nothing is missed.
// Without events, in a container for example, looking now and then must do.
func (a Address) watch() *watcher {
	w := &watcher{poll: a.withDefaults().Poll, done: make(chan struct{})}
	hear := a.listen
	if hear == nil {
		hear = listen
	}
	if a.path == "" { // a link is made by udev, later than the events
		w.f, _ = hear()
	}
	if w.f == nil {
		close(w.done)
		return w
	}
	w.events = make(chan struct{}, 1)
	go w.read()
	return w
}

func (w *watcher) stop() {
	if w.f != nil {
		w.f.Close()
	}
	<-w.done
}

// next waits for an event, but not longer than the polling time or pause.
func (w *watcher) next(ctx context.Context, pause time.Duration) error {
	t := time.NewTimer(min(w.poll, pause))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
	case <-w.events:
	}
	return nil
}

// read turns events of any kind into hints to look. What they say is not read, so
// it doesn't matter who sent them, nor whether one was lost.
func (w *watcher) read() {
	defer close(w.done)
	for b := make([]byte, 16<<10); ; {
		if _, err := w.f.Read(b); err != nil && !errors.Is(err, unix.ENOBUFS) { // that one means: too many at once
			return
		}
		select {
		case w.events <- struct{}{}:
		default:
		}
	}
}

// listen subscribes to the kernel's own events, those before udev.
func listen() (*os.File, error) {
	const kernel = 1
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: kernel}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "events of the kernel"), nil
}

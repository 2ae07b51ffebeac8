package usb_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
	"mintmark/station/port"
	"mintmark/station/usb"
)

// answer is what came of a call in the background, and when.
type answer struct {
	path  string
	err   error
	after time.Duration
}

// wait calls Wait in the background.
func wait(ctx context.Context, a usb.Address) <-chan answer {
	c, start := make(chan answer, 1), time.Now()
	go func() {
		path, err := a.Wait(ctx)
		c <- answer{path, err, time.Since(start)}
	}()
	return c
}

// gone calls Gone in the background.
func gone(ctx context.Context, a usb.Address, path string) <-chan answer {
	c, start := make(chan answer, 1), time.Now()
	go func() {
		err := a.Gone(ctx, path)
		c <- answer{path, err, time.Since(start)}
	}()
	return c
}

func TestADeviceIsPresentWhenItHasSettled(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	synctest.Test(t, func(t *testing.T) {
		a := b.address("usb:1-1:1.0")
		c := wait(t.Context(), a)
		<-time.After(time.Second) // of the bubble
		b.plug("1-1", "1.0", "ttyACM0", s[0])
		got := <-c
		if got.path != s[0] || got.err != nil {
			t.Errorf("Wait = %q, %v, want %q", got.path, got.err, s[0])
		}
		if got.after < 1300*time.Millisecond || got.after > 1550*time.Millisecond {
			t.Errorf("Wait took %v, want 300 ms after the first look that saw it", got.after)
		}
	})
}

func TestABouncingPlugSettlesFromItsLastContact(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	synctest.Test(t, func(t *testing.T) {
		a := b.address("usb:1-1:1.0")
		a.Poll = 10 * time.Millisecond
		c := wait(t.Context(), a)
		synctest.Wait()
		for range 5 {
			b.plug("1-1", "1.0", "ttyACM0", s[0])
			<-time.After(200 * time.Millisecond)
			b.unplug("1-1")
		}
		b.plug("1-1", "1.0", "ttyACM0", s[0]) // at once: seen only because it is another plugging-in
		if got := <-c; got.after < 1300*time.Millisecond || got.err != nil {
			t.Errorf("Wait took %v, %v, want 300 ms after the last contact at 1 s", got.after, got.err)
		}
	})
}

func TestWaitLetsUdevGiveAccess(t *testing.T) {
	for _, tt := range []struct {
		name     string
		given    time.Duration // when udev gives access
		from, to time.Duration // when Wait returns
	}{
		{"soon", time.Second, time.Second, 1250 * time.Millisecond},
		{"never, so that opening says why", time.Hour, 300*time.Millisecond + usb.Access, 550*time.Millisecond + usb.Access},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, s := newBus(t), slaves(t, 1)
			b.plug("1-1", "1.0", "ttyACM0", s[0])
			synctest.Test(t, func(t *testing.T) {
				a, start := b.address("usb:1-1:1.0"), time.Now()
				a.Allowing(func(string) bool { return time.Since(start) >= tt.given })
				got := <-wait(t.Context(), a)
				if got.err != nil || got.after < tt.from || got.after > tt.to {
					t.Errorf("Wait took %v, %v, want %v to %v", got.after, got.err, tt.from, tt.to)
				}
			})
		})
	}
}

func TestWatchingEndsWithItsContext(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	b.plug("1-2", "1.0", "ttyACM0", s[0])
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for name, c := range map[string]<-chan answer{
			"Wait": wait(ctx, b.address("usb:1-1:1.0")), "Gone": gone(ctx, b.address("usb:1-2:1.0"), ""),
		} {
			if got := <-c; !errors.Is(got.err, context.DeadlineExceeded) || got.after > time.Minute {
				t.Errorf("%s = %v after %v, want %v after 1m0s", name, got.err, got.after, context.DeadlineExceeded)
			}
		}
	})
}

func TestAnAmbiguousSlotIsAnErrorNotAWait(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	b.plug("1-1", "1.0", "ttyUSB0/tty/ttyUSB0", s[0])
	b.file("devices/pci0/usb1/1-1/1-1:1.0/ttyUSB1/tty/ttyUSB1/uevent", "MAJOR=1\n")
	a := b.address("usb:1-1:1.0")
	if _, err := a.Wait(t.Context()); err == nil {
		t.Error("Wait = nil, want an error")
	}
	if err := a.Gone(t.Context(), ""); err == nil {
		t.Error("Gone = nil, want an error")
	}
	if _, err := a.Open(t.Context(), port.Config{}); err == nil {
		t.Error("Open = nil, want an error")
	}
}

func TestGoneSeesEveryChangeOfDeviceAndNothingElse(t *testing.T) {
	type slot struct {
		*bus
		link   string
		slaves []string
	}
	relink := func(s slot, target string) {
		if err := pty.Link(target, s.link); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name   string
		byLink bool
		change func(s slot)
		want   bool
	}{
		{"unplugged", false, func(s slot) { s.unplug("1-1") }, true},
		{"replugged with the same name", false, func(s slot) { s.unplug("1-1"); s.plug("1-1", "1.0", "ttyACM0", s.slaves[0]) }, true},
		{"replugged with another name", false, func(s slot) { s.unplug("1-1"); s.plug("1-1", "1.0", "ttyACM1", s.slaves[1]) }, true},
		{"another slot's device unplugged", false, func(s slot) { s.unplug("1-2") }, false},
		{"nothing", false, func(slot) {}, false},
		{"link removed", true, func(s slot) { os.Remove(s.link) }, true},
		{"link turned elsewhere", true, func(s slot) { relink(s, s.slaves[1]) }, true},
		{"link to nowhere", true, func(s slot) { relink(s, "/dev/pts/none") }, true},
		{"link made anew for the same name", true, func(s slot) { os.Remove(s.link); relink(s, s.slaves[0]) }, true},
		{"link touched by udev", true, func(s slot) {
			now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
			if err := unix.UtimesNanoAt(unix.AT_FDCWD, s.link, now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
				s.t.Fatal(err)
			}
		}, false},
		{"mode of the node changed", true, func(s slot) {
			if err := os.Chmod(s.slaves[0], 0o660); err != nil {
				s.t.Fatal(err)
			}
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := slot{newBus(t), filepath.Join(t.TempDir(), "slot-1"), slaves(t, 3)}
			s.plug("1-1", "1.0", "ttyACM0", s.slaves[0])
			s.plug("1-2", "1.0", "ttyACM5", s.slaves[2])
			relink(s, s.slaves[0])
			synctest.Test(t, func(t *testing.T) {
				a := s.address("usb:1-1:1.0")
				if tt.byLink {
					a = parse(t, s.link)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				c := gone(ctx, a, s.slaves[0])
				synctest.Wait()
				tt.change(s)
				got := <-c
				if tt.want && (got.err != nil || got.after > 250*time.Millisecond) {
					t.Errorf("Gone = %v after %v, want nil within 250 ms", got.err, got.after)
				}
				if !tt.want && !errors.Is(got.err, context.DeadlineExceeded) {
					t.Errorf("Gone = %v after %v, want that it waits", got.err, got.after)
				}
			})
		})
	}
}

func TestGoneReturnsAtOnceIfTheDeviceIsNotThisOne(t *testing.T) {
	b, s := newBus(t), slaves(t, 2)
	a := b.address("usb:1-1:1.0")
	if err := a.Gone(t.Context(), ""); err != nil {
		t.Errorf("Gone from an empty slot = %v", err)
	}
	b.plug("1-1", "1.0", "ttyACM0", s[1])
	if err := a.Gone(t.Context(), s[0]); err != nil {
		t.Errorf("Gone with another device in the slot = %v", err)
	}
}

func TestEventsAreHeardWithoutPolling(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	kernel, ours := os.NewFile(uintptr(fds[0]), "kernel"), os.NewFile(uintptr(fds[1]), "ours")
	defer kernel.Close()
	a := b.address("usb:1-1:1.0")
	a.Poll, a.Settle = time.Hour, -1
	listens := make(chan struct{}, 1)
	a.Hearing(func() (*os.File, error) { listens <- struct{}{}; return ours, nil })
	c := wait(t.Context(), a)
	<-listens
	b.plug("1-1", "1.0", "ttyACM0", s[0])
	if _, err := kernel.Write([]byte("add@/devices/x/tty/ttyACM0\x00ACTION=add\x00SUBSYSTEM=tty\x00")); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-c:
		if got.path != s[0] || got.err != nil {
			t.Errorf("Wait = %q, %v, want %q", got.path, got.err, s[0])
		}
	case <-time.After(patience):
		t.Fatal("Wait did not hear the event")
	}
	if _, err := ours.Write(nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Wait left its ear open: %v", err)
	}
}

func TestTheKernelCanBeHeard(t *testing.T) {
	f, err := usb.Listen()
	if err != nil {
		t.Fatal(err)
	}
	if err := f.SetDeadline(time.Now().Add(time.Millisecond)); err != nil {
		t.Errorf("events can't be waited for in the poller: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestOpenTakesTheDeviceOfTheSlot(t *testing.T) {
	b := newBus(t)
	m, s, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	b.plug("1-1", "1.0", "ttyACM0", s)
	p, err := b.address("usb:1-1:1.0").Open(t.Context(), port.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(m, got); err != nil || string(got) != "hello" {
		t.Errorf("device read %q, %v, want hello", got, err)
	}
}

// The worst moment: the slot's device leaves, and its name goes to the device of
// another slot, after we looked and before we opened.
func TestOpenNeverTakesTheDeviceOfAnotherSlot(t *testing.T) {
	b, s := newBus(t), slaves(t, 2)
	b.plug("1-1", "1.0", "ttyACM0", s[0])
	a := b.address("usb:1-1:1.0")
	a.Poll = time.Millisecond
	var wrong *port.Port
	a.Opening(func(path string, c port.Config) (*port.Port, error) {
		if wrong != nil {
			return port.Open(path, c)
		}
		b.unplug("1-1")
		p, err := port.Open(s[1], c) // what the name leads to by now
		wrong = p
		b.plug("1-1", "1.0", "ttyACM2", s[0])
		return p, err
	})
	p, err := a.Open(t.Context(), port.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if p == wrong || p.Dev() != number(t, s[0]) {
		t.Errorf("Open took device %x, want %x", p.Dev(), number(t, s[0]))
	}
	if _, err := wrong.Write([]byte("x")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the wrong port is still open: %v", err)
	}
}

func TestOpenWaitsForTheDeviceAndForItsOtherUser(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	a := b.address("usb:1-1:1.0")
	a.Poll = time.Millisecond
	other, err := port.Open(s[0], port.Config{})
	if err != nil {
		t.Fatal(err)
	}
	tries := 0
	a.Opening(func(path string, c port.Config) (*port.Port, error) {
		p, err := port.Open(path, c)
		if tries++; tries == 3 {
			other.Close()
		}
		return p, err
	})
	done := make(chan error, 1)
	go func() {
		p, err := a.Open(t.Context(), port.Config{})
		done <- err
		if err == nil {
			p.Close()
		}
	}()
	b.plug("1-1", "1.0", "ttyACM0", s[0])
	select {
	case err := <-done:
		if err != nil || tries != 4 {
			t.Errorf("Open = %v after %d tries, want success at the fourth", err, tries)
		}
	case <-time.After(patience):
		t.Fatal("Open hangs")
	}
}

func TestOpenSaysWhatItWaitedForWhenTimeIsUp(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	b.plug("1-2", "1.0", "ttyACM0", s[0])
	other, err := port.Open(s[0], port.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	synctest.Test(t, func(t *testing.T) {
		for address, want := range map[string]string{
			"usb:1-1:1.0": "open slot usb:1-1:1.0: no device is there (context deadline exceeded)",
			"usb:1-2:1.0": "open slot usb:1-2:1.0: open " + s[0] + ": port is in use by this process (context deadline exceeded)",
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			p, err := b.address(address).Open(ctx, port.Config{})
			cancel()
			if err == nil || err.Error() != want || p != nil {
				t.Errorf("Open = %v, %v, want %s", p, err, want)
			}
		}
	})
	if _, err := parse(t, "/dev/null").Open(t.Context(), port.Config{}); err == nil || errors.Is(err, port.ErrBusy) {
		t.Errorf("Open of what is no port = %v, want an error at once", err)
	}
}

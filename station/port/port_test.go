package port_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
	"mintmark/station/port"
)

func TestEveryByteCrossesUnchanged(t *testing.T) {
	m, p := plugged(t)
	var all, got [256]byte
	for i := range all {
		all[i] = byte(i)
	}
	if _, err := p.Write(all[:]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(m, got[:]); err != nil || got != all {
		t.Errorf("device got %x, %v, want every byte from 00 to ff", got, err)
	}
	if _, err := m.Write(all[:]); err != nil {
		t.Fatal(err)
	}
	got = [256]byte{}
	if _, err := io.ReadFull(p, got[:]); err != nil || got != all {
		t.Errorf("port got %x, %v, want every byte from 00 to ff", got, err)
	}
}

func TestALongWriteReachesASlowReaderWhole(t *testing.T) {
	m, p := plugged(t)
	want := make([]byte, 300_000)
	rand.NewChaCha8([32]byte{1}).Read(want)
	done := run(p.Write, want)
	var got bytes.Buffer
	for b := make([]byte, 97); got.Len() < len(want); { // far less than a write puts there
		n, err := m.Read(b)
		if err != nil {
			t.Fatalf("device read %d bytes: %v", got.Len(), err)
		}
		got.Write(b[:n])
	}
	if g := <-done; g.n != len(want) || g.err != nil {
		t.Errorf("Write = %d, %v, want %d, nil", g.n, g.err, len(want))
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Error("the device got other bytes than were written")
	}
}

func TestACompleteWriteSurvivesClose(t *testing.T) {
	m, s := device(t)
	keep, err := pty.Keep(s)
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	p := must(t, guarded, s, port.Config{})
	const last = "reset\r"
	if _, err := p.Write([]byte(last)); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len(last))
	if _, err := io.ReadFull(m, b); err != nil || string(b) != last {
		t.Errorf("device read %q, %v, want %q", b, err, last)
	}
}

func TestADeadlineCanBeMovedAndTakenBack(t *testing.T) {
	m, p := plugged(t)
	p.SetDeadline(time.Unix(1, 0))
	if n, err := p.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Write after the deadline = %d, %v, want 0, %v", n, err, os.ErrDeadlineExceeded)
	}
	p.SetDeadline(time.Time{})
	done := run(p.Read, make([]byte, 8))
	if _, err := m.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if saw := after(done, patience); saw != "success" {
		t.Errorf("Read without a deadline: %s, want success", saw)
	}
	done = run(p.Read, make([]byte, 8))
	p.SetDeadline(time.Now().Add(time.Millisecond)) // reaches the call that waits already
	if saw := after(done, patience); saw != "deadline" {
		t.Errorf("Read that waits: %s, want deadline", saw)
	}
}

func TestAfterCloseEverythingSaysClosed(t *testing.T) {
	m, s := device(t)
	p := must(t, guarded, s, port.Config{}).(*port.Port)
	read := run(p.Read, make([]byte, 8))
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if saw := after(read, patience); saw != "closed" {
		t.Errorf("pending Read: %s, want closed", saw)
	}
	for name, f := range map[string]func() error{
		"Read":        func() error { _, err := p.Read(make([]byte, 1)); return err },
		"Write":       func() error { _, err := p.Write([]byte("x")); return err },
		"SetDeadline": func() error { return p.SetDeadline(time.Time{}) },
		"SetBaud":     func() error { return p.SetBaud(9600) },
		"SetLines":    func() error { return p.SetLines(port.Lines{}) },
		"SetDTR":      func() error { return p.SetDTR(true) },
		"SetRTS":      func() error { return p.SetRTS(true) },
		"Break":       func() error { return p.Break(0) },
		"Close":       p.Close,
	} {
		if err := f(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s = %v, want %v", name, err, os.ErrClosed)
		}
	}
	const marker = "next" // arrives behind a byte that came too late
	if _, err := must(t, guarded, s, port.Config{}).Write([]byte(marker)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(marker))
	if _, err := io.ReadFull(m, got); err != nil || string(got) != marker {
		t.Errorf("the device got %q, %v after Close, want %q", got, err, marker)
	}
}

func TestAClosedPortCanBeOpenedAgainAtOnce(t *testing.T) {
	_, s := device(t)
	for range 20 {
		p, err := port.Open(s, port.Config{})
		if err != nil {
			t.Fatal(err)
		}
		done := run(p.Write, long)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if saw := after(done, patience); saw != "closed" {
			t.Fatalf("Write = %s, want closed", saw)
		}
	}
}

// The tags of all slots differ, so a byte at the wrong device is seen.
func TestNoByteCrossesOverWhilePortsComeAndGo(t *testing.T) {
	var wg sync.WaitGroup
	for slot := range 6 {
		m, s := device(t)
		keep, err := pty.Keep(s)
		if err != nil {
			t.Fatal(err)
		}
		tag := bytes.Repeat([]byte{'a' + byte(slot)}, 3000)
		wg.Go(func() {
			for b := make([]byte, 1<<16); ; {
				n, err := m.Read(b)
				if i := bytes.IndexFunc(b[:n], func(r rune) bool { return r != rune(tag[0]) }); i >= 0 {
					t.Errorf("device %d got %q of another slot", slot, b[i])
				}
				if err != nil {
					return // the last writer has gone
				}
			}
		})
		wg.Go(func() {
			defer keep.Close()
			comeAndGo(t, s, tag)
		})
	}
	wg.Wait()
}

// comeAndGo closes ports under the hands of their writers.
func comeAndGo(t *testing.T, path string, tag []byte) {
	for range 100 {
		p, err := port.Open(path, port.Config{})
		if err != nil {
			t.Error(err)
			return
		}
		var writers sync.WaitGroup
		for range 3 {
			writers.Go(func() {
				for {
					if _, err := p.Write(tag); err != nil {
						if !errors.Is(err, os.ErrClosed) {
							t.Errorf("Write = %v, want %v", err, os.ErrClosed)
						}
						return
					}
				}
			})
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		writers.Wait()
	}
}

func TestUnplugAtAnyMomentIsSaidPromptly(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 7))
	for range 150 {
		m, p := plugged(t)
		life := random.IntN(5000) // bytes that the device handles before it is pulled out
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			defer m.Close()
			for b := make([]byte, 64); life > 0; {
				n, err := m.Read(b)
				if err != nil {
					return
				}
				life -= n
				m.Write(b[:n])
			}
		}()
		write := run(func(b []byte) (int, error) {
			for {
				if _, err := p.Write(b); err != nil {
					return 0, err
				}
			}
		}, long[:1000])
		read := run(func(b []byte) (int, error) {
			for {
				if n, err := p.Read(b); err != nil || n == 0 {
					return n, err
				}
			}
		}, make([]byte, 100))
		if saw := after(write, patience/2); saw != "gone" {
			t.Errorf("Write during the unplugging: %s, want gone", saw)
		}
		if saw := after(read, patience/2); saw != "gone" {
			t.Errorf("Read during the unplugging: %s, want gone", saw)
		}
		<-gone
		if err := p.Close(); err != nil {
			t.Errorf("Close after the unplugging = %v, want nil", err)
		}
	}
}

func TestASettingChangedFromOutsideIsNoEndOfDevice(t *testing.T) {
	m, p := plugged(t)
	ioctl(t, m, func(fd int) error {
		s, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		s.Cc[unix.VMIN] = 0 // a read without data gives 0 bytes now
		return unix.IoctlSetTermios(fd, unix.TCSETS, s)
	})
	n, err := p.Read(make([]byte, 1))
	if n != 0 || err == nil || errors.Is(err, port.ErrGone) || !strings.Contains(err.Error(), "another program") {
		t.Errorf("Read = %d, %v, want an error that names the other program", n, err)
	}
}

func TestBaudsAreWhatWasAskedFor(t *testing.T) {
	for _, baud := range []int{0, 300, 9600, 74880, 115200, 123457, 921600, 4000000} {
		m, s := device(t)
		must(t, guarded, s, port.Config{Baud: baud})
		want := baud
		if baud == 0 {
			want = 115200
		}
		if got := settings(t, m).Ospeed; int(got) != want {
			t.Errorf("Open with %d baud set %d, want %d", baud, got, want)
		}
	}
	m, s := device(t)
	p := must(t, guarded, s, port.Config{}).(*port.Port)
	for _, baud := range []int{74880, 9600, 1500000} {
		if err := p.SetBaud(baud); err != nil {
			t.Errorf("SetBaud(%d) = %v", baud, err)
		}
		if got := settings(t, m).Ospeed; int(got) != baud {
			t.Errorf("SetBaud(%d) set %d", baud, got)
		}
	}
	if _, err := port.Open(s, port.Config{}); !errors.Is(err, port.ErrBusy) {
		t.Errorf("Open after SetBaud = %v, want %v: it must not lose the lock", err, port.ErrBusy)
	}
}

func TestFlowControlIsSetAndCleared(t *testing.T) {
	m, s := device(t)
	for _, tt := range []struct {
		flow         port.Flow
		iflag, cflag uint32
	}{
		{port.Hardware, 0, unix.CRTSCTS},
		{port.Software, unix.IXON | unix.IXOFF, 0},
		{port.None, 0, 0},
	} {
		p := must(t, guarded, s, port.Config{Flow: tt.flow})
		got := settings(t, m)
		if i, c := got.Iflag&(unix.IXON|unix.IXOFF), got.Cflag&unix.CRTSCTS; i != tt.iflag || c != tt.cflag {
			t.Errorf("flow control %q: input flags %o, control flags %o, want %o, %o", tt.flow, i, c, tt.iflag, tt.cflag)
		}
		p.Close()
	}
}

func TestAPseudoTerminalHasNoLinesButABreak(t *testing.T) {
	_, p := plugged(t)
	for name, err := range map[string]error{
		"SetLines": p.SetLines(port.Lines{DTR: true}), "SetDTR": p.SetDTR(false), "SetRTS": p.SetRTS(true),
	} {
		if !errors.Is(err, port.ErrNoLines) || !errors.Is(err, syscall.ENOTTY) && !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s = %v, want %v with its cause", name, err, port.ErrNoLines)
		}
	}
	if err := p.Break(time.Millisecond); err != nil {
		t.Errorf("Break = %v, want nil", err)
	}
}

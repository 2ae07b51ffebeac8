package port

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
)

func TestADriverThatDoesSomethingElseIsRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
		t    unix.Termios
		want string // "" if accepted
	}{
		{"as asked", Config{}, unix.Termios{Ospeed: 115200}, ""},
		{"a divided clock is near enough", Config{Baud: 74880}, unix.Termios{Ospeed: 75000}, ""},
		{"too slow", Config{Baud: 921600}, unix.Termios{Ospeed: 115200}, "port does 115200 baud, want 921600"},
		{"too fast", Config{Baud: 9600}, unix.Termios{Ospeed: 9900}, "port does 9900 baud, want 9600"},
		{"flow control dropped", Config{Flow: Hardware}, unix.Termios{Ospeed: 115200}, "port has no hardware flow control"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.c.compare(&tt.t)
			if got := text(err); got != tt.want {
				t.Errorf("compare = %q, want %q", got, tt.want)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A pseudo-terminal never has bytes on the way, but a Unix socket answers the
// same question: how much has the other end not taken?
func TestSentWaitsForTheDeviceButNotForEver(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	device := os.NewFile(uintptr(fds[1]), "device")
	defer device.Close()
	defer unix.Close(fds[0])
	if !sent(fds[0], 0) {
		t.Error("sent = false with nothing written, want true")
	}
	if _, err := unix.Write(fds[0], []byte("reset\r")); err != nil {
		t.Fatal(err)
	}
	if sent(fds[0], 5*time.Millisecond) {
		t.Error("sent = true before the device took it, want false")
	}
	taken := make(chan error)
	go func() { _, err := device.Read(make([]byte, 16)); taken <- err }()
	if !sent(fds[0], 10*time.Second) {
		t.Error("sent = false after the device took it, want true")
	}
	if err := <-taken; err != nil {
		t.Error(err)
	}
}

// A pseudo-terminal never makes close(2) wait, real ports do. A TCP connection
// that lingers over untaken bytes waits in the same way.
func TestClosingWaitsForNoStuckDevice(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	device, err := l.Accept() // never reads
	if err != nil {
		t.Fatal(err)
	}
	defer device.Close()
	if err := c.(*net.TCPConn).SetLinger(60); err != nil {
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write = %v, want that it is stuck", err)
	}
	f, err := c.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	last, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	c.Close()
	closed := make(chan error, 1)
	go func() { closed <- closeNow(last) }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("closing waits for the device")
	}
}

func TestCloseEndsABreak(t *testing.T) {
	master, slave, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer master.Close()
	p, err := Open(slave, Config{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.Break(time.Hour) }()
	for begun := false; !begun; runtime.Gosched() {
		p.setting.Lock()
		begun = p.breaking
		p.setting.Unlock()
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("Break = %v, want %v", err, os.ErrClosed)
		}
	case <-time.After(10 * time.Second):
		t.Error("Break goes on after Close")
	}
}

func TestLockersOfOtherDevicesAreNotNamed(t *testing.T) {
	proc := t.TempDir()
	st := unix.Stat_t{Dev: unix.Mkdev(0, 6), Ino: 118}
	locks := strings.Join([]string{
		"1: FLOCK  ADVISORY  WRITE 11 00:06:118 0 EOF",
		"2: FLOCK  ADVISORY  WRITE 12 00:06:1180 0 EOF",
		"3: POSIX  ADVISORY  WRITE 13 00:06:118 0 EOF",
		"4: FLOCK  ADVISORY  WRITE 14 08:06:118 0 EOF",
		"4: -> FLOCK  ADVISORY  WRITE 15 00:06:118 0 EOF",
		"5: FLOCK  ADVISORY  READ  0 00:06:118 0 EOF",
		"6: FLOCK", "",
	}, "\n")
	if err := os.WriteFile(proc+"/locks", []byte(locks), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := lockers(proc, &st); len(got) != 1 || got[0] != 11 {
		t.Errorf("lockers = %v, want [11]", got)
	}
}

package port_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
	"mintmark/station/port"
)

// TestTrapsOfTheLibraryAreClosed runs each behaviour against the bare library
// and against our port. A row whose bare answer changes is not a failure of the
// library: it is a guard that we may no longer need.
func TestTrapsOfTheLibraryAreClosed(t *testing.T) {
	for _, tt := range []struct {
		name       string
		see        func(t *testing.T, open opener, d time.Duration) string
		bare, ours string
	}{
		{"write after close", writeAfterClose, "another slot's device got it", "closed"},
		{"set baud after close", setBaudAfterClose, "another slot's device got it", "closed"},
		{"close during a stuck write", closeDuringWrite, "hangs", "closed"},
		{"the write that was stuck at close", stuckWrite, "success", "closed"},
		{"deadline of a stuck write", writeDeadline, "hangs", "deadline"},
		{"unplug during a write", unplugDuringWrite, "short success", "gone"},
		{"deadline of a read", readDeadline, "0, nil", "deadline"},
		{"io.ReadFull from a silent device", readFull, "spins", "deadline"},
		{"bufio.Scanner on a silent device", scanner, io.ErrNoProgress.Error(), "deadline"},
		{"deadline with a device that never stops talking", chatter, "goes on", "deadline"},
		{"descriptor 1024 and above", highDescriptor, "panics", "success"},
		{"a child process", child, "inherits the port", "has no port"},
		{"a port that another program locked", locked, "opens", "busy"},
		{"second open by root", secondOpen, bareSecondOpen(t), "busy, still exclusive"},
		{"DTR after close", hangUpOnClose, "falls", "stays"},
		{"modem lines where there are none", linesAtOpen, "refused", "opens"},
		{"hardware flow control", flowControl, "off", "on"},
		{"cause of a refused open", cause, "hidden", "unwraps"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			const moment = 100 * time.Millisecond // for what never comes
			if got := tt.see(t, openBare, moment); got != tt.bare {
				t.Errorf("bare library: got %q, want the trap %q", got, tt.bare)
			}
			if got := tt.see(t, guarded, patience); got != tt.ours {
				t.Errorf("port: got %q, want %q", got, tt.ours)
			}
		})
	}
}

// afterClose closes a port, opens others, which get its descriptor number,
// and uses the closed one.
func afterClose(t *testing.T, open opener, use func(conn) error, reached func(conn, *os.File) bool) string {
	_, s := device(t)
	old := must(t, open, s, port.Config{Baud: 115200})
	var masters []*os.File
	var slaves []string
	for range 4 {
		m, s := device(t)
		masters, slaves = append(masters, m), append(slaves, s)
	}
	old.Close()
	var others []conn
	for _, s := range slaves { // the number may have been taken by something else of this process
		others = append(others, must(t, open, s, port.Config{Baud: 115200}))
	}
	err := use(old)
	for i := range others {
		if reached(others[i], masters[i]) {
			return "another slot's device got it"
		}
	}
	return say(0, err)
}

func writeAfterClose(t *testing.T, open opener, _ time.Duration) string {
	return afterClose(t, open, func(c conn) error {
		_, err := c.Write([]byte("SECRET-FOR-SLOT-1"))
		return err
	}, func(own conn, m *os.File) bool {
		const marker = "own" // arrives behind the secret, if there is one
		if _, err := own.Write([]byte(marker)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(marker))
		if _, err := io.ReadFull(m, got); err != nil {
			t.Fatal(err)
		}
		return string(got) != marker
	})
}

func setBaudAfterClose(t *testing.T, open opener, _ time.Duration) string {
	return afterClose(t, open, func(c conn) error { return c.SetBaud(300) }, func(_ conn, m *os.File) bool {
		return settings(t, m).Ospeed == 300
	})
}

// long is more than a pseudo-terminal takes without a reader.
var long = make([]byte, 1<<20)

func closeDuringWrite(t *testing.T, open opener, d time.Duration) string {
	m, s := device(t)
	p := must(t, open, s, port.Config{})
	done := run(p.Write, long)
	begun(t, m)
	if err := p.Close(); err != nil {
		return err.Error()
	}
	return after(done, d)
}

func stuckWrite(t *testing.T, open opener, _ time.Duration) string {
	m, s := device(t)
	p := must(t, open, s, port.Config{})
	done := run(p.Write, long)
	begun(t, m)
	if err := p.Close(); err != nil {
		return err.Error()
	}
	io.CopyN(io.Discard, m, int64(len(long))-1) // the device begins to read again
	return after(done, patience)
}

func writeDeadline(t *testing.T, open opener, d time.Duration) string {
	m, s := device(t)
	p := must(t, open, s, port.Config{})
	done := run(p.Write, long)
	begun(t, m)
	p.SetDeadline(time.Now().Add(time.Millisecond))
	return after(done, d)
}

func unplugDuringWrite(t *testing.T, open opener, _ time.Duration) string {
	m, s := device(t)
	p := must(t, open, s, port.Config{})
	done := run(p.Write, long)
	begun(t, m)
	m.Close()
	g := <-done
	if g.err == nil && g.n < len(long) {
		return "short success"
	}
	return say(g.n, g.err)
}

func readDeadline(t *testing.T, open opener, _ time.Duration) string {
	_, s := device(t)
	p := must(t, open, s, port.Config{})
	p.SetDeadline(time.Now().Add(time.Millisecond))
	return say(p.Read(make([]byte, 1)))
}

// counter gives up after so many reads that no honest reader makes them.
type counter struct {
	conn
	left int
}

var errSpins = errors.New("spins")

func (c *counter) Read(b []byte) (int, error) {
	if c.left--; c.left < 0 {
		return 0, errSpins
	}
	return c.conn.Read(b)
}

func readFull(t *testing.T, open opener, _ time.Duration) string {
	_, s := device(t)
	p := must(t, open, s, port.Config{})
	p.SetDeadline(time.Now().Add(time.Millisecond))
	return say(io.ReadFull(&counter{p, 500}, make([]byte, 10)))
}

func scanner(t *testing.T, open opener, _ time.Duration) string {
	_, s := device(t)
	p := must(t, open, s, port.Config{})
	p.SetDeadline(time.Now().Add(time.Millisecond))
	sc := bufio.NewScanner(p)
	sc.Scan()
	return say(0, sc.Err())
}

func chatter(t *testing.T, open opener, d time.Duration) string {
	m, s := device(t)
	p := must(t, open, s, port.Config{})
	talks := make(chan struct{})
	go func() {
		defer close(talks)
		for {
			if _, err := m.Write([]byte("log noise\r\n")); err != nil {
				return
			}
		}
	}()
	defer func() { m.Close(); <-talks }()
	p.SetDeadline(time.Now().Add(patience))
	late := 0
	for b := make([]byte, 64); late < 5; {
		n, err := p.Read(b)
		if err != nil {
			return say(n, err)
		}
		if n > 0 {
			late++
			p.SetDeadline(time.Unix(1, 0)) // has passed, from the second read on
		}
	}
	return "goes on"
}

func highDescriptor(t *testing.T, open opener, _ time.Duration) (saw string) {
	m, s := device(t)
	if _, err := m.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	for fd := -1; fd < 1024; { // the runtime has raised the limit of open files as far as it may
		f, err := os.Open("/dev/null")
		if err != nil {
			t.Fatalf("%v, want a hard limit of open files above 1100 (ulimit -Hn)", err)
		}
		defer f.Close()
		fd = int(f.Fd())
	}
	p := must(t, open, s, port.Config{})
	defer p.Close()
	defer func() {
		if recover() != nil {
			saw = "panics"
		}
	}()
	p.SetDeadline(time.Now().Add(patience))
	return say(p.Read(make([]byte, 1)))
}

func child(t *testing.T, open opener, _ time.Duration) string {
	_, s := device(t)
	must(t, open, s, port.Config{})
	out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), s+"\n") {
		return "inherits the port"
	}
	return "has no port"
}

func locked(t *testing.T, open opener, _ time.Duration) string {
	_, s := device(t)
	other, err := pty.Keep(s)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ioctl(t, other, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	p, err := open(s, port.Config{})
	if err != nil {
		return say(0, err)
	}
	p.Close()
	return "opens"
}

func secondOpen(t *testing.T, open opener, _ time.Duration) string {
	m, s := device(t)
	must(t, open, s, port.Config{})
	saw := "opens"
	if p, err := open(s, port.Config{Baud: 9600}); err != nil {
		saw = say(0, err)
	} else {
		p.Close()
	}
	ioctl(t, m, func(fd int) error { // the master's flag is another one
		slave, err := unix.IoctlRetInt(fd, unix.TIOCGPTPEER)
		if err == unix.EBUSY {
			saw += ", still exclusive"
			return nil
		}
		if err != nil {
			return err
		}
		defer unix.Close(slave)
		if on, err := unix.IoctlGetInt(slave, unix.TIOCGEXCL); err == nil && on != 0 {
			saw += ", still exclusive"
		}
		return nil
	})
	return saw
}

// bareSecondOpen is what the library does: TIOCEXCL doesn't bind an
// administrator, and closing the second handle takes it from the first.
func bareSecondOpen(t *testing.T) string {
	const sysAdmin = 21 // CAP_SYS_ADMIN
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, s, _ := strings.Cut(string(b), "CapEff:")
	var caps uint64
	if _, err := fmt.Sscanf(s, "%x", &caps); err != nil {
		t.Fatal(err)
	}
	if caps&(1<<sysAdmin) != 0 {
		return "opens"
	}
	return "Serial port busy, still exclusive"
}

func hangUpOnClose(t *testing.T, open opener, _ time.Duration) string {
	m, s := device(t)
	ioctl(t, m, func(fd int) error { // as real ports have it from the start
		set, err := unix.IoctlGetTermios(fd, unix.TCGETS)
		if err != nil {
			return err
		}
		set.Cflag |= unix.HUPCL
		return unix.IoctlSetTermios(fd, unix.TCSETS, set)
	})
	must(t, open, s, port.Config{})
	if settings(t, m).Cflag&unix.HUPCL != 0 {
		return "falls"
	}
	return "stays"
}

func linesAtOpen(t *testing.T, open opener, _ time.Duration) string {
	_, s := device(t)
	p, err := open(s, port.Config{Lines: &port.Lines{}})
	if err != nil {
		return "refused"
	}
	p.Close()
	return "opens"
}

func flowControl(t *testing.T, open opener, _ time.Duration) string {
	m, s := device(t)
	must(t, open, s, port.Config{Flow: port.Hardware})
	if settings(t, m).Cflag&unix.CRTSCTS != 0 {
		return "on"
	}
	return "off"
}

func cause(t *testing.T, open opener, _ time.Duration) string {
	if _, err := open("/dev/null", port.Config{}); errors.Is(err, syscall.ENOTTY) {
		return "unwraps"
	}
	return "hidden"
}

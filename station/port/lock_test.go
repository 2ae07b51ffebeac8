package port_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
	"mintmark/station/port"
)

func TestOpenSaysWhatItWanted(t *testing.T) {
	_, s := device(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		c    port.Config
		is   error
		text string
	}{
		{"/dev/none", port.Config{}, fs.ErrNotExist, "open /dev/none: no such file or directory"},
		{file, port.Config{}, syscall.ENOTTY, "open " + file + ": is not a serial port: inappropriate ioctl for device"},
		{"/dev/null", port.Config{}, syscall.ENOTTY, "open /dev/null: is not a serial port: inappropriate ioctl for device"},
		{s, port.Config{Baud: -1}, nil, "open " + s + ": -1 baud, want 1 to 10000000"},
		{s, port.Config{Flow: "dtr/dsr"}, nil, "open " + s + `: flow control is "dtr/dsr", want "none", "rts/cts" or "xon/xoff"`},
	} {
		_, err := port.Open(tt.path, tt.c)
		if err == nil || err.Error() != tt.text || tt.is != nil && !errors.Is(err, tt.is) {
			t.Errorf("Open = %v, want %s", err, tt.text)
		}
	}
}

func TestOpeningAnUnpluggedDeviceSaysGone(t *testing.T) {
	m, s := device(t)
	keep, err := pty.Keep(s) // or the name goes with the device
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	m.Close()
	_, err = port.Open(fmt.Sprintf("/proc/self/fd/%d", keep.Fd()), port.Config{})
	if !errors.Is(err, port.ErrGone) || !errors.Is(err, syscall.EIO) {
		t.Errorf("Open = %v, want %v", err, port.ErrGone)
	}
}

func TestABusyPortNamesItsHolder(t *testing.T) {
	m, s := device(t)
	p := must(t, guarded, s, port.Config{})
	_, err := port.Open(s, port.Config{})
	if want := "open " + s + ": port is in use by this process"; err == nil || err.Error() != want {
		t.Errorf("Open = %v, want %s", err, want)
	}
	p.Close()

	exclusive := must(t, openBare, s, port.Config{}) // without a lock
	if _, err := port.Open(s, port.Config{}); !errors.Is(err, port.ErrBusy) {
		t.Errorf("Open of an exclusive port = %v, want %v", err, port.ErrBusy)
	}
	exclusive.Close()

	c := exec.Command("flock", "--no-fork", s, "sh", "-c", "echo locked; read line")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("locked\n"))); err != nil {
		t.Fatal(err)
	}
	_, err = port.Open(s, port.Config{})
	want := fmt.Sprintf("open %s: port is in use by sh (pid %d)", s, c.Process.Pid)
	if !errors.Is(err, port.ErrBusy) || err.Error() != want {
		t.Errorf("Open = %v, want %s", err, want)
	}
	who, err := port.Holders("/proc", s)
	if err != nil || !slices.Equal(who, []port.Holder{{PID: c.Process.Pid, Name: "sh"}}) {
		t.Errorf("Holders = %v, %v, want only sh", who, err)
	}
	in.Close()
	c.Wait()
	must(t, guarded, s, port.Config{})
	m.Close()
}

// The library has its descriptor without close-on-exec for a moment.
func TestNoChildInheritsAPortThatIsBeingOpened(t *testing.T) {
	_, s := device(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			p, err := port.Open(s, port.Config{})
			if err != nil {
				t.Error(err)
				return
			}
			p.Close()
		}
	})
	for range 100 {
		out, err := exec.Command("ls", "-l", "/proc/self/fd").CombinedOutput()
		if err != nil || strings.Contains(string(out), "/dev/pts/") {
			t.Errorf("a child has, %v:\n%s", err, out)
			break
		}
	}
	close(stop)
	wg.Wait()
}

// A link that is turned while the port is opened leads the lock, the settings
// and the bytes to the same device.
func TestALinkThatTurnsDuringOpenNeverMixesDevices(t *testing.T) {
	link := filepath.Join(t.TempDir(), "slot-1")
	masters := map[uint64]*os.File{}
	var slaves []string
	for range 2 {
		m, s := device(t)
		keep, err := pty.Keep(s)
		if err != nil {
			t.Fatal(err)
		}
		defer keep.Close()
		var st unix.Stat_t
		if err := unix.Stat(s, &st); err != nil {
			t.Fatal(err)
		}
		masters[st.Rdev], slaves = m, append(slaves, s)
	}
	if err := pty.Link(slaves[0], link); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				if err := pty.Link(slaves[i%2], link); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for i := range 300 {
		before := map[uint64]uint32{}
		for dev, m := range masters {
			before[dev] = settings(t, m).Ospeed
		}
		baud := 1000 + i
		p, err := port.Open(link, port.Config{Baud: baud})
		if err != nil {
			t.Error(err)
			break
		}
		for dev, m := range masters {
			want := before[dev]
			if dev == p.Dev() {
				want = uint32(baud)
			}
			if got := settings(t, m).Ospeed; got != want {
				t.Errorf("device %x has %d baud, want %d", dev, got, want)
			}
		}
		p.Close()
	}
	close(stop)
	wg.Wait()
}

package usb_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
	"mintmark/station/usb"
)

// A bus is a folder that looks like sysfs with USB devices, whose ports are
// pseudo-terminals.
type bus struct {
	t     *testing.T
	sys   string
	count int // of devices that were ever plugged in
}

func newBus(t *testing.T) *bus {
	return &bus{t: t, sys: t.TempDir()}
}

// address returns that of a slot on this bus, which hears no events.
func (b *bus) address(s string) usb.Address {
	b.t.Helper()
	a := parse(b.t, s)
	a.Sys = b.sys
	a.Hearing(func() (*os.File, error) { return nil, errors.New("deaf") })
	return a
}

func parse(t *testing.T, s string) usb.Address {
	t.Helper()
	a, err := usb.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (b *bus) file(path, text string) {
	b.t.Helper()
	path = filepath.Join(b.sys, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bus) link(to, path string) {
	b.t.Helper()
	path = filepath.Join(b.sys, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(b.sys, to), path); err != nil {
		b.t.Fatal(err)
	}
}

// plug makes a device appear in a socket. The port may be "ttyACM0" or, for a
// driver with a folder in between, "ttyUSB0/tty/ttyUSB0".
func (b *bus) plug(socket, face, port, slave string) {
	b.t.Helper()
	b.count++
	device := "devices/pci0/usb1/" + socket
	if _, err := os.Stat(filepath.Join(b.sys, device)); err != nil {
		b.link(device, "bus/usb/devices/"+socket)
	}
	for name, text := range map[string]string{
		"idVendor": "1d6b", "idProduct": "0104", "bcdDevice": "0606", "serial": "SN-" + socket,
		"manufacturer": "Acme", "product": "Sensor", "devnum": fmt.Sprint(b.count),
	} {
		b.file(device+"/"+name, text+"\n")
	}
	inner := device + "/" + socket + ":" + face
	tty := inner + "/tty/" + port
	if strings.Contains(port, "/") {
		tty = inner + "/" + port
	}
	var st unix.Stat_t
	if err := unix.Stat(slave, &st); err != nil {
		b.t.Fatal(err)
	}
	major, minor := unix.Major(st.Rdev), unix.Minor(st.Rdev)
	b.file(tty+"/uevent", fmt.Sprintf("MAJOR=%d\nMINOR=%d\nDEVNAME=%s\n", major, minor, strings.TrimPrefix(slave, "/dev/")))
	b.link(filepath.Dir(filepath.Dir(tty)), tty+"/device")
	b.link(tty, "class/tty/"+filepath.Base(tty))
	b.link(tty, fmt.Sprintf("dev/char/%d:%d", major, minor))
	b.link(inner, "bus/usb/devices/"+socket+":"+face)
}

// unplug makes what is in a socket disappear.
func (b *bus) unplug(socket string) {
	b.t.Helper()
	if err := os.RemoveAll(filepath.Join(b.sys, "devices/pci0/usb1", socket)); err != nil {
		b.t.Fatal(err)
	}
	for _, pattern := range []string{"bus/usb/devices/*", "class/tty/*", "dev/char/*"} {
		links, _ := filepath.Glob(filepath.Join(b.sys, pattern))
		for _, l := range links {
			if _, err := os.Stat(l); err != nil {
				os.Remove(l)
			}
		}
	}
}

// slaves makes n pseudo-terminals that stay open.
func slaves(t *testing.T, n int) []string {
	t.Helper()
	var all []string
	for range n {
		m, s, err := pty.Open()
		if err != nil {
			t.Fatal(err)
		}
		k, err := pty.Keep(s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Close(); m.Close() })
		all = append(all, s)
	}
	return all
}

// patience is for what must happen; only a failing test waits that long.
const patience = 10 * time.Second

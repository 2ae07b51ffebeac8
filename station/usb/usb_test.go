package usb_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"mintmark/fixtures/pty"
	"mintmark/station/usb"
)

func TestAddressesArePlacesNotNumbers(t *testing.T) {
	for _, s := range []string{
		"usb:1-1:1.0", "usb:1-1.3:1.0", "usb:12-4.3.2.1.7.6.5:1.12", "/dev/ttyS0", "/dev/pts/3", "/tmp/slot-1",
		"/dev/serial/by-path/pci-0000:00:14.0-usb-0:1.3:1.0",
	} {
		if a, err := usb.ParseAddress(s); err != nil || a.String() != s {
			t.Errorf("ParseAddress(%q) = %q, %v", s, a, err)
		}
	}
	const want = "want an absolute path, or a USB socket and interface such as usb:1-1.3:1.0"
	for s, text := range map[string]string{
		"":                    want,
		"/":                   want,
		"ttyACM0":             want,
		"dev/ttyS0":           want,
		"/dev/../etc":         want,
		"usb:1-1.3":           want,
		"usb:1-1.3:1":         want,
		"usb:1-1.3:1.0:2":     want,
		"usb:../../etc:1.0":   want,
		"usb:1-1.3:1.0/../..": want,
		"usb:usb1:1.0":        want,
		"usb: 1-1.3:1.0":      want,
		"USB:1-1.3:1.0":       want,
		"/dev/ttyACM0":        "goes to whichever device comes first",
		"/dev/ttyUSB12":       "goes to whichever device comes first",
	} {
		if a, err := usb.ParseAddress(s); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("ParseAddress(%q) = %q, %v, want an error with %q", s, a, err, text)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	f.Add("usb:1-1.3:1.0")
	f.Add("/dev/ttyS0")
	f.Add("usb:1-1.3:1.0\n")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := usb.ParseAddress(s)
		if err != nil {
			return
		}
		if a.String() != s {
			t.Errorf("ParseAddress(%q) says %q", s, a)
		}
		if strings.HasPrefix(s, "usb:") == strings.Contains(s, "/") {
			t.Errorf("ParseAddress accepted %q, want a path or a socket", s)
		}
	})
}

func TestASocketIsFoundUnderBothKindsOfDriver(t *testing.T) {
	for _, port := range []string{"ttyACM0", "ttyUSB0/tty/ttyUSB0"} {
		b, s := newBus(t), slaves(t, 1)
		a := b.address("usb:1-1.3:1.0")
		if d, present, err := a.Look(); present || err != nil {
			t.Errorf("Look into an empty slot = %+v, %v, %v", d, present, err)
		}
		b.plug("1-1.3", "1.0", port, s[0])
		d, present, err := a.Look()
		if !present || err != nil {
			t.Fatalf("Look = %v, %v, want a device", present, err)
		}
		want := usb.Device{
			Address: "usb:1-1.3:1.0", Path: s[0], Dev: number(t, s[0]), Vendor: "1d6b", Product: "0104", Release: "0606",
			Serial: "SN-1-1.3", Maker: "Acme", Name: "Sensor",
		}
		if diff := cmp.Diff(want, d, cmpopts.IgnoreUnexported(usb.Device{})); diff != "" {
			t.Errorf("Look (-want +got):\n%s", diff)
		}
		b.unplug("1-1.3")
		if path, present, err := a.Find(); present || err != nil || path != "" {
			t.Errorf("Find after the unplugging = %q, %v, %v", path, present, err)
		}
	}
}

func number(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Rdev
}

func TestASlotKeepsItsDeviceWhateverItsNumber(t *testing.T) {
	b, s := newBus(t), slaves(t, 4)
	one, two, data := b.address("usb:1-1.1:1.0"), b.address("usb:1-1.2:1.0"), b.address("usb:1-1.2:1.2")
	b.plug("1-1.1", "1.0", "ttyACM1", s[0])
	b.plug("1-1.2", "1.0", "ttyACM0", s[1])
	b.plug("1-1.2", "1.2", "ttyACM2", s[2]) // the same device's second port
	b.plug("1-1", "1.0", "ttyACM7", s[3])
	for _, tt := range []struct {
		a    usb.Address
		want string
	}{{one, s[0]}, {two, s[1]}, {data, s[2]}} {
		if path, present, err := tt.a.Find(); path != tt.want || !present || err != nil {
			t.Errorf("slot %s: Find = %q, %v, %v, want %q", tt.a, path, present, err, tt.want)
		}
	}
}

func TestAnInterfaceWithTwoPortsIsNoSlot(t *testing.T) {
	b, s := newBus(t), slaves(t, 2)
	b.plug("1-1", "1.0", "ttyUSB0/tty/ttyUSB0", s[0])
	b.file("devices/pci0/usb1/1-1/1-1:1.0/ttyUSB1/tty/ttyUSB1/uevent", "MAJOR=1\n")
	_, present, err := b.address("usb:1-1:1.0").Find()
	if present || err == nil || !strings.Contains(err.Error(), "interface has 2 ports, want 1") {
		t.Errorf("Find = %v, %v, want an error that counts the ports", present, err)
	}
}

// The kernel makes and removes its files one by one.
func TestAHalfMadeDeviceIsNotThereYet(t *testing.T) {
	for name, spoil := range map[string]func(b *bus, tty, slave string){
		"no terminal": func(b *bus, tty, _ string) { os.RemoveAll(filepath.Join(b.sys, filepath.Dir(tty))) },
		"no event":    func(b *bus, tty, _ string) { os.Remove(filepath.Join(b.sys, tty, "uevent")) },
		"empty event": func(b *bus, tty, _ string) { b.file(tty+"/uevent", "") },
		"half event":  func(b *bus, tty, _ string) { b.file(tty+"/uevent", "MAJOR=136\n") },
		"wrong name":  func(b *bus, tty, _ string) { b.file(tty+"/uevent", "MAJOR=136\nMINOR=0\nDEVNAME=../etc\n") },
		"no node":     func(b *bus, tty, _ string) { b.file(tty+"/uevent", "MAJOR=136\nMINOR=0\nDEVNAME=ttyACM99\n") },
		"old node": func(b *bus, tty, slave string) {
			b.file(tty+"/uevent", "MAJOR=166\nMINOR=0\nDEVNAME="+strings.TrimPrefix(slave, "/dev/")+"\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			b, s := newBus(t), slaves(t, 1)
			b.plug("1-1", "1.0", "ttyACM0", s[0])
			a := b.address("usb:1-1:1.0")
			if _, present, err := a.Find(); !present || err != nil {
				t.Fatalf("Find of a whole device = %v, %v", present, err)
			}
			spoil(b, "devices/pci0/usb1/1-1/1-1:1.0/tty/ttyACM0", s[0])
			if path, present, err := a.Find(); present || err != nil {
				t.Errorf("Find = %q, %v, %v, want nothing and no error", path, present, err)
			}
		})
	}
}

func TestAPathMayBeALinkThatComesAndGoes(t *testing.T) {
	s := slaves(t, 2)
	path := filepath.Join(t.TempDir(), "slot-1")
	a := parse(t, path)
	want := func(target string) {
		t.Helper()
		if got, present, err := a.Find(); got != target || present != (target != "") || err != nil {
			t.Errorf("Find = %q, %v, %v, want %q", got, present, err, target)
		}
	}
	want("")
	for _, target := range s {
		if err := pty.Link(target, path); err != nil {
			t.Fatal(err)
		}
		want(target)
	}
	if err := pty.Link("/dev/pts/none", path); err != nil {
		t.Fatal(err)
	}
	want("")
	if err := pty.Link("/etc/passwd", path); err != nil {
		t.Fatal(err)
	}
	if _, present, err := a.Find(); present || err == nil || !strings.Contains(err.Error(), "is not a serial port") {
		t.Errorf("Find of a file = %v, %v, want an error", present, err)
	}
	os.Remove(path)
	want("")
}

func TestAPathToAUSBDeviceKnowsWhatItSays(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	b.plug("1-1.3", "1.0", "ttyUSB0/tty/ttyUSB0", s[0])
	a := b.address(s[0])
	if d, present, err := a.Look(); !present || err != nil || d.Serial != "SN-1-1.3" || d.Vendor != "1d6b" {
		t.Errorf("Look = %+v, %v, %v, want its serial", d, present, err)
	}
}

// A device is not trusted, not even its name.
func TestWhatADeviceSaysIsPrintableAndShort(t *testing.T) {
	b, s := newBus(t), slaves(t, 1)
	b.plug("1-1", "1.0", "ttyACM0", s[0])
	const dir = "devices/pci0/usb1/1-1/"
	b.file(dir+"serial", "\x1b[2J\r\nPASS\x00\xff\u202e")
	b.file(dir+"product", strings.Repeat("é", 5000))
	b.file(dir+"idVendor", "1d6b; rm")
	if err := os.Remove(filepath.Join(b.sys, dir, "manufacturer")); err != nil {
		t.Fatal(err)
	}
	d, present, err := b.address("usb:1-1:1.0").Look()
	if !present || err != nil {
		t.Fatal(present, err)
	}
	if want := "\ufffd[2J\ufffd\ufffdPASS\ufffd\ufffd\ufffd"; d.Serial != want {
		t.Errorf("serial is %q, want %q", d.Serial, want)
	}
	if want := strings.Repeat("é", 126); d.Name != want || d.Vendor != "" || d.Maker != "" {
		t.Errorf("name has %d runes, vendor is %q, maker is %q, want 126 and none", len([]rune(d.Name)), d.Vendor, d.Maker)
	}
}

func TestListNamesTheSlotOfEveryUSBPort(t *testing.T) {
	b, s := newBus(t), slaves(t, 3)
	b.plug("1-1.2", "1.0", "ttyACM0", s[0])
	b.plug("1-1.1", "1.0", "ttyUSB3/tty/ttyUSB3", s[1])
	b.plug("1-1.1", "1.2", "ttyACM1", s[2])
	b.file("devices/platform/serial8250/tty/ttyS0/uevent", "MAJOR=4\nMINOR=64\nDEVNAME=ttyS0\n")
	b.link("devices/platform/serial8250", "devices/platform/serial8250/tty/ttyS0/device")
	b.link("devices/platform/serial8250/tty/ttyS0", "class/tty/ttyS0")
	b.file("class/tty/console/uevent", "")
	all, err := usb.List(usb.Options{Sys: b.sys})
	var got []string
	for _, d := range all {
		got = append(got, d.Address+" "+d.Path)
	}
	want := []string{"usb:1-1.1:1.0 " + s[1], "usb:1-1.1:1.2 " + s[2], "usb:1-1.2:1.0 " + s[0]}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("List (-want +got), %v:\n%s", err, diff)
	}
	if _, err := usb.List(usb.Options{Sys: filepath.Join(b.sys, "none")}); !os.IsNotExist(err) {
		t.Errorf("List without sysfs = %v, want %v", err, fs.ErrNotExist)
	}
}

package usb

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

// A Device is what is in a slot now.
type Device struct {
	Address string // of the slot
	Path    string // of the device node, links resolved
	Dev     uint64 // device number

	// What a USB device says of itself, printable and bounded; "" if it says nothing.
	Vendor, Product, Release string // numbers of four hexadecimal digits
	Serial, Maker, Name      string

	stay string // differs each time that a device is plugged in
}

// Find returns the path of the device node in the slot now.
func (a Address) Find() (path string, present bool, err error) {
	d, present, err := a.Look()
	return d.Path, present, err
}

// Look returns the device that is in the slot now. An error means that the slot
// can't be told from others, not that it is empty.
func (a Address) Look() (d Device, present bool, err error) {
	a.Options = a.Options.withDefaults()
	if a.path == "" {
		d, err = a.lookUSB()
	} else {
		d, err = a.lookPath()
	}
	d.Address = a.String()
	switch {
	case err == nil:
		return d, true, nil
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return Device{}, false, nil
	}
	return Device{}, false, fmt.Errorf("look into slot %s: %w", a, err)
}

// lookUSB finds the port of the interface. The kernel makes things in steps, so
// what isn't complete is not there yet.
func (a Address) lookUSB() (d Device, err error) {
	usb := filepath.Join(a.Sys, "bus/usb/devices", a.socket)
	tty, err := ttyOf(usb + ":" + a.face)
	if err != nil {
		return d, err
	}
	var name string
	if name, d.Dev, err = event(tty); err != nil {
		return d, err
	}
	d.Path = filepath.Join(a.Dev, name)
	st, err := node(d.Path)
	if err != nil {
		return d, err
	}
	if st.Rdev != d.Dev {
		return d, fs.ErrNotExist // the node of a predecessor
	}
	d.describe(usb)
	d.stay = fmt.Sprint(d.Path, " ", say(usb, "devnum"), " ", birth(d.Path))
	return d, nil
}

// ttyOf returns the folder of the interface's only terminal: tty/ttyACM0 or, for
// drivers that have a port in between, ttyUSB0/tty/ttyUSB0.
func ttyOf(face string) (string, error) {
	var all []string
	for _, pattern := range []string{"tty/tty*", "tty*/tty/tty*"} {
		found, err := filepath.Glob(filepath.Join(face, pattern))
		if err != nil {
			return "", err
		}
		all = append(all, found...)
	}
	switch len(all) {
	case 0:
		return "", fs.ErrNotExist
	case 1:
		return all[0], nil
	}
	return "", fmt.Errorf("interface has %d ports, want 1", len(all))
}

// event reads node name and number from what the kernel announced.
func event(tty string) (name string, dev uint64, err error) {
	text, err := os.ReadFile(filepath.Join(tty, "uevent"))
	if err != nil {
		return "", 0, err
	}
	v := map[string]string{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		v[key] = value
	}
	major, err1 := strconv.ParseUint(v["MAJOR"], 10, 32)
	minor, err2 := strconv.ParseUint(v["MINOR"], 10, 32)
	if name = v["DEVNAME"]; err1 != nil || err2 != nil || !filepath.IsLocal(name) {
		return "", 0, fs.ErrNotExist // not written yet
	}
	return name, unix.Mkdev(uint32(major), uint32(minor)), nil
}

func (a Address) lookPath() (d Device, err error) {
	if d.Path, err = filepath.EvalSymlinks(a.path); err != nil {
		return d, err
	}
	st, err := node(d.Path)
	if err != nil {
		return d, err
	}
	d.Dev = st.Rdev
	d.stay = fmt.Sprint(d.Path, " ", birth(a.path), " ", birth(d.Path))
	sys := fmt.Sprintf("dev/char/%d:%d/device", unix.Major(d.Dev), unix.Minor(d.Dev))
	if dir, err := filepath.EvalSymlinks(filepath.Join(a.Sys, sys)); err == nil {
		d.describe(usbOf(dir))
	}
	return d, nil
}

// node returns the facts of a device node.
func node(path string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFCHR {
		return nil, fmt.Errorf("%s is not a serial port", path)
	}
	return &st, nil
}

// birth tells a file from a later one of the same name, also where inode numbers
// are used again, as long as the filesystem knows when a file was made. It stays
// the same when owner, mode or times are changed.
func birth(path string) string {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO|unix.STATX_BTIME, &st) != nil {
		return "" // gone; the next look will see it
	}
	return fmt.Sprint(st.Ino, " ", st.Btime.Sec, ".", st.Btime.Nsec)
}

// usbOf returns the folder of the USB device that dir belongs to, or "".
func usbOf(dir string) string {
	for range 6 { // port, interface, device, and some for composite drivers
		if _, err := os.Stat(filepath.Join(dir, "idVendor")); err == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return ""
}

var hex4 = regexp.MustCompile(`^[0-9a-f]{4}$`)

func (d *Device) describe(usb string) {
	if usb == "" {
		return
	}
	number := func(name string) string {
		if s := say(usb, name); hex4.MatchString(s) {
			return s
		}
		return ""
	}
	d.Vendor, d.Product, d.Release = number("idVendor"), number("idProduct"), number("bcdDevice")
	d.Serial, d.Maker, d.Name = say(usb, "serial"), say(usb, "manufacturer"), say(usb, "product")
}

// say reads a short text of a device: the first 126 characters of a USB string
// descriptor, printable or replaced.
func say(dir, name string) string {
	f, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, 1024))
	s := []rune(strings.TrimSpace(string(b)))
	for i, r := range s {
		if !unicode.IsPrint(r) {
			s[i] = unicode.ReplacementChar
		}
	}
	return string(s[:min(len(s), 126)])
}

// List returns all serial devices on USB, each with the address of its slot: for
// writing a station's configuration.
func List(o Options) ([]Device, error) {
	sys := o.withDefaults().Sys
	entries, err := os.ReadDir(filepath.Join(sys, "class/tty"))
	if err != nil {
		return nil, err
	}
	var all []Device
	for _, e := range entries {
		dir, err := filepath.EvalSymlinks(filepath.Join(sys, "class/tty", e.Name(), "device"))
		if err != nil {
			continue // a terminal without hardware
		}
		a, err := ParseAddress("usb:" + filepath.Base(dir))
		if err != nil { // some drivers have a port between interface and terminal
			a, err = ParseAddress("usb:" + filepath.Base(filepath.Dir(dir)))
		}
		if err != nil {
			continue // not on USB
		}
		a.Options = o
		if d, present, err := a.Look(); err == nil && present {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b Device) int { return strings.Compare(a.Address, b.Address) })
	return all, nil
}

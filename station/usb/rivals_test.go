package usb_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mintmark/station/usb"
)

// machine is a root folder with processes.
type machine struct {
	t    *testing.T
	root string
}

func (m machine) file(path, text string) {
	m.t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) process(pid int, args ...string) {
	m.t.Helper()
	dir := filepath.Join("proc", strconv.Itoa(pid))
	m.file(dir+"/comm", filepath.Base(args[0])+"\n")
	m.file(dir+"/cmdline", strings.Join(args, "\x00")+"\x00")
}

func (m machine) opens(pid int, fd, path string) {
	m.t.Helper()
	dir := filepath.Join(m.root, "proc", strconv.Itoa(pid), "fd")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(dir, fd)); err != nil {
		m.t.Fatal(err)
	}
}

func TestRivalsAreNamedWithARemedy(t *testing.T) {
	s := slaves(t, 3)
	name := strings.TrimPrefix(s[0], "/dev/")
	m := machine{t, t.TempDir()}
	m.file("proc/consoles", "tty0 -WU (EC p  )  4:7\n"+name+" -W- (EC p a)  136:0\n")
	m.file("proc/uptime", "1 1\n")
	m.process(1, "/sbin/init")
	m.process(20, "/usr/sbin/ModemManager")
	m.process(21, "/usr/bin/brltty", "--no-daemon")
	m.process(22, "/usr/sbin/gpsd", "-N")
	m.process(30, "/sbin/agetty", "--keep-baud", "115200", name, "vt220")
	m.process(31, "/sbin/agetty", "-", "tty1")
	m.process(32, "busybox", "getty", "-L", "115200", s[0])
	m.process(33, "vi", name)
	m.process(40, "picocom", s[1])
	m.opens(40, "3", s[1])
	m.opens(30, "0", s[0])
	m.process(41, "picocom", s[2]) // not one of our slots
	m.opens(41, "3", s[2])
	m.process(42, "/tmp/\x1b[2Jnoise") // not one that is looked for
	m.process(os.Getpid(), "mintmark")
	m.opens(os.Getpid(), "9", s[1])

	got, err := usb.Rivals(m.root, parse(t, s[0]), parse(t, s[1]), parse(t, "/dev/none"))
	if err != nil {
		t.Fatal(err)
	}
	want := []usb.Rival{
		{"ModemManager", 20, "", "install 70-mintmark.rules, or systemctl disable --now ModemManager"},
		{"brltty", 21, "", "apt remove brltty"},
		{"gpsd", 22, "", "systemctl disable --now gpsd.socket gpsd.service"},
		{"kernel console", 0, s[0], "take console=" + name + " from the kernel's command line"},
		{"agetty", 30, s[0], "systemctl disable --now serial-getty@" + name},
		{"busybox", 32, s[0], "systemctl disable --now serial-getty@" + name},
		{"picocom", 40, s[1], "stop it"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Rivals (-want +got):\n%s", diff)
	}
	if s := got[0].String(); s != "ModemManager (pid 20) tries every new port: install 70-mintmark.rules, or systemctl disable --now ModemManager" {
		t.Errorf("String = %q", s)
	}
	if s, want := got[3].String(), "kernel console uses "+s[0]+": take console="+name+" from the kernel's command line"; s != want {
		t.Errorf("String = %q, want %q", s, want)
	}
}

func TestModemManagerIsNoRivalOnceItsRuleIsInstalled(t *testing.T) {
	m := machine{t, t.TempDir()}
	m.process(20, "/usr/sbin/ModemManager")
	if got, err := usb.Rivals(m.root); len(got) != 1 || err != nil {
		t.Errorf("Rivals without the rule = %v, %v, want ModemManager", got, err)
	}
	m.file("etc/udev/rules.d/70-mintmark.rules", "")
	if got, err := usb.Rivals(m.root); len(got) != 0 || err != nil {
		t.Errorf("Rivals with the rule = %v, %v, want none", got, err)
	}
}

func TestRivalsOfThisMachineCanBeLookedFor(t *testing.T) {
	if _, err := usb.Rivals("/", parse(t, slaves(t, 1)[0])); err != nil {
		t.Error(err)
	}
}

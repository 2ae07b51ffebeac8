package usb

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"mintmark/station/port"
)

// A Rival is a program that takes ports which are ours, or speaks on them.
type Rival struct {
	Name   string
	PID    int    // 0 for the kernel
	Path   string // the port; "" if it tries every new one
	Remedy string
}

func (r Rival) String() string {
	s := r.Name
	if r.PID != 0 {
		s += fmt.Sprintf(" (pid %d)", r.PID)
	}
	if r.Path == "" {
		return s + " tries every new port: " + r.Remedy
	}
	return s + " uses " + r.Path + ": " + r.Remedy
}

// rules is our file that keeps ModemManager away.
const rules = "70-mintmark.rules"

// Rivals lists what runs here and disturbs slots with the given addresses. The
// root is where /proc, /etc and /usr are, "/" in production. Port users of other
// accounts are seen only by root.
func Rivals(root string, slots ...Address) ([]Rival, error) {
	proc := filepath.Join(root, "proc")
	pids, err := processes(proc)
	if err != nil {
		return nil, err
	}
	var all []Rival
	for _, pid := range pids {
		if remedy := prober(root, comm(proc, pid)); remedy != "" {
			all = append(all, Rival{Name: comm(proc, pid), PID: pid, Remedy: remedy})
		}
	}
	for _, a := range slots {
		path, present, err := a.Find()
		if err != nil {
			return nil, err
		}
		if present {
			all = append(all, onPort(proc, pids, path)...)
		}
	}
	return all, nil
}

// prober returns what to do against a program that opens ports it doesn't know,
// or "" if it is none.
func prober(root, name string) string {
	switch name {
	case "ModemManager":
		for _, dir := range []string{"etc/udev/rules.d", "usr/lib/udev/rules.d", "lib/udev/rules.d"} {
			if _, err := os.Stat(filepath.Join(root, dir, rules)); err == nil {
				return ""
			}
		}
		return "install " + rules + ", or systemctl disable --now ModemManager"
	case "brltty":
		return "apt remove brltty"
	case "gpsd":
		return "systemctl disable --now gpsd.socket gpsd.service"
	}
	return ""
}

// onPort returns those who have the port open or were started for it.
func onPort(proc string, pids []int, path string) []Rival {
	var all []Rival
	name := strings.TrimPrefix(path, "/dev/")
	if consoles, err := os.ReadFile(filepath.Join(proc, "consoles")); err == nil {
		for line := range strings.Lines(string(consoles)) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == name {
				all = append(all, Rival{Name: "kernel console", Path: path,
					Remedy: "take console=" + name + " from the kernel's command line"})
			}
		}
	}
	seen := []int{os.Getpid()}
	for _, pid := range pids {
		if isGetty(proc, pid, name) {
			seen = append(seen, pid)
			all = append(all, Rival{Name: comm(proc, pid), PID: pid, Path: path,
				Remedy: "systemctl disable --now serial-getty@" + name})
		}
	}
	holders, _ := port.Holders(proc, path) // the path may be gone meanwhile
	for _, h := range holders {
		if !slices.Contains(seen, h.PID) {
			all = append(all, Rival{Name: h.Name, PID: h.PID, Path: path, Remedy: "stop it"})
		}
	}
	return all
}

// isGetty goes by the command line, which everyone may read.
func isGetty(proc string, pid int, tty string) bool {
	b, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return false
	}
	args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	getty := func(arg string) bool { return strings.HasSuffix(arg, "getty") } // "busybox getty" too
	return slices.ContainsFunc(args[:min(2, len(args))], getty) &&
		(slices.Contains(args, tty) || slices.Contains(args, "/dev/"+tty))
}

func processes(proc string) ([]int, error) {
	dirs, err := os.ReadDir(proc)
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, d := range dirs {
		if pid, err := strconv.Atoi(d.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

func comm(proc string, pid int) string {
	b, _ := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "comm"))
	return strings.TrimSpace(string(b))
}

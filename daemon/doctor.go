package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"mintmark/daemon/api"
	"mintmark/daemon/profile"
	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
	"mintmark/records"
	"mintmark/station/label"
	"mintmark/station/usb"
)

// A Verdict is what doctor thinks of one thing.
type Verdict string

// The verdicts: weak works, but shouldn't be sold with; wrong doesn't work.
const (
	Fine  Verdict = "ok"
	Weak  Verdict = "weak"
	Wrong Verdict = "wrong"
)

// A Finding is what doctor found out about one thing, and what to do about it.
type Finding struct {
	What    string  `json:"what"`
	Verdict Verdict `json:"verdict"`
	Text    string  `json:"text"`
	Remedy  string  `json:"remedy,omitempty"`
}

// A Doctor looks at a station. Its fields are seams: the zero value of each is
// the real thing.
type Doctor struct {
	Root    string // where proc, etc and usr are; "" means /
	Version string

	findings []Finding
}

// Examine looks at everything that a station needs and reports all of it, what
// is in order too. It changes nothing; it opens the ledger if no daemon has it.
func (d *Doctor) Examine(ctx context.Context, configPath string) []Finding {
	d.Root = cmp.Or(d.Root, "/")
	d.process()
	d.clock()
	c, err := ReadConfig(configPath)
	if err != nil {
		d.wrong("configuration", err, "put right what is named, or make a new station with mintmark init")
		return d.findings
	}
	d.fine("configuration", configPath)
	d.writable("configuration", configPath)
	d.groups(c.Groups)
	running := d.socket(ctx, c)
	if !running {
		d.authority(c)
	}
	d.ledger(ctx, c)
	d.profiles(c)
	d.printer(ctx, c)
	if running { // it has the ports itself
		d.rivals(nil)
	} else {
		d.rivals(c.Slots)
	}
	for _, s := range c.Slots {
		d.slot(s)
	}
	if len(c.Slots) == 0 {
		d.add("slots", Weak, "none: batches can be imported, but no device made", d.plugged())
	}
	return d.findings
}

func (d *Doctor) add(what string, v Verdict, text, remedy string) {
	d.findings = append(d.findings, Finding{what, v, text, remedy})
}

func (d *Doctor) fine(what, text string) { d.add(what, Fine, text, "") }

// wrong reports each mistake of a file for itself.
func (d *Doctor) wrong(what string, err error, remedy string) {
	for line := range strings.Lines(err.Error()) {
		d.add(what, Wrong, strings.TrimSpace(line), remedy)
	}
}

// process checks what keeps secrets out of reach.
func (d *Doctor) process() {
	if err := secret.Harden(); err != nil {
		d.wrong("core dumps", err, "run mintmark where prctl and setrlimit are allowed")
	} else if on, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || on != 0 {
		d.add("core dumps", Wrong, "process is still dumpable", "run mintmark where prctl is allowed")
	} else {
		d.fine("core dumps", "none, and no debugger may attach")
	}
	if err := secret.Locked(); err != nil {
		d.add("memory lock", Weak, err.Error(), "")
	} else {
		d.fine("memory lock", "secrets stay in memory")
	}
	areas, err := secret.Swap()
	switch {
	case err != nil:
		d.wrong("swap", err, "let mintmark read /proc/swaps")
	case len(areas) > 0:
		d.add("swap", Weak, "in use: "+strings.Join(areas, ", "), "swapoff -a, or MemorySwapMax=0 in the systemd unit")
	default:
		d.fine("swap", "none for this process")
	}
}

// clock refuses a clock that can't be right, and doubts one that nobody sets.
func (d *Doctor) clock() {
	now := time.Now()
	var state unix.Timex
	status, err := unix.Adjtimex(&state)
	switch {
	case now.Year() < 2026:
		d.add("clock", Wrong, "says "+now.UTC().Format(time.DateTime), "set it: timestamps are evidence")
	case err != nil || status == unix.TIME_ERROR:
		d.add("clock", Weak, "nobody keeps it right: "+now.UTC().Format(time.DateTime)+" UTC", "run chrony or systemd-timesyncd")
	default:
		d.fine("clock", now.UTC().Format(time.DateTime)+" UTC, kept right")
	}
}

// rivals finds programs that take a port which is ours.
func (d *Doctor) rivals(slots []SlotConfig) {
	var places []usb.Address
	for _, s := range slots {
		if a, err := usb.ParseAddress(s.Port); err == nil {
			places = append(places, a)
		}
	}
	found, err := usb.Rivals(d.Root, places...)
	if err != nil {
		d.wrong("rivals", err, "let mintmark read /proc")
		return
	}
	for _, r := range found {
		d.add("rivals", Weak, r.Name+" takes "+cmp.Or(r.Path, "every new port"), r.Remedy)
	}
	if len(found) == 0 {
		d.fine("rivals", "no program that takes a port of the line")
	}
}

// writable finds what others could change: station.toml names programs to run.
func (d *Doctor) writable(what, path string) {
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o002 != 0 {
		d.add(what, Wrong, path+" can be changed by everybody", "chmod o-w "+path)
	}
}

func (d *Doctor) groups(g GroupsConfig) {
	for _, role := range []struct{ key, name, nobody string }{
		{"users", g.Users, "the daemon's own group may use the socket"},
		{"quality", g.Quality, "nobody but root has this role"},
		{"supervisor", g.Supervisor, "nobody but root has this role"},
	} {
		what, name := "group "+role.key, role.name
		if name == "" {
			d.fine(what, role.nobody)
		} else if _, err := user.LookupGroup(name); err != nil {
			d.add(what, Wrong, err.Error(), "groupadd "+name+", or name another in station.toml")
		} else {
			d.fine(what, name)
		}
	}
}

// socket reports whether a daemon runs.
func (d *Doctor) socket(ctx context.Context, c Config) bool {
	_, err := api.Dial(ctx, c.Socket)
	if err == nil {
		d.fine("daemon", "answers on "+c.Socket)
		return true
	}
	if !errors.Is(err, api.ErrNoDaemon) {
		d.wrong("daemon", err, "be a member of the group of the socket")
		return true
	}
	if err := api.CheckPath(c.Socket); err != nil {
		d.wrong("socket", err, "set socket in station.toml to a path such as /run/mintmark/mintmark.sock")
		return false
	}
	d.fine("daemon", "doesn't run; commands open the ledger themselves")
	return false
}

// lowDisk is how many bytes should be free beside the reserve.
const lowDisk = 1 << 30

func (d *Doctor) ledger(ctx context.Context, c Config) {
	conn, err := Connect(ctx, c, d.Version)
	if err != nil {
		d.wrong("ledger", err, remedyFor(err))
		return
	}
	stats, err := conn.Stats(ctx)
	about, aboutErr := conn.Status(ctx, "")
	if err := errors.Join(err, aboutErr, conn.Close()); err != nil {
		d.wrong("ledger", err, remedyFor(err))
		return
	}
	d.fine("ledger", fmt.Sprintf("%s, %d claims, opens as it should", c.Ledger, stats.Claims))
	if stats.Free < lowDisk {
		d.add("disk", Weak, fmt.Sprintf("%d MiB free beside the reserve", stats.Free>>20), "free some, or move the ledger")
	} else {
		d.fine("disk", fmt.Sprintf("%d MiB free beside the reserve", stats.Free>>20))
	}
	if about.Development {
		d.add("authority", Weak, about.Authority+" is a DEVELOPMENT authority: its keys are files on this machine",
			"for trying out only; devices that are sold need another")
	}
}

// authority is asked for itself, so that a key and a ledger that are both wrong
// are both named.
func (d *Doctor) authority(c Config) {
	a, err := soft.Open(c.Authority)
	if err != nil {
		d.wrong("authority", err, remedyFor(err))
		return
	}
	d.fine("authority", a.ID()+" opens")
	a.Close()
}

// remedyFor says what to do when authority or ledger don't open.
func remedyFor(err error) string {
	switch {
	case errors.Is(err, os.ErrPermission):
		return "run as the user that owns the station's folders"
	case errors.Is(err, os.ErrNotExist):
		return "mintmark init makes a station; mintmark ledger restore fills an empty ledger"
	case errors.Is(err, records.ErrHeld):
		return "stop the process that holds it, or wait until it is done"
	}
	return "see the message; docs/operating.md has the way back"
}

func (d *Doctor) profiles(c Config) {
	d.writable("profiles", c.Profiles)
	files, err := profileFiles(c.Profiles)
	if err != nil {
		d.wrong("profiles", err, "set profiles in station.toml to the folder that has them")
		return
	}
	products := NewProducts(c.Profiles, time.Now)
	for _, f := range files {
		id := strings.TrimSuffix(filepath.Base(f), ".toml")
		p, err := products.Load(id)
		if err != nil {
			d.wrong("profile "+id, err, "put right what is named")
			continue
		}
		d.profile(c, p)
	}
}

func (d *Doctor) profile(c Config, p *profile.Profile) {
	what := "profile " + p.ID
	for _, w := range p.Warnings() {
		d.add(what, Weak, w.Error(), "")
	}
	if p.HasLabel() && c.Printer.Address == "" {
		d.add(what, Wrong, "has a label, and station.toml no printer", "set printer.address, or label = \"none\" with its reason")
	}
	if len(p.Warnings()) == 0 {
		d.fine(what, "in order")
	}
}

func (d *Doctor) printer(ctx context.Context, c Config) {
	if c.Printer.Address == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	err := label.NewPrinter(c.Printer.Address).Ready(ctx)
	var t *label.Trouble
	switch {
	case errors.As(err, &t):
		d.wrong("printer", err, t.Remedy)
	case err != nil:
		d.wrong("printer", err, "check its power and network")
	default:
		d.fine("printer", c.Printer.Address+" is ready")
	}
}

func (d *Doctor) slot(s SlotConfig) {
	what := "slot " + s.Name
	if len(s.Power) > 0 {
		if _, err := exec.LookPath(s.Power[0]); err != nil {
			d.wrong(what, err, "install it, or name another power command")
		}
	}
	address, err := usb.ParseAddress(s.Port)
	if err != nil {
		d.wrong(what, err, "see docs/config.md")
		return
	}
	path, present, err := address.Find()
	switch {
	case err != nil:
		d.wrong(what, err, d.plugged())
	case !present:
		d.fine(what, s.Port+" is empty")
	case unix.Faccessat(unix.AT_FDCWD, path, unix.R_OK|unix.W_OK, unix.AT_EACCESS) != nil:
		d.add(what, Wrong, path+" may not be opened by this user", "make the user a member of group dialout")
	default:
		d.fine(what, path+" is there")
	}
}

// plugged lists the USB sockets that have a serial port now.
func (d *Doctor) plugged() string {
	devices, err := usb.List(usb.Options{})
	if err != nil || len(devices) == 0 {
		return "add a [[slot]] for each place of a device; no USB serial port is plugged in now"
	}
	var at []string
	for _, dev := range devices {
		at = append(at, dev.Address)
	}
	return "add a [[slot]] for each place of a device; plugged in now: " + strings.Join(at, ", ")
}

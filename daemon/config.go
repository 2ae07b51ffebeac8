package daemon

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"mintmark/daemon/profile"
	"mintmark/station/usb"
)

// Config is station.toml. Relative paths start at the folder of that file.
type Config struct {
	// Name of this station in records, logs and on the screen: letters, digits
	// and - _ . only, at most 64. Required.
	Station string `toml:"station"`

	// Folder of the ledger. It must exist: `mintmark init` makes it, and
	// `mintmark ledger restore` fills an empty one. Required.
	Ledger string `toml:"ledger"`

	// Folder of the development authority: index.key and wrap.key, readable by
	// nobody but the daemon. It is as precious as the ledger. Required.
	Authority string `toml:"authority"`

	// Folder of the product profiles, one TOML file each. Required.
	Profiles string `toml:"profiles"`

	// Unix socket of the running daemon, at most 107 characters as an absolute
	// path. Its folder must not be writable by others. Default: mintmark.sock.
	Socket string `toml:"socket"`

	// The label printer.
	Printer PrinterConfig `toml:"printer"`

	// Who may do what, by Unix group.
	Groups GroupsConfig `toml:"groups"`

	// Limits that a station rarely needs to change.
	Limits LimitsConfig `toml:"limits"`

	// One table for each place for a device.
	Slots []SlotConfig `toml:"slot"`

	dir string // folder of the file, for relative paths
}

// PrinterConfig says where labels are printed.
type PrinterConfig struct {
	// Host and port of a ZPL printer, such as 192.168.0.20:9100. Needed as soon
	// as a product has a label.
	Address string `toml:"address"`
}

// GroupsConfig gives roles to Unix groups. Root has every role, since it can read
// the keys anyway. An empty name gives the role to nobody else.
type GroupsConfig struct {
	// Group that may speak to the daemon at all: it gets the socket. The daemon
	// must be a member. Default: the daemon's own group.
	Users string `toml:"users"`

	// Group of the people who may learn which earlier device a short code
	// belongs to.
	Quality string `toml:"quality"`

	// Group of the people who may order rework and free rows after a restore.
	Supervisor string `toml:"supervisor"`
}

// LimitsConfig bounds the station. A zero means the default.
type LimitsConfig struct {
	// Checks, imports and scans of a value that is not the record's that one person
	// may make in an hour, because each answer tells something about credentials in
	// use. Default: 60.
	ChecksPerHour int `toml:"checks_per_hour"`

	// Disk reserve in MiB that is really allocated, so that open attempts can
	// still be settled when the disk is full. Default: 96.
	ReserveMiB int `toml:"reserve_mib"`
}

// SlotConfig is one place for a device.
type SlotConfig struct {
	// Name on the screen and in records, unique on the station. Required.
	Name string `toml:"name"`

	// Where the device is connected: the USB socket and interface, such as
	// usb:1-1.3:1.0, which stay the same however the kernel numbers its devices;
	// or an absolute path that always means the same socket, such as a link in
	// /dev/serial/by-path. Required.
	Port string `toml:"port"`

	// Id of the product that is made here. Required.
	Product string `toml:"product"`

	// Command with its arguments that switches the power of the device. It is
	// called with one more argument, "off" or "on". Without it a profile that
	// power-cycles fails in this slot.
	Power []string `toml:"power"`
}

// ReadConfig reads station.toml and reports all its mistakes at once, each with
// its place in the file.
func ReadConfig(path string) (Config, error) {
	doc, _, err := profile.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	c := Config{Socket: "mintmark.sock", dir: dir}
	doc.Decode(&c)
	c.check(doc)
	if err := doc.Err(); err != nil {
		return Config{}, err
	}
	c.resolve()
	return c, nil
}

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

func (c *Config) check(doc *profile.Doc) {
	if !validName.MatchString(c.Station) {
		doc.Mistake("station", "%s, want a name of letters, digits and - _ .", missingOr(c.Station))
	}
	for key, value := range map[string]string{
		"ledger": c.Ledger, "authority": c.Authority, "profiles": c.Profiles,
	} {
		if value == "" {
			doc.Mistake(key, "missing, want a folder")
		}
	}
	if c.Socket == "" {
		doc.Mistake("socket", "empty, want a path or nothing for mintmark.sock")
	}
	if _, port, err := net.SplitHostPort(c.Printer.Address); c.Printer.Address != "" && (err != nil || port == "") {
		doc.Mistake("printer.address", "is %q, want host:port such as 192.168.0.20:9100", c.Printer.Address)
	}
	c.Limits.check(doc)
	for i := range c.Slots {
		c.checkSlot(doc, i)
	}
}

func (l *LimitsConfig) check(doc *profile.Doc) {
	if l.ChecksPerHour < 0 || l.ChecksPerHour > 1_000_000 {
		doc.Mistake("limits.checks_per_hour", "is %d, want 1 to 1000000", l.ChecksPerHour)
	}
	if l.ReserveMiB < 0 || l.ReserveMiB > 1<<20 || (l.ReserveMiB > 0 && l.ReserveMiB < 8) {
		doc.Mistake("limits.reserve_mib", "is %d, want 8 to %d", l.ReserveMiB, 1<<20)
	}
}

func (c *Config) checkSlot(doc *profile.Doc, i int) {
	s := c.Slots[i]
	at := func(key string) string { return fmt.Sprintf("slot[%d].%s", i+1, key) }
	if !validName.MatchString(s.Name) {
		doc.Mistake(at("name"), "%s, want a name of letters, digits and - _ .", missingOr(s.Name))
	}
	if s.Product == "" {
		doc.Mistake(at("product"), "missing, want the id of a product")
	}
	if _, err := usb.ParseAddress(s.Port); err != nil {
		doc.Mistake(at("port"), "%v", err)
	}
	if len(s.Power) > 0 && s.Power[0] == "" {
		doc.Mistake(at("power"), "has an empty command, want the command and its arguments")
	}
	for j, other := range c.Slots[:i] {
		if s.Name != "" && other.Name == s.Name {
			doc.Mistake(at("name"), "%q is the name of slot[%d]", s.Name, j+1)
		}
		if s.Port != "" && other.Port == s.Port {
			doc.Mistake(at("port"), "%q is the port of slot[%d]", s.Port, j+1)
		}
	}
}

func missingOr(value string) string {
	if value == "" {
		return "missing"
	}
	return fmt.Sprintf("is %q", value)
}

func (c *Config) resolve() {
	for _, p := range []*string{&c.Ledger, &c.Authority, &c.Profiles, &c.Socket} {
		if !filepath.IsAbs(*p) {
			*p = filepath.Join(c.dir, *p)
		}
	}
}

// profileFiles lists the files of a folder of profiles, sorted.
func profileFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("read profiles: %w", err)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() && strings.HasSuffix(e.Name(), ".toml") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	slices.Sort(files)
	return files, nil
}

package daemon_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mintmark/daemon"
)

// config writes a station.toml and reads it.
func config(t *testing.T, text string) (daemon.Config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "station.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := daemon.ReadConfig(path)
	if err != nil {
		err = errorText(strings.ReplaceAll(err.Error(), filepath.Dir(path)+"/", ""))
	}
	return c, err
}

type errorText string

func (e errorText) Error() string { return string(e) }

const good = `
station = "s"
ledger = "l"
authority = "/a"
profiles = "p"
`

func TestConfigPathsStartAtItsFolder(t *testing.T) {
	c, err := config(t, good)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(c.Ledger)
	if c.Authority != "/a" || c.Profiles != dir+"/p" || c.Socket != dir+"/mintmark.sock" || !filepath.IsAbs(dir) {
		t.Errorf("ReadConfig = %+v", c)
	}
}

// TestConfigReportsAllMistakesAtOnce is the list of what station.toml can have
// wrong, by its message.
func TestConfigReportsAllMistakesAtOnce(t *testing.T) {
	const text = `station = "a b"
lissen = ":1"
authority = ""
socket = ""
profiles = 3
[printer]
address = "printer"
[groups]
quality = "q"
qualitty = "q"
[limits]
checks_per_hour = -1
reserve_mib = 1
[[slot]]
name = "1"
port = "ttyS0"
product = "camera"
[[slot]]
name = "1"
port = "/dev/ttyACM0"
power = [""]
[[slot]]
name = ""
port = "usb:1-1.3:1.0"
product = "camera"
[[slot]]
name = "4"
port = "usb:1-1.3:1.0"
product = "camera"
`
	const want = `station.toml: ledger: missing, want a folder
station.toml:1:1: station: is "a b", want a name of letters, digits and - _ .
station.toml:2:1: lissen: no such setting, want station, ledger, authority, profiles, socket, printer, groups, limits or slot
station.toml:3:1: authority: missing, want a folder
station.toml:4:1: socket: empty, want a path or nothing for mintmark.sock
station.toml:5:1: profiles: is a number, want text in quotes
station.toml:7:1: printer.address: is "printer", want host:port such as 192.168.0.20:9100
station.toml:10:1: groups.qualitty: no such setting, did you mean quality
station.toml:12:1: limits.checks_per_hour: is -1, want 1 to 1000000
station.toml:13:1: limits.reserve_mib: is 1, want 8 to 1048576
station.toml:16:1: slot[1].port: slot address is "ttyS0", want an absolute path, or a USB socket and interface such as usb:1-1.3:1.0
station.toml:18:3: slot[2].product: missing, want the id of a product
station.toml:19:1: slot[2].name: "1" is the name of slot[1]
station.toml:20:1: slot[2].port: slot address is "/dev/ttyACM0", which goes to whichever device comes first; want a USB socket and interface such as usb:1-1.3:1.0, or a link in /dev/serial/by-path
station.toml:21:1: slot[2].power: has an empty command, want the command and its arguments
station.toml:23:1: slot[3].name: missing, want a name of letters, digits and - _ .
station.toml:28:1: slot[4].port: "usb:1-1.3:1.0" is the port of slot[3]`
	_, err := config(t, text)
	if err == nil || err.Error() != want {
		t.Errorf("ReadConfig =\n%v\nwant\n%s", err, want)
	}
}

func TestConfigThatIsMissingSaysSo(t *testing.T) {
	_, err := daemon.ReadConfig(filepath.Join(t.TempDir(), "station.toml"))
	if err == nil || !strings.HasPrefix(err.Error(), "read configuration: ") {
		t.Errorf("ReadConfig = %v", err)
	}
}

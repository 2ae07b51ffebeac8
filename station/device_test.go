package station_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"mintmark/hsm/secret"
	"mintmark/station"
)

// A fault is one way for a device to be broken, from a phase on.
type fault string

const (
	unplug  fault = "unplug"  // leave the slot instead of answering
	mute    fault = "mute"    // never answer
	noise   fault = "noise"   // answer garbage
	refuse  fault = "refuse"  // answer no; for Refuse: let the candidate in
	chatter fault = "chatter" // answer without end
	swap    fault = "swap"    // be another device
	reboot  fault = "reboot"  // boot instead of answering
	echo    fault = "echo"    // answer with what was asked
)

// A device is what sits in a slot: identity, what it was told, what it saved, and
// what is wrong with it.
type device struct {
	hardware, serial string
	faults           map[station.Phase]fault
	forgets          bool // saves nothing
	accepts          bool // lets root in, always
	resets           bool // a factory reset brings back admin's old password
	keepsOld         bool // lets admin in with what it held before, too
	vanishes         bool // leaves the bus when it restarts

	mu       sync.Mutex // guards the fields below
	ram      map[string]string
	saved    map[string]string
	locked   bool
	received []string // every value that it was ever sent
}

func newDevice(serial string) *device {
	return &device{hardware: "HW-" + serial, serial: serial, saved: map[string]string{"admin": "admin"}, ram: map[string]string{"admin": "admin"}}
}

func (d *device) strike(p station.Phase) fault {
	f := d.faults[p]
	if f == swap { // from here on
		d.hardware, d.serial, d.locked = "HW-OTHER", "OTHER", false
		d.saved, d.ram = map[string]string{"admin": "admin"}, map[string]string{"admin": "admin"}
		d.faults = nil
		return ""
	}
	return f
}

// answer carries out one command and returns its phase and answer.
func (d *device) answer(line string) (station.Phase, string) {
	words := strings.Split(line, "\t")
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	switch verb := words[0]; verb {
	case "id":
		return station.Identify, "ok\thardware_id=" + d.hardware + "\tserial=" + d.serial + "\tfirmware=1.0"
	case "set":
		d.received = append(d.received, arg(2))
		if d.locked {
			return station.Inject, "no\tlocked"
		}
		d.ram[arg(1)] = arg(2)
		if !d.forgets {
			d.saved[arg(1)] = arg(2)
		}
		return station.Inject, "ok"
	case "reboot":
		d.restart()
		return station.Restart, "ok"
	case "reset":
		if d.resets {
			d.saved["admin"] = "admin"
		}
		d.restart()
		return station.Reset, "ok"
	case "prove", "refuse":
		phase := station.Phase(verb)
		d.received = append(d.received, arg(2))
		if d.ram[arg(1)] == arg(2) || d.accepts && arg(1) == "root" || d.keepsOld && arg(2) == rowOf(d.serial) {
			return phase, "ok"
		}
		return phase, "no\twrong"
	case "lock":
		d.locked = true
		return station.Lock, "ok"
	}
	return "", "no\tunknown command"
}

func (d *device) restart() {
	d.ram = map[string]string{}
	for k, v := range d.saved {
		d.ram[k] = v
	}
}

// serve is the program of the device on one connection.
func (d *device) serve(c net.Conn, leave func()) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if !d.turn(c, strings.TrimSuffix(line, "\n"), leave) {
			return
		}
	}
}

// turn answers one line; false means that the device is gone.
func (d *device) turn(c net.Conn, line string, leave func()) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	verb, _, _ := strings.Cut(line, "\t")
	phase := map[string]station.Phase{
		"id": station.Identify, "set": station.Inject, "reboot": station.Restart, "prove": station.Prove,
		"refuse": station.Refuse, "reset": station.Reset, "lock": station.Lock,
	}[verb]
	say := func(s string) bool { _, err := fmt.Fprintf(c, "%s\n", s); return err == nil }
	switch f := d.strike(phase); f {
	case unplug:
		leave()
		return false
	case mute:
		return true
	case noise:
		return say("\xff\x00\x1b[2J\x07")
	case refuse:
		if phase == station.Refuse {
			return say("ok")
		}
		return say("no\tnot today")
	case echo:
		return say("no\t" + strings.ReplaceAll(line, "\t", " "))
	case reboot:
		d.restart()
		return say("boot: ACME camera")
	case chatter:
		for say("log: all is well") {
			time.Sleep(10 * time.Millisecond) // of the bubble: on a wire a line takes its time
		}
		return false
	}
	_, text := d.answer(line)
	if !say(text) {
		return false
	}
	if d.vanishes && (verb == "reboot" || verb == "reset") {
		leave()
		return false
	}
	return true
}

// has reports whether a value was ever sent to the device.
func (d *device) has(value string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, r := range d.received {
		if r == value {
			return true
		}
	}
	return false
}

// A driver speaks the language of device. It is scripted: phases that it lacks
// and a phase that panics are data.
type driver struct {
	lacks  map[station.Phase]bool
	panics station.Phase
	knows  []string // credentials that it injects and proves; nil means admin and wifi
	stores bool     // has the device store a verifier of admin, and reads it back
	cycles bool     // restarts by power

	do       func(station.Phase, station.Vars)
	link     func(station.Link)
	deadline *time.Time // that it asks for before each phase
}

func (d *driver) Has(p station.Phase) bool { return !d.lacks[p] }

func (d *driver) Needs(p station.Phase) []string {
	switch p {
	case station.Inject, station.Prove:
		if d.stores {
			return []string{"admin.verifier", "wifi"}
		}
		if d.knows != nil {
			return d.knows
		}
		return []string{"admin", "wifi"}
	case station.Refuse:
		return []string{"candidate", "candidate.user"}
	}
	return nil
}

func (d *driver) Do(ctx context.Context, l station.Link, p station.Phase, v station.Vars) (station.Facts, error) {
	if d.do != nil {
		d.do(p, v)
	}
	if d.link != nil {
		d.link(l)
	}
	if d.deadline != nil {
		if err := l.Port().SetDeadline(*d.deadline); err != nil {
			return nil, err
		}
	}
	if p == d.panics {
		panic("index out of range")
	}
	text := func(name string) string { return string(v.Secret[name].Bytes()) }
	switch p {
	case station.Identify:
		return ask(l, "id")
	case station.Inject:
		for _, name := range d.Needs(p) {
			if _, err := ask(l, "set", name, text(name)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case station.Restart, station.Reset:
		if d.cycles {
			return nil, l.Cycle(ctx)
		}
		if _, err := ask(l, map[station.Phase]string{station.Restart: "reboot", station.Reset: "reset"}[p]); err != nil {
			return nil, err
		}
		return nil, l.Reopen(ctx)
	case station.Prove:
		for _, name := range d.Needs(p) {
			if _, err := ask(l, "prove", name, text(name)); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case station.Refuse:
		return nil, refused(ask(l, "refuse", text("candidate.user"), text("candidate")))
	case station.Lock:
		return ask(l, "lock")
	}
	return nil, nil
}

func refused(_ station.Facts, err error) error {
	if err == nil {
		return station.ErrAccepted
	}
	if strings.Contains(err.Error(), "says no: wrong") {
		return nil
	}
	return err
}

// ask sends one line and reads one that is no log line, within 256 bytes.
func ask(l station.Link, words ...string) (station.Facts, error) {
	line := secret.From([]byte(strings.Join(words, "\t") + "\n"))
	defer line.Close()
	if _, err := l.Port().Write(line.Bytes()); err != nil {
		return nil, fmt.Errorf("send %s: %w", words[0], err)
	}
	r := bufio.NewReaderSize(l.Port(), 256)
	for {
		got, err := r.ReadString('\n')
		if err != nil {
			return nil, station.Faultf("check it", "no answer to %s: %w", words[0], err)
		}
		if strings.HasPrefix(got, "log: ") {
			continue
		}
		return parse(words[0], strings.TrimSuffix(got, "\n"))
	}
}

func parse(verb, got string) (station.Facts, error) {
	words := strings.Split(got, "\t")
	switch {
	case words[0] == "no" && len(words) == 2:
		return nil, station.Faultf("check it", "%s: device says no: %s", verb, words[1])
	case words[0] != "ok":
		return nil, station.Faultf("check it", "%s: device says %q, want ok", verb, got)
	}
	f := station.Facts{}
	for _, w := range words[1:] {
		k, v, _ := strings.Cut(w, "=")
		f[k] = v
	}
	return f, nil
}

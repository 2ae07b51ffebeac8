package console_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mintmark/fixtures/pty"
	"mintmark/station"
	"mintmark/station/console"
)

// A fixed is a link to a port that stays.
type fixed struct{ port station.Port }

func (f fixed) Port() station.Port           { return f.port }
func (f fixed) Reopen(context.Context) error { return station.Faultf("", "can't reopen") }
func (f fixed) Cycle(context.Context) error  { return station.Faultf("", "can't cycle") }

// minute is how long a phase on a real terminal may take.
func minute(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// interactive starts a program on a terminal as a person would use it: with an
// echo, line editing and a prompt. It returns the port and the device's end.
func interactive(t *testing.T, argv ...string) (fixed, *os.File) {
	t.Helper()
	port, path, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	device, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `stty sane cols 80; exec "$@"`, "sh"}, argv...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = device, device, device
	cmd.Env = append(os.Environ(), "TERM=vt100", "HISTFILE=/dev/null", "HOME=/nonexistent", "ENV=", "PS1=$ ")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); port.Close(); device.Close() })
	link := fixed{port}
	ready := driver(t, console.Script{Identify: []console.Step{{Expect: `(\$|>>>) `, Timeout: 20 * second}}})
	if _, err := ready.Do(minute(t), link, station.Identify, station.Vars{}); err != nil {
		t.Fatal(err)
	}
	return link, device
}

// shells are real ones, with the command that prints a value between < and >.
var shells = []struct {
	name    string
	dialect console.Dialect
	argv    []string
	print   string
	fail    string
}{
	{"dash", console.Posix, []string{"dash", "-i"}, `printf '<%s>\n' {v}`, "false"},
	{"bash", console.Posix, []string{"bash", "--norc", "-i"}, `printf '<%s>\n' {v}`, "false"},
	{"busybox ash", console.Posix, []string{"busybox", "ash", "-i"}, `printf '<%s>\n' {v}`, "false"},
	{"Python", console.Python, []string{"python3", "-i", "-q"}, `print('<' + {v} + '>')`, "1/0"},
}

// values that a careless script would trip over.
var values = []string{
	"x", "'", `\`, `a\`, `'\''`, `"`, "$HOME", "$(id)", "`id`", "a;b", "a|b&c", "*", "~", "#x", "!!", "!x!", "-n", "%s%d",
	"  a  b ", "<>", "{a,b}", "$6$salt$hash/.", `\n\x41`, "^a^b", `'"'"'`, strings.Repeat("long'", 80),
}

func TestEveryValueSurvivesARealConsole(t *testing.T) {
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			link, _ := interactive(t, sh.argv...)
			d := driver(t, console.Script{Dialect: sh.dialect, Inject: []console.Step{
				{Run: sh.print, Equal: "<{v}>", Timeout: 20 * second},
			}})
			for _, v := range values {
				if _, err := d.Do(minute(t), link, station.Inject, hidden(t, "v", v)); err != nil {
					t.Errorf("%q: %v", v, err)
				}
			}
		})
	}
}

func TestExitStatusIsSeenThroughTheMarks(t *testing.T) {
	for _, sh := range shells {
		t.Run(sh.name, func(t *testing.T) {
			link, _ := interactive(t, sh.argv...)
			try := func(st console.Step) error {
				_, err := driver(t, console.Script{Dialect: sh.dialect, Timeout: 20 * second, Lock: []console.Step{st}}).
					Do(minute(t), link, station.Lock, station.Vars{})
				return err
			}
			if err := try(console.Step{Run: sh.fail}); err == nil || !strings.Contains(err.Error(), "exit status is 1, want 0") {
				t.Errorf("failing command: %v, want its exit status", err)
			}
			if err := try(console.Step{Run: sh.fail, Status: "nonzero"}); err != nil {
				t.Errorf("wanted failure: %v", err)
			}
			if err := try(console.Step{Run: sh.fail, Status: "any"}); err != nil {
				t.Errorf("any status: %v", err)
			}
		})
	}
}

func TestOutputWithoutANewlineAndForeignLinesAreTolerated(t *testing.T) {
	link, device := interactive(t, "busybox", "ash", "-i")
	var wg sync.WaitGroup
	defer wg.Wait()
	stop := make(chan struct{})
	defer close(stop)
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond): // the kernel's pace
				fmt.Fprintf(device, "[%5d.%06d] usb 1-1: # new device $ number\r\n", i/500, i)
			}
		}
	})
	d := driver(t, console.Script{Dialect: console.Posix, Timeout: 20 * second, Identify: []console.Step{
		{Run: "echo id=A1; sleep 0.1; printf 'serial=SN-1'", Match: `^id=(\w+)$`, Capture: "hardware_id", Retry: 3},
		{Run: "printf 'serial=SN-1'", Match: `serial=(\S+?)(\[|$)`, Capture: "serial", Retry: 3},
	}})
	for range 20 {
		facts, err := d.Do(minute(t), link, station.Identify, station.Vars{})
		if err != nil || facts["hardware_id"] != "A1" || facts["serial"] != "SN-1" {
			t.Fatalf("%v, %v, want both facts through the noise", facts, err)
		}
	}
}

func TestACommandThatHangsIsCancelledAndTriedAgain(t *testing.T) {
	dir := t.TempDir()
	link, _ := interactive(t, "busybox", "ash", "-i")
	d := driver(t, console.Script{Dialect: console.Posix, Vars: map[string]string{"dir": dir}, Lock: []console.Step{
		{Run: "test -e {dir}/was || {{ touch {dir}/was; cat; }", Timeout: 4 * second, Retry: 1},
	}})
	if _, err := d.Do(minute(t), link, station.Lock, station.Vars{}); err != nil {
		t.Error(err)
	}
}

func TestOutputWithoutEndIsRefused(t *testing.T) {
	link, _ := interactive(t, "busybox", "ash", "-i")
	d := driver(t, console.Script{Dialect: console.Posix, Lock: []console.Step{{Run: "seq 100000", Timeout: 20 * second}}})
	_, err := d.Do(minute(t), link, station.Lock, station.Vars{})
	if err == nil || !strings.Contains(err.Error(), "output is longer than 65536 bytes") {
		t.Errorf("%v, want it refused", err)
	}
}

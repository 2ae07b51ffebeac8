package canary_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mintmark/daemon/api"
	"mintmark/fixtures/line"
)

// A shift is a world with the real program, and a folder for all that comes out
// of it.
type shift struct {
	*world
	t   *testing.T
	bin string
	out string

	mu sync.Mutex // guards n
	n  int        // files in out
}

func newShift(t *testing.T, w *world) *shift {
	t.Helper()
	s := &shift{world: w, t: t, bin: filepath.Join(t.TempDir(), "mintmark"), out: t.TempDir()}
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", s.bin, "mintmark/daemon/cmd/mintmark")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build mintmark: %v\n%s", err, text)
	}
	return s
}

// create makes one more file in the folder of what comes out.
func (s *shift) create(name string) *os.File {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	f, err := os.Create(filepath.Join(s.out, fmt.Sprintf("%03d-%s", s.n, name)))
	if err != nil {
		s.t.Fatal(err)
	}
	return f
}

// mintmark runs a command about the station and wants its exit status. What it
// prints is kept, and stdout returned.
func (s *shift) mintmark(status int, stdin string, args ...string) string {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), s.bin, append(args, "--config", s.Config)...)
	cmd.Stdin = strings.NewReader(stdin)
	return s.run(status, cmd)
}

func (s *shift) run(status int, cmd *exec.Cmd) string {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	s.keep("command", []byte(strings.Join(cmd.Args, " ")+"\n"), stdout.Bytes(), stderr.Bytes())
	if got := cmd.ProcessState.ExitCode(); got != status {
		s.t.Fatalf("%s: exit status %d, want %d\n%s%s", cmd.Args, got, status, stdout.Bytes(), stderr.Bytes())
	}
	return stdout.String()
}

// keep writes parts to a file in the folder of what comes out.
func (s *shift) keep(name string, parts ...[]byte) {
	s.t.Helper()
	f := s.create(name)
	defer f.Close()
	for _, p := range parts {
		if _, err := f.Write(p); err != nil {
			s.t.Fatal(err)
		}
	}
}

// A process is mintmark run, as it is shipped, with its log at level DEBUG.
type process struct {
	*exec.Cmd
	watched chan struct{} // closed when nobody watches it any more
	cancel  context.CancelFunc
}

// start starts the daemon, waits until it answers, and watches it from outside.
func (s *shift) start() *process {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	p := &process{Cmd: exec.Command(s.bin, "run", "--debug", "--config", s.Config), watched: make(chan struct{}), cancel: cancel}
	stdout, stderr := s.create("daemon.out"), s.create("daemon.log")
	defer stdout.Close()
	defer stderr.Close()
	p.Stdout, p.Stderr = stdout, stderr
	p.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { p.Process.Kill(); cancel() })
	seen := s.create("proc")
	go func() {
		defer close(p.watched)
		defer seen.Close()
		watch(ctx, p.Process.Pid, seen)
	}()
	ready, done := context.WithTimeout(ctx, 30*time.Second)
	defer done()
	if err := s.ask(ready, func(c *api.Client) error { _, err := c.Status(ready, ""); return err }); err != nil {
		s.t.Fatalf("start daemon: %v", err)
	}
	return p
}

// watch writes down what the kernel shows of a process to others, and all that it
// shows of its children, again and again, each text once.
func watch(ctx context.Context, pid int, seen io.Writer) {
	every := time.NewTicker(20 * time.Millisecond)
	defer every.Stop()
	known := map[string]bool{}
	for {
		for _, glob := range []string{"cmdline", "environ", "comm", "task/*/comm", "task/*/children"} {
			files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/%s", pid, glob))
			for _, f := range files {
				text, _ := os.ReadFile(f) // a process of ours that is not dumpable shows us little, unless we are root
				if key := f + "\x00" + string(text); !known[key] {
					known[key] = true
					fmt.Fprintf(seen, "%s: %s\n", f, text)
				}
			}
		}
		select {
		case <-every.C:
		case <-ctx.Done():
			return
		}
	}
}

// end ends the daemon with a signal.
func (s *shift) end(p *process, sig syscall.Signal) {
	s.t.Helper()
	p.cancel()
	<-p.watched
	if err := p.Process.Signal(sig); err != nil {
		s.t.Fatalf("daemon ended by itself: %v", err)
	}
	if err := p.Wait(); (err == nil) != (sig == syscall.SIGTERM) {
		s.t.Fatalf("daemon ended with %v after %v", err, sig)
	}
}

// raw keeps what the daemon answers to a request, byte by byte.
func (s *shift) raw(path string) {
	s.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", s.Socket)
	}}}
	r, err := http.NewRequestWithContext(s.t.Context(), "GET", "http://mintmark"+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := c.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if err := resp.Write(&b); err != nil {
		s.t.Fatal(err)
	}
	s.keep("answer", b.Bytes())
}

// scan is an operator who first scans the label of another device, then both
// fields of the right one in turn, with the scan command.
func (s *shift) scan(ctx context.Context, slot int, d *line.Device, nth int) error {
	text := s.label(d.Serial)[nth%2]
	if nth == 1 {
		text = s.label("CG000001")[0]
	}
	cmd := exec.CommandContext(ctx, s.bin, "device", "scan", fmt.Sprint(slot+1), "--config", s.Config)
	cmd.Stdin = strings.NewReader(text + "\n")
	out, err := cmd.CombinedOutput()
	s.keep("scan", out)
	var exit *exec.ExitError
	if errors.As(err, &exit) && strings.Contains(string(out), "waits for no scan") {
		return nil
	}
	return err
}

// devices puts devices into the slots of a product and wants each to end as
// said.
func (s *shift) devices(product string, devices []*line.Device, want func(*line.Device) string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 3*time.Minute)
	defer cancel()
	ended, err := s.make(ctx, product, devices, s.scan)
	if err != nil {
		s.t.Fatal(err)
	}
	for d, state := range ended {
		if w := want(d); w != "" && state != w {
			s.t.Errorf("%s with faults %v ended as %s, want %s", d.Serial, d.Faults, state, w)
		}
	}
}

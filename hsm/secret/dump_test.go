package secret_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/fixtures/canary"
	"mintmark/hsm/secret"
)

const canaryLen = 32

// What the parent tells the dumpChild to do.
const (
	closeSecrets = 'c'
	die          = 'd'
)

// dumpChild plants three random canaries: two in secret memory (small and large)
// and one, as a control, in the heap. It tells the parent, who alone must know
// them, and does what the parent says.
func dumpChild() error {
	err := unix.Prctl(unix.PR_SET_PTRACER, unix.PR_SET_PTRACER_ANY, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) { // a kernel without Yama needs no such permission
		return fmt.Errorf("let gcore in: %w", err)
	}
	if err := allowCore(); err != nil {
		return err
	}
	small, large := secret.New(canaryLen), secret.New(100_000)
	heap := make([]byte, canaryLen)
	for _, b := range [][]byte{small.Bytes(), large.Bytes()[50_000:][:canaryLen], heap} {
		rand.Read(b)
		if _, err := os.Stdout.Write(b); err != nil {
			return err
		}
	}
	order := make([]byte, 1)
	for {
		if _, err := os.Stdin.Read(order); errors.Is(err, io.EOF) {
			return os.WriteFile("heap", heap, 0o600) // which keeps it alive until here
		} else if err != nil {
			return err
		}
		switch order[0] {
		case closeSecrets:
			small.Close()
			large.Close()
		case die:
			debug.SetTraceback("crash")
			panic("die with a core")
		}
		if _, err := os.Stdout.Write(order); err != nil {
			return err
		}
	}
}

// dumped is a running dumpChild and a net for what it planted.
type dumped struct {
	*exec.Cmd
	net *canary.Net
	in  io.WriteCloser
	out io.Reader
}

func startDumped(t *testing.T) *dumped {
	t.Helper()
	d := &dumped{Cmd: command(t, "dump"), net: canary.New()}
	var err error
	if d.in, err = d.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if d.out, err = d.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := d.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.in.Close()
		d.Wait()
	})
	for _, name := range []string{"small secret", "large secret", "heap"} {
		b := make([]byte, canaryLen)
		if _, err := io.ReadFull(d.out, b); err != nil {
			t.Fatal(err)
		}
		d.net.AddPlain(name, b)
	}
	return d
}

// tell gives an order and waits until the child has done it, or died of it.
func (d *dumped) tell(t *testing.T, order byte) {
	t.Helper()
	if _, err := d.in.Write([]byte{order}); err != nil {
		t.Fatal(err)
	}
	_, err := io.ReadFull(d.out, make([]byte, 1))
	if died := errors.Is(err, io.EOF); died != (order == die) {
		t.Fatalf("after order %c: %v", order, err)
	}
}

// core takes a core of the child while its secrets are open: the kernel's, if it
// writes cores into the current folder, else one by gcore.
func (d *dumped) core(t *testing.T) string {
	t.Helper()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(string(pattern), "|/") {
		out, err := exec.CommandContext(t.Context(), "gcore", "-o", filepath.Join(d.Dir, "core"), fmt.Sprint(d.Process.Pid)).CombinedOutput()
		if err != nil {
			t.Fatalf("gcore: %v\n%s", err, out)
		}
	} else {
		d.tell(t, die)
		d.Wait()
	}
	cores, err := filepath.Glob(filepath.Join(d.Dir, "*"))
	if err != nil || len(cores) != 1 {
		t.Fatalf("the child left %s, %v, want one core", cores, err)
	}
	return cores[0]
}

func TestACoreHoldsNoOpenSecret(t *testing.T) {
	d := startDumped(t)
	hits, err := d.net.File(d.core(t))
	if err != nil {
		t.Fatal(err)
	}
	control := 0
	for _, h := range hits {
		if h.Secret == "heap" {
			control++
		} else {
			t.Errorf("the core holds %v", h)
		}
	}
	if control == 0 {
		t.Error("the core does not hold the canary of the heap, so it says nothing")
	}
}

// TestMemoryHoldsNoClosedSecret reads all memory of a process, dumped or not.
func TestMemoryHoldsNoClosedSecret(t *testing.T) {
	d := startDumped(t)
	for _, step := range []struct {
		name string
		want map[string]int
	}{
		{"before close", map[string]int{"small secret": 1, "large secret": 1, "heap": 1}},
		{"after close", map[string]int{"heap": 1}},
	} {
		found, err := d.net.Process(d.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]int{}
		for _, f := range found {
			got[f.Secret]++
			if inside := f.Secret != "heap"; f.Mapping.Secret() != inside {
				t.Errorf("%s: %v, want it in secret pages: %v", step.name, f, inside)
			}
		}
		for _, name := range []string{"small secret", "large secret", "heap"} {
			if got[name] != step.want[name] {
				t.Errorf("%s: the %s is at %d places, want %d: %v", step.name, name, got[name], step.want[name], found)
			}
		}
		d.tell(t, closeSecrets)
	}
}

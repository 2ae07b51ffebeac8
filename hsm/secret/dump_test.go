package secret_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"mintmark/hsm/secret"
)

const canaryLen = 32

// dumpChild plants three random canaries: two in secret memory (small and large)
// and one, as a control, in the heap. It tells the parent, who alone must know
// them, waits to be dumped, closes the secrets and waits again.
func dumpChild() error {
	err := unix.Prctl(unix.PR_SET_PTRACER, unix.PR_SET_PTRACER_ANY, 0, 0, 0)
	if err != nil && !errors.Is(err, unix.EINVAL) { // a kernel without Yama needs no such permission
		return fmt.Errorf("let gcore in: %w", err)
	}
	small, large := secret.New(canaryLen), secret.New(100_000)
	heap := make([]byte, canaryLen)
	for _, b := range [][]byte{small.Bytes(), large.Bytes()[50_000:][:canaryLen], heap} {
		rand.Read(b)
		if _, err := os.Stdout.Write(b); err != nil {
			return err
		}
	}
	one := make([]byte, 1)
	if _, err := os.Stdin.Read(one); err != nil {
		return err
	}
	small.Close()
	large.Close()
	if _, err := os.Stdout.Write(one); err != nil {
		return err
	}
	os.Stdin.Read(one) // until the parent has looked
	return os.WriteFile("heap", heap, 0o600)
}

// dumped is a running dumpChild and what it planted.
type dumped struct {
	pid      int
	canaries map[string][]byte
	step     func() // lets the child close its secrets
}

func startDumped(t *testing.T) dumped {
	t.Helper()
	c := command(t, "dump")
	c.Stderr = os.Stderr
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		c.Wait()
	})
	d := dumped{pid: c.Process.Pid, canaries: map[string][]byte{}}
	for _, name := range []string{"small secret", "large secret", "heap"} {
		d.canaries[name] = make([]byte, canaryLen)
		if _, err := io.ReadFull(out, d.canaries[name]); err != nil {
			t.Fatal(err)
		}
	}
	d.step = func() {
		one := []byte{1}
		if _, err := in.Write(one); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, one); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// TestACoreHoldsNoSecret takes a core of a running process that has open secrets,
// as the kernel would, without the pages that are marked.
func TestACoreHoldsNoSecret(t *testing.T) {
	d := startDumped(t)
	core := filepath.Join(t.TempDir(), "core")
	out, err := exec.CommandContext(t.Context(), "gcore", "-o", core, fmt.Sprint(d.pid)).CombinedOutput()
	if err != nil {
		t.Fatalf("gcore: %v\n%s", err, out)
	}
	data, err := os.ReadFile(fmt.Sprintf("%s.%d", core, d.pid))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(data, d.canaries["heap"]) {
		t.Fatal("the core does not hold the canary of the heap, so it says nothing")
	}
	for _, name := range []string{"small secret", "large secret"} {
		if bytes.Contains(data, d.canaries[name]) {
			t.Errorf("the core holds the %s", name)
		}
	}
}

// TestMemoryHoldsNoClosedSecret reads all memory of a process, dumped or not.
func TestMemoryHoldsNoClosedSecret(t *testing.T) {
	d := startDumped(t)
	for name, where := range d.find(t) {
		if len(where) != 1 {
			t.Errorf("before close the %s is at %q, want one place: else we or Go made a copy", name, where)
		}
	}
	d.step()
	found := d.find(t)
	if len(found["heap"]) != 1 {
		t.Fatalf("the canary of the heap is at %q, want one place", found["heap"])
	}
	for _, name := range []string{"small secret", "large secret"} {
		if where := found[name]; len(where) > 0 {
			t.Errorf("after close the %s is still at %q", name, where)
		}
	}
}

// find returns the mappings that hold each canary, once for each place.
func (d dumped) find(t *testing.T) map[string][]string {
	t.Helper()
	maps, err := os.Open(fmt.Sprintf("/proc/%d/maps", d.pid))
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", d.pid))
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	found := map[string][]string{"small secret": nil, "large secret": nil, "heap": nil}
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		line := lines.Text()
		var from, to int64
		if _, err := fmt.Sscanf(line, "%x-%x ", &from, &to); err != nil || !strings.Contains(line, " rw") {
			continue
		}
		data := make([]byte, to-from)
		if _, err := mem.ReadAt(data, from); err != nil {
			t.Fatalf("read %s: %v", line, err)
		}
		for name, canary := range d.canaries {
			for range bytes.Count(data, canary) {
				found[name] = append(found[name], line)
			}
		}
	}
	return found
}

package canary_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"mintmark/daemon"
	"mintmark/daemon/api"
	"mintmark/fixtures/canary"
)

// work is what a worker does: run CONFIG, or send CONFIG PRODUCT BATCH FILE. When
// that is done, or the daemon answers, it says so, and waits for its end.
func work(ctx context.Context, args []string) error {
	c, err := daemon.ReadConfig(args[1])
	if err != nil {
		return err
	}
	if args[0] == "run" {
		return run(ctx, c)
	}
	conn, err := daemon.Connect(ctx, c, "")
	if err != nil {
		return err
	}
	err = send(ctx, conn.Client, args[2], args[3], args[4])
	if err := errors.Join(err, conn.Close()); err != nil {
		return err
	}
	return expose()
}

// run is the daemon as it is shipped, with transcripts.
func run(ctx context.Context, c daemon.Config) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var exposed errgroup.Group
	err := daemon.Run(ctx, c, daemon.Parts{Log: log, Started: func(*api.Client) {
		exposed.Go(func() error {
			defer cancel()
			return expose()
		})
	}})
	return errors.Join(err, exposed.Wait())
}

// send is mintmark batch import.
func send(ctx context.Context, c *api.Client, product, batch, file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	_, err = c.Import(ctx, api.Import{Batch: batch, Product: product, Action: "import", File: f, Size: info.Size()}, nil)
	return err
}

// expose makes sure that dumps were forbidden and allows them again, tells the
// parent a secret that lies in the heap, and waits for orders: to die with a core,
// or, when there are no more, to end.
func expose() error {
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	if err != nil || dumpable != 0 {
		return fmt.Errorf("dumpable is %d (%v) in a process that handles secrets, want 0", dumpable, err)
	}
	core, err := allowDumps()
	if err != nil {
		return err
	}
	control := make([]byte, 16)
	rand.Read(control)
	fmt.Printf("ready %v %x\n", core, control)
	order := make([]byte, 1)
	if _, err := os.Stdin.Read(order); err == nil {
		debug.SetTraceback("crash")
		panic("die with a core, as ordered")
	}
	return os.WriteFile(os.DevNull, control, 0) // it stays alive until here
}

// A worker is a process whose memory is looked through.
type worker struct {
	*world
	t       *testing.T
	cmd     *exec.Cmd
	in      io.WriteCloser
	cores   bool   // the kernel writes one into the folder of cmd
	control []byte // lies in its heap
}

func startWorker(t *testing.T, w *world, args ...string) *worker {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "worker")
	// Built anew without the race detector, whose shadow of the memory would be
	// looked through as well.
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("build worker: %v\n%s", err, out)
	}
	k := &worker{world: w, t: t, cmd: exec.CommandContext(t.Context(), exe, args...)}
	// Go preempts by signals, and what a signal saves of the registers is the one
	// copy that comes and goes by chance: see docs/secrets.md.
	k.cmd.Env = append(os.Environ(), workerEnv+"=1", "GODEBUG=asyncpreemptoff=1")
	k.cmd.Dir = t.TempDir()
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	k.cmd.Stderr = log
	if k.in, err = k.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := k.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.in.Close()
		k.cmd.Wait()
	})
	said, err := bufio.NewReader(out).ReadString('\n')
	control := ""
	if _, serr := fmt.Sscanf(said, "ready %t %s", &k.cores, &control); err != nil || serr != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("worker %v said %q: %v\n%s", args, said, err, text)
	}
	if k.control, err = hex.DecodeString(control); err != nil {
		t.Fatal(err)
	}
	return k
}

// controlled is what the secret in the heap of a worker is called.
const controlled = "control"

// part begins the name of a piece of a secret.
const part = "a part of "

// net finds secrets, whole, grouped and in pieces, in memory, where digests and
// canonical forms are made on purpose.
func (k *worker) net() *canary.Net {
	n := canary.New()
	n.AddPlain(controlled, k.control)
	for name, v := range k.secrets() {
		n.AddPlain(name, []byte(v))
		n.AddPlain(part+name, []byte(v[:8]))
		n.AddPlain(part+name, []byte(v[4:12]))
		n.AddPlain(part+name, []byte(v[len(v)-8:]))
		if len(v) == 15 {
			n.AddPlain(name+" in groups", []byte(v[:5]+"-"+v[5:10]+"-"+v[10:]))
		}
	}
	return n
}

// A census is what a look into memory found: hits by place.
type census struct{ secret, heap, control []canary.Found }

// whole are the hits in the heap that are no pieces.
func (c census) whole() (found []canary.Found) {
	for _, f := range c.heap {
		if !strings.HasPrefix(f.Secret, part) {
			found = append(found, f)
		}
	}
	return found
}

// spill has the kernel write the registers of all threads into memory: it does so
// for the handler of a signal, and Go's has nothing to do for this one.
func (k *worker) spill() {
	k.t.Helper()
	pid := k.cmd.Process.Pid
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		k.t.Fatal(err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err == nil {
			err = unix.Tgkill(pid, tid, unix.SIGURG)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) {
			k.t.Fatalf("signal thread %s: %v", task.Name(), err)
		}
	}
	for _, task := range tasks {
		for k.due(task.Name()) {
			runtime.Gosched()
		}
	}
}

// due reports whether a thread has yet to see a signal that it doesn't block. (The
// one thread that blocks them waits for the signals that end a daemon.)
func (k *worker) due(thread string) bool {
	k.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/status", k.cmd.Process.Pid, thread))
	if err != nil && !errors.Is(err, unix.ESRCH) && !errors.Is(err, os.ErrNotExist) { // the thread has ended
		k.t.Fatal(err)
	}
	var pending, blocked uint64
	for line := range strings.Lines(string(status)) {
		fmt.Sscanf(line, "SigPnd: %x", &pending)
		fmt.Sscanf(line, "SigBlk: %x", &blocked)
	}
	return pending&^blocked != 0
}

// look looks through all memory of the worker, dumped or not. The heap's secret
// must be found, and not in secret pages.
func (k *worker) look(n *canary.Net) (c census) {
	k.t.Helper()
	k.spill()
	found, err := n.Process(k.cmd.Process.Pid)
	if err != nil {
		k.t.Fatal(err)
	}
	for _, f := range found {
		switch {
		case f.Secret == controlled:
			c.control = append(c.control, f)
		case f.Mapping.Secret():
			c.secret = append(c.secret, f)
		default:
			c.heap = append(c.heap, f)
		}
	}
	if len(c.control) == 0 {
		k.t.Error("the control in the heap was not found, so nothing is said")
	}
	for _, f := range c.control {
		if f.Mapping.Secret() {
			k.t.Errorf("%v: want the control outside of secret pages", f)
		}
	}
	return c
}

// around shows where a hit lies, so that its owner can be found.
func (k *worker) around(f canary.Found) string {
	return fmt.Sprintf("%v: %s", f, k.neighbours(fmt.Sprintf("/proc/%d/mem", k.cmd.Process.Pid), f.Offset))
}

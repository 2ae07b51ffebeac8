// Package crash_test kills a daemon at random moments while devices and batches
// come in, and looks whether everything that was answered is still so.
package crash_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"mintmark/daemon"
	"mintmark/daemon/api"
)

var (
	torture = flag.Bool("torture", false, "kill 500 times instead of 20")
	station = flag.String("station", "", "run the daemon of this station.toml instead of the tests")
)

func TestMain(m *testing.M) {
	flag.Parse()
	if *station == "" {
		os.Exit(m.Run())
	}
	if err := serve(*station); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// foldClaims makes the child fold and merge all the time.
const foldClaims = 4

// serve is the child: a daemon as it is shipped, but for that.
func serve(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	c, err := daemon.ReadConfig(path)
	if err != nil {
		return err
	}
	return daemon.Run(ctx, c, daemon.Parts{FoldClaims: foldClaims})
}

// A child is a daemon in a process of its own.
type child struct {
	cmd   *exec.Cmd
	ended chan error
	out   bytes.Buffer
}

func start(t *testing.T, config string) *child {
	t.Helper()
	c := &child{cmd: exec.Command(os.Args[0], "-station="+config), ended: make(chan error, 1)}
	c.cmd.Stdout, c.cmd.Stderr = &c.out, &c.out
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.ended <- c.cmd.Wait() }()
	return c
}

// end sends a signal after a while and waits. A child that ended before has
// failed.
func (c *child) end(t *testing.T, after time.Duration, sig os.Signal) {
	t.Helper()
	select {
	case err := <-c.ended:
		t.Fatalf("daemon ended by itself: %v\n%s", err, c.out.String())
	case <-time.After(after):
	}
	c.cmd.Process.Signal(sig)
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		c.cmd.Process.Kill()
		<-c.ended
		t.Fatalf("daemon did not end\n%s", c.out.String())
	}
}

// TestNothingThatWasAnsweredIsLostByAKill is the promise of the ledger, held to
// from outside: by the answers that came over the socket, by what devices hold
// and by the labels that came out.
func TestNothingThatWasAnsweredIsLostByAKill(t *testing.T) {
	worlds := 1
	if *torture {
		worlds = 25
	}
	for i := range worlds {
		t.Run(fmt.Sprint("world ", i+1), func(t *testing.T) {
			w := newWorld(t)
			ctx, cancel := context.WithCancel(t.Context())
			stop, last := context.WithCancel(ctx)
			ended := make(chan error, 1)
			go func() { ended <- w.run(ctx, stop) }()
			defer func() { // also when a check gives up
				cancel()
				<-ended
			}()
			w.kill(ctx, 20)
			c := start(t, w.f.Config)
			last()
			w.finish(ended)
			c.end(t, 0, os.Interrupt)
			w.enough(w.check(w.answers()))
			w.restores()
		})
	}
}

// kill starts daemons and kills them, and checks the ledger after each.
func (w *world) kill(ctx context.Context, times int) {
	w.t.Helper()
	var before tally
	for range times {
		c := start(w.t, w.f.Config)
		c.end(w.t, w.moment(ctx), syscall.SIGKILL)
		told := w.answers()
		if told.waiting != "" {
			w.importing++
		}
		now := w.check(told)
		if now.claims < before.claims || now.sealed < before.sealed || now.batches < before.batches {
			w.t.Errorf("ledger shrank from %+v to %+v", before, now)
		}
		before = now
		if w.t.Failed() {
			w.t.FailNow()
		}
	}
}

// enough says what went on, and fails if it was too little to show anything.
func (w *world) enough(now tally) {
	w.t.Helper()
	told := w.answers()
	w.t.Logf("%d kills during an import; %d batches admitted, %d rejected, %d closed; %d devices sealed, %d attempts lost; %d claims, %d segment files made; %d backups",
		w.importing, len(told.admitted), len(told.rejected), len(told.closed), now.sealed, now.lost, now.claims, now.segments, told.backups)
	if now.segments < 20 || len(told.closed) == 0 || told.backups == 0 || w.importing == 0 || now.lost == 0 || len(told.admitted) == 0 || len(told.rejected) == 0 || len(told.passed) < 8 {
		w.t.Error("too little happened between the kills")
	}
}

// moment is how long a daemon lives from now on: some die while they start, some
// during an import, the others at any time.
func (w *world) moment(ctx context.Context) time.Duration {
	w.t.Helper()
	kind := rand.IntN(5)
	if kind == 0 {
		return rand.N(300 * time.Millisecond)
	}
	w.persist(ctx, func(c *api.Client) error { _, err := c.Status(ctx, ""); return err })
	if kind < 3 {
		return rand.N(4 * time.Second)
	}
	pause(ctx, rand.N(2*time.Second))
	select {
	case <-w.began:
		return rand.N(200 * time.Millisecond)
	case <-time.After(time.Minute):
		w.t.Fatal("no import began for a minute")
		return 0
	}
}

// finish waits until the devices in the slots are done.
func (w *world) finish(ended chan error) {
	w.t.Helper()
	select {
	case err := <-ended:
		ended <- err
		if err != nil {
			w.t.Fatal(err)
		}
	case <-time.After(2 * time.Minute):
		w.t.Fatal("the last devices are not done after two minutes")
	}
}

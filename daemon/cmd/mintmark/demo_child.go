package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"mintmark/daemon/api"
	"mintmark/station"
)

// A child is the daemon of the demo: mintmark run, in a process of its own, one
// after the other.
type child struct {
	config string
	log    string
	lost   context.CancelCauseFunc // called when a process ends without being told to

	now *process // nil before the first start
}

// A process is one life of the daemon.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when it has ended and err is set
	err   error

	mu   sync.Mutex // guards told
	told bool       // to end
}

func newChild(config, log string, lost context.CancelCauseFunc) *child {
	return &child{config: config, log: log, lost: lost}
}

// start runs the daemon and waits until it answers.
func (c *child) start(ctx context.Context, b *board) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(c.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	b.forget()
	cmd := exec.Command(self, "run", "--config", c.config)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the demo, which stops it
	if err := cmd.Start(); err != nil {
		return err
	}
	c.now = &process{cmd: cmd, ended: make(chan struct{})}
	go c.wait(c.now) // kill and stop wait for it
	return b.ready(ctx)
}

func (c *child) wait(p *process) {
	p.err = p.cmd.Wait()
	close(p.ended)
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.told {
		c.lost(fmt.Errorf("daemon ended by itself: %v, see %s", p.err, c.log))
	}
}

// tell sends a signal that ends the process. One that has ended is fine.
func (p *process) tell(s os.Signal) error {
	p.mu.Lock()
	p.told = true
	p.mu.Unlock()
	err := p.cmd.Process.Signal(s)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// kill ends the daemon at once.
func (c *child) kill() {
	if c.now == nil {
		return
	}
	_ = c.now.tell(syscall.SIGKILL) // it is our own child: gone, or killed
	<-c.now.ended
}

// stop ends the daemon as a technician would.
func (c *child) stop(ctx context.Context) error {
	if err := c.now.tell(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-c.now.ended:
		return c.now.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A board is what is written above the slots for everybody to see. It outlives
// the daemon, and knows nothing while none answers.
type board struct {
	socket string

	mu      sync.Mutex // guards the fields below
	status  api.Status
	fresh   bool          // a daemon said so
	version int           // of status
	changed chan struct{} // closed, then replaced, when status changes
}

func newBoard(socket string) *board { return &board{socket: socket, changed: make(chan struct{})} }

// follow writes down what the daemon says until ctx is done.
func (b *board) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		if c, err := api.Dial(ctx, b.socket); err == nil {
			b.listen(ctx, c)
		} else if !errors.Is(err, api.ErrNoDaemon) && ctx.Err() == nil {
			return err
		}
		t := time.NewTimer(20 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
	return nil
}

// listen ends when the daemon does.
func (b *board) listen(ctx context.Context, c *api.Client) {
	tag := ""
	for {
		st, err := c.Status(ctx, tag)
		if err != nil || st.Stopping {
			return
		}
		tag = st.Tag
		b.write(st, true)
	}
}

func (b *board) write(st api.Status, fresh bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.version++
	b.status, b.fresh = st, fresh
	b.status.Tag = fmt.Sprint(b.version)
	close(b.changed)
	b.changed = make(chan struct{})
}

// forget wipes the board: what stands there was said by a daemon that is gone.
func (b *board) forget() { b.write(api.Status{}, false) }

func (b *board) now() (api.Status, bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status, b.fresh, b.changed
}

// ready waits until a daemon answers.
func (b *board) ready(ctx context.Context) error {
	for {
		_, fresh, changed := b.now()
		if fresh {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (b *board) slots() []station.Snapshot {
	st, _, _ := b.now()
	return st.Slots
}

// Status makes a board a source of a view.
func (b *board) Status(ctx context.Context, after string) (api.Status, error) {
	for {
		st, _, changed := b.now()
		if st.Tag != after {
			return st, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return st, ctx.Err()
		}
	}
}

// await returns the state of a slot, counted from 0, as soon as it is one of want.
func (b *board) await(ctx context.Context, slot int, want ...string) (string, error) {
	for {
		st, _, changed := b.now()
		if slot < len(st.Slots) {
			for _, w := range want {
				if string(st.Slots[slot].State) == w {
					return w, nil
				}
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
}

package console_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/hsm/secret"
	"mintmark/station"
	"mintmark/station/console"
)

// A peer is the device's end of a pipe. What it hears is kept.
type peer struct {
	conn net.Conn
	in   *bufio.Reader

	mu    sync.Mutex // guards heard
	heard bytes.Buffer
}

func (p *peer) say(text string) { io.WriteString(p.conn, text) }

// line reads one line that the host types.
func (p *peer) line() string {
	text, err := p.in.ReadString('\r')
	if err != nil {
		panic(errHungUp)
	}
	return strings.TrimSuffix(text, "\r")
}

// key reads one byte.
func (p *peer) key() byte {
	c, err := p.in.ReadByte()
	if err != nil {
		panic(errHungUp)
	}
	return c
}

func (p *peer) all() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.heard.String()
}

// errHungUp ends a device's program when the host is gone.
var errHungUp = errors.New("host is gone")

// Read keeps what it reads.
func (p *peer) Read(b []byte) (int, error) {
	n, err := p.conn.Read(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.heard.Write(b[:n])
	return n, err
}

// A wire is the host's hold on a peer: a [station.Link] whose port is a pipe.
type wire struct {
	t     *testing.T
	port  net.Conn
	boots []func(*peer) // what the device does after each power-on
	peers []*peer
	wg    sync.WaitGroup
}

// plug connects a device that runs the first of boots now, and the others after
// each power cycle.
func plug(t *testing.T, boots ...func(*peer)) *wire {
	t.Helper()
	w := &wire{t: t, boots: boots}
	w.power()
	t.Cleanup(func() {
		w.port.Close()
		w.wg.Wait()
	})
	return w
}

func (w *wire) power() {
	host, device := net.Pipe()
	p := &peer{conn: device}
	p.in = bufio.NewReader(p)
	run := w.boots[0]
	w.boots, w.peers, w.port = w.boots[1:], append(w.peers, p), host
	w.wg.Go(func() {
		defer func() {
			if r := recover(); r != nil && r != errHungUp {
				panic(r)
			}
		}()
		run(p)
		io.Copy(io.Discard, p) // then it is mute, but takes what is typed
	})
}

func (w *wire) Port() station.Port { return w.port }

func (w *wire) Reopen(ctx context.Context) error { return w.Cycle(ctx) }

func (w *wire) Cycle(context.Context) error {
	if len(w.boots) == 0 {
		return station.Faultf("give the slot power control", "slot can't switch the device's power")
	}
	w.port.Close()
	w.wg.Wait()
	w.power()
	return nil
}

// heard is what the device was sent so far, over all its lives.
func (w *wire) heard() string {
	var b strings.Builder
	for _, p := range w.peers {
		b.WriteString(p.all())
	}
	return b.String()
}

func driver(t *testing.T, s console.Script) *console.Driver {
	t.Helper()
	d, err := console.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// identify runs the steps as the identify phase of a device that has a secret
// already, so that what it says may be shown.
func identify(t *testing.T, s console.Script, w *wire, v station.Vars, steps ...console.Step) (station.Facts, error) {
	t.Helper()
	s.Identify = steps
	if v.Secret == nil {
		v.Secret = hidden(t, "unrelated", "never sent").Secret
	}
	return driver(t, s).Do(t.Context(), w, station.Identify, v)
}

// hidden puts secrets into vars: name, value, name, value...
func hidden(t *testing.T, pairs ...string) station.Vars {
	v := station.Vars{Plain: map[string]string{"serial": "SN1"}, Secret: map[string]*secret.Value{}}
	for i := 0; i < len(pairs); i += 2 {
		v.Secret[pairs[i]] = secret.From([]byte(pairs[i+1]))
		t.Cleanup(v.Secret[pairs[i]].Close)
	}
	return v
}

// stepError returns the error's step, or ends the test.
func stepError(t *testing.T, err error) *console.StepError {
	t.Helper()
	var e *console.StepError
	if !errors.As(err, &e) {
		t.Fatalf("error is %v (%T), want a StepError", err, err)
	}
	return e
}

const second = console.Duration(time.Second)

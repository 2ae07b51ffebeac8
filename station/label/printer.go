package label

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"mintmark/hsm/secret"
)

// A Trouble is what keeps the printer from printing, with what to do about it.
type Trouble struct {
	Err    error
	Remedy string
}

func (t *Trouble) Error() string { return t.Err.Error() }

func (t *Trouble) Unwrap() error { return t.Err }

func trouble(remedy, format string, args ...any) error {
	return &Trouble{fmt.Errorf(format, args...), remedy}
}

// pollEvery is how often a printer that is busy is asked again.
const pollEvery = 50 * time.Millisecond

// A Printer is a ZPL printer on the network. It may be shared by slots: one
// speaks to it at a time.
type Printer struct {
	address string
	free    chan struct{} // holds the one right to speak to it
}

// NewPrinter returns the printer at address, a host with the port 9100 or
// another.
func NewPrinter(address string) *Printer {
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, "9100")
	}
	p := &Printer{address: address, free: make(chan struct{}, 1)}
	p.free <- struct{}{}
	return p
}

// Ready returns nil if a label would come out now.
func (p *Printer) Ready(ctx context.Context) error {
	return p.talk(ctx, func(c *conn) error {
		s, err := c.status()
		if err != nil {
			return err
		}
		if s.partial {
			return trouble("switch the printer off and on, then put the device in again", "printer holds a part of a label")
		}
		return s.trouble()
	})
}

// Print sends one label and waits until the printer has nothing left to do and
// nothing to complain of. After an error the label may exist, or come out once
// the printer is mended, unless it obeys when it is told to forget it.
func (p *Printer) Print(ctx context.Context, zpl *secret.Value) error {
	return p.talk(ctx, func(c *conn) error {
		_, err := c.Write(zpl.Bytes())
		if err != nil {
			err = trouble("check the printer's network, then put the device in again", "send label: %w", err)
		} else {
			err = c.printed(ctx)
		}
		if err != nil {
			c.forget()
		}
		return err
	})
}

// talk has one conversation with the printer.
func (p *Printer) talk(ctx context.Context, f func(*conn) error) error {
	select {
	case <-p.free:
		defer func() { p.free <- struct{}{} }()
	case <-ctx.Done():
		return trouble("put the device in again", "printer is busy with other slots: %w", context.Cause(ctx))
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return trouble("check the printer's power and network", "reach printer: %w", err)
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.SetDeadline(time.Unix(1, 0)) })()
	return f(&conn{Conn: nc, r: bufio.NewReaderSize(nc, 1024)})
}

// A conn is a conversation with the printer.
type conn struct {
	net.Conn
	r *bufio.Reader
}

// printed waits until nothing is left in the printer.
func (c *conn) printed(ctx context.Context) error {
	for {
		s, err := c.status()
		if err != nil {
			return err
		}
		if err := s.trouble(); err != nil || s.idle() {
			return err
		}
		t := time.NewTimer(pollEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return trouble("look at the printer, then put the device in again", "label was not printed: %w", context.Cause(ctx))
		}
	}
}

// forget tells the printer to drop what it holds. Nobody hears whether it did:
// the attempt has failed, and its label's number is named for destruction.
func (c *conn) forget() {
	c.SetDeadline(time.Now().Add(time.Second))
	c.Write([]byte("~JA"))
}

// A status is what ~HS says.
type status struct {
	paperOut, paused, headOpen, ribbonOut bool
	full, partial, corrupt, cold, hot     bool
	waiting, left                         int // formats in the buffer, labels of the one being printed
}

// trouble names the first thing that keeps a label from coming out.
func (s status) trouble() error {
	const again = ", then put the device in again"
	for _, t := range []struct {
		is           bool
		text, remedy string
	}{
		{s.headOpen, "printer's head is open", "close the print head"},
		{s.paperOut, "printer has no labels", "load labels"},
		{s.ribbonOut, "printer has no ribbon", "load a ribbon"},
		{s.hot, "printer is too hot", "let the printer cool down"},
		{s.cold, "printer is too cold", "let the printer warm up"},
		{s.corrupt, "printer has lost its memory", "switch the printer off and on"},
		{s.full, "printer's buffer is full", "switch the printer off and on"},
		{s.paused, "printer is paused", "press PAUSE on the printer"},
	} {
		if t.is {
			return trouble(t.remedy+again, "%s", t.text)
		}
	}
	return nil
}

func (s status) idle() bool { return s.waiting == 0 && s.left == 0 && !s.partial }

// status asks the printer how it is.
func (c *conn) status() (status, error) {
	if _, err := c.Write([]byte("~HS")); err != nil {
		return status{}, trouble("check the printer's power and network", "ask printer: %w", err)
	}
	var lines [3][]string
	for i := range lines {
		line, err := c.r.ReadSlice(0x03)
		if err != nil {
			return status{}, trouble("check the printer's power and network, and that it answers ~HS", "printer doesn't answer: %w", err)
		}
		_, line, found := bytes.Cut(line[:len(line)-1], []byte{0x02})
		if !found {
			return status{}, errGarbled
		}
		lines[i] = strings.Split(string(line), ",")
	}
	return parseStatus(lines[0], lines[1])
}

var errGarbled = errors.New("printer's answer to ~HS is garbled")

// parseStatus reads the first two lines of the answer (ZPL II manual, ~HS).
func parseStatus(one, two []string) (s status, err error) {
	if len(one) != 12 || len(two) != 11 {
		return s, errGarbled
	}
	number := func(field string) int {
		n, nerr := strconv.Atoi(strings.TrimSpace(field))
		if nerr != nil || n < 0 {
			err = errGarbled
		}
		return n
	}
	flag := func(field string) bool { return number(field) != 0 }
	s = status{
		paperOut: flag(one[1]), paused: flag(one[2]), waiting: number(one[4]), full: flag(one[5]),
		partial: flag(one[7]), corrupt: flag(one[9]), cold: flag(one[10]), hot: flag(one[11]),
		headOpen: flag(two[2]), ribbonOut: flag(two[3]), left: number(two[8]),
	}
	return s, err
}

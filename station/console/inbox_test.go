package console

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"mintmark/hsm/secret"
	"mintmark/station"
)

func TestAFullInboxKeepsTheNewest(t *testing.T) {
	b := &inbox{more: make(chan struct{}, 1)}
	var all []byte
	for i := range 3*inboxSize + 7 {
		all = append(all, byte(i%251))
		b.put(all[i:])
	}
	got := make([]byte, 4*inboxSize)
	if n, err := b.take(got); err != nil || !bytes.Equal(got[:n], all[len(all)-inboxSize:]) {
		t.Errorf("take gave %d bytes, %v, want the newest %d", n, err, inboxSize)
	}
}

func TestDataDoesNotOutrankTheDeadline(t *testing.T) {
	b := &inbox{more: make(chan struct{}, 1)}
	b.put([]byte("data without end"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s := session{program: &program{}, in: b}
	if err := s.fill(ctx, 0); err != context.Canceled {
		t.Errorf("fill = %v, want %v", err, context.Canceled)
	}
}

// A here is a link to one end of a pipe.
type here struct {
	station.Link
	port station.Port
}

func (h here) Port() station.Port { return h.port }

// TestNothingReceivedIsLeftInMemory looks into every buffer of a session after
// the device has echoed a secret that one step looked at and the next did not.
func TestNothingReceivedIsLeftInMemory(t *testing.T) {
	const value = "CDFHJKMPQRTVWXY"
	host, device := net.Pipe()
	defer host.Close()
	go func() { // ends with the pipe
		for {
			buf := make([]byte, 4096)
			n, err := device.Read(buf)
			if err != nil {
				return
			}
			if typed := string(buf[:n]); strings.Contains(typed, "end") {
				io := "mm" + typed[strings.Index(typed, "''")+2:][:8] + "\n" + value + "\nmm" + typed[strings.LastIndex(typed, "''")+2:][:8] + " 0\n"
				device.Write([]byte(io + value + value))
			} else {
				device.Write([]byte(value + typed + "\nOK\n"))
			}
		}
	}()
	d, err := New(Script{Dialect: Posix, Timeout: Duration(5 * time.Second), Inject: []Step{
		{Send: "{admin}", Bare: true, Expect: `OK\n`}, {Run: "end", Match: value},
	}})
	if err != nil {
		t.Fatal(err)
	}
	v := secret.From([]byte(value))
	defer v.Close()
	s := d.newSession(here{port: host}, station.Inject, station.Vars{Secret: map[string]*secret.Value{"admin": v}})
	s.attach()
	in := s.in
	for i := range d.program.phases[station.Inject] {
		if err := s.step(t.Context(), &d.program.phases[station.Inject][i]); err != nil {
			t.Fatal(err)
		}
	}
	s.detach()
	for name, b := range map[string][]byte{
		"text": s.text[:cap(s.text)], "raw": s.raw[:], "plain": s.plain[:], "ring": in.ring[:],
	} {
		if len(bytes.Trim(b, "\x00")) > 0 {
			t.Errorf("%s still holds received bytes, want zeros", name)
		}
	}
}

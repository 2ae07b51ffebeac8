package api

import (
	"context"
	"net"
	"net/http"
	"time"

	"mintmark/hsm/secret"
)

// net/http reads requests through a buffer of 4 KiB for each connection, and
// keeps the buffer for the next one with all that is in it: the first rows of a
// file, or a scan. A handler of such a body has the buffer wiped when it is done.

// A forgetful listener accepts connections whose buffers can be wiped.
type forgetful struct{ net.Listener }

func (l forgetful) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &buffered{Conn: c}, nil
}

// A buffered connection knows the buffer that its server reads it into: the one
// of the first read, which is for the head of the first request. What is read
// past the buffer later is the reader's own.
type buffered struct {
	net.Conn
	buf []byte // set by the first Read; before any handler runs
}

func (c *buffered) Read(p []byte) (int, error) {
	if c.buf == nil {
		c.buf = p[:cap(p)]
	}
	return c.Conn.Read(p)
}

type bufferKey struct{}

// remember puts the connection of a request where forget finds it.
func remember(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, bufferKey{}, c)
}

// forget ends what r has sent: it reads what is left, since a sender who is cut off
// doesn't hear why he was refused, and wipes what the connection has buffered.
func forget(w http.ResponseWriter, r *http.Request) {
	c, ok := r.Context().Value(bufferKey{}).(*buffered)
	if !ok {
		return // a caller in this process
	}
	defer secret.Wipe(c.buf)
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience)); err != nil {
		return // the connection is gone
	}
	room := secret.New(64 << 10)
	defer room.Close()
	for n := 0; n < maxFile; {
		more, err := r.Body.Read(room.Bytes())
		if n += more; err != nil {
			return
		}
	}
}

// patience is how long a sender may take to end what nobody wants any more.
const patience = 5 * time.Second

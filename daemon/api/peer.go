package api

import (
	"context"
	"fmt"
	"net"
	"os/user"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"

	"mintmark/records"
)

// Roles are the Unix groups that have them; see GroupsConfig of the daemon.
type Roles struct {
	Quality    string
	Supervisor string
}

type actorKey struct{}

// WithActor puts the caller of a request into its context.
func WithActor(ctx context.Context, a records.Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf is the caller of a request. A request without one is a bug of whoever
// serves the handler, and must not pass for anybody.
func ActorOf(ctx context.Context) records.Actor {
	a, ok := ctx.Value(actorKey{}).(records.Actor)
	if !ok {
		panic("api: internal error: request without an actor")
	}
	return a
}

// Actor returns who the user of the given id is and which roles he has.
func (r Roles) Actor(uid int) records.Actor {
	a := records.Actor{Name: "uid " + strconv.Itoa(uid), UID: uid, Quality: uid == 0, Supervisor: uid == 0}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return a // nobody the machine knows has no groups
	}
	a.Name = u.Username
	ids, err := u.GroupIds()
	if err != nil {
		return a
	}
	a.Quality = a.Quality || member(ids, r.Quality)
	a.Supervisor = a.Supervisor || member(ids, r.Supervisor)
	return a
}

func member(ids []string, group string) bool {
	if group == "" {
		return false
	}
	g, err := user.LookupGroup(group)
	return err == nil && slices.Contains(ids, g.Gid)
}

// FromPeer is for http.Server.ConnContext: it finds out who is at the other end
// of a Unix socket. A connection whose end is unknown gets no actor.
func (r Roles) FromPeer(ctx context.Context, c net.Conn) context.Context {
	uid, err := peer(c)
	if err != nil {
		c.Close()
		return ctx
	}
	return WithActor(ctx, r.Actor(uid))
}

// peer is the user who holds the other end of c, as the kernel noted it when the
// connection was made.
func peer(c net.Conn) (int, error) {
	if b, ok := c.(*buffered); ok {
		c = b.Conn
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		return 0, fmt.Errorf("connection is %T, want a Unix socket", c)
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil {
		return 0, err
	}
	if credErr != nil {
		return 0, credErr
	}
	return int(cred.Uid), nil
}

package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path that a Unix socket can have.
const maxPath = 107

// ErrNoDaemon means that nobody answers on the socket.
var ErrNoDaemon = errors.New("no daemon is running")

// Listen makes the socket of a daemon that holds the ledger already, so a socket
// that nobody answers on is a leftover and is replaced. The owner and the group
// may connect; an empty group is the daemon's own.
func Listen(ctx context.Context, path, group string) (net.Listener, error) {
	if err := CheckPath(path); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := removeStale(ctx, path); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	var c net.ListenConfig
	l, err := c.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err // says listen itself
	}
	if err := admit(path, group); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), l.Close())
	}
	return l, nil
}

// admit opens the socket to its group. Until then the usual umask keeps others out.
func admit(path, group string) error {
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return err
		}
		gid, err := strconv.Atoi(g.Gid)
		if err != nil {
			return err
		}
		if err := os.Chown(path, -1, gid); err != nil {
			return err
		}
	}
	return os.Chmod(path, 0o660)
}

// CheckPath refuses a path that is too long, and a folder where others could put
// a socket in the place of ours.
func CheckPath(path string) error {
	if len(path) > maxPath {
		return fmt.Errorf("socket path has %d characters, want at most %d", len(path), maxPath)
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return fmt.Errorf("folder %s is writable by everybody, want one that isn't for the socket", filepath.Dir(path))
	}
	return nil
}

func removeStale(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket", path)
	}
	c, err := dial(ctx, path)
	if err == nil {
		c.Close()
		return fmt.Errorf("another daemon answers on %s", path)
	}
	if !errors.Is(err, ErrNoDaemon) {
		return err
	}
	return os.Remove(path)
}

// dial connects to a daemon. ErrNoDaemon means that none is there.
func dial(ctx context.Context, path string) (net.Conn, error) {
	if len(path) > maxPath {
		return nil, ErrNoDaemon // none can listen there
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOTDIR):
		return nil, ErrNoDaemon
	case err != nil:
		return nil, fmt.Errorf("speak to the daemon: %w", err)
	}
	return c, nil
}

// trusted refuses a socket that isn't held by root, the caller himself or the
// owner of its folder: credentials are about to be sent there.
func trusted(c net.Conn, path string) error {
	uid, err := peer(c)
	if err != nil {
		return err
	}
	owners := []int{0, os.Getuid()}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Dir(path), &st); err == nil {
		owners = append(owners, int(st.Uid))
	}
	if !slices.Contains(owners, uid) {
		return fmt.Errorf("socket %s is held by uid %d, want the owner of its folder or root", path, uid)
	}
	return nil
}

// Dial returns a client of the daemon on the socket, or ErrNoDaemon. Nobody
// needs to close it.
func Dial(ctx context.Context, path string) (*Client, error) {
	c, err := dial(ctx, path)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := trusted(c, path); err != nil {
		return nil, err
	}
	return &Client{http: &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			c, err := dial(ctx, path)
			if err != nil {
				return nil, err
			}
			if err := trusted(c, path); err != nil {
				return nil, errors.Join(err, c.Close())
			}
			return c, nil
		},
	}}}, nil
}

// Serve answers on l until ctx is done, then lets open requests end for a
// moment, and returns when all have. Log gets what goes wrong with connections.
func Serve(ctx context.Context, l net.Listener, h http.Handler, roles Roles, log *slog.Logger) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	srv := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelError),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return roles.FromPeer(remember(ctx, c), c)
		},
		BaseContext: func(net.Listener) context.Context { return requests },
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		stopped <- shutdown(requests, cancel, srv)
	}()
	err := srv.Serve(forgetful{l})
	stop()
	if errors.Is(err, http.ErrServerClosed) {
		return <-stopped
	}
	return errors.Join(fmt.Errorf("serve: %w", err), <-stopped)
}

// grace is how long a request may go on after the daemon was told to stop.
const grace = 5 * time.Second

func shutdown(requests context.Context, cancel func(), srv *http.Server) error {
	ctx, done := context.WithTimeout(requests, grace)
	defer done()
	err := srv.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	cancel() // ends what waits for a change, an import, a backup
	ctx, done = context.WithTimeout(context.WithoutCancel(requests), grace)
	defer done()
	return errors.Join(srv.Shutdown(ctx), srv.Close())
}

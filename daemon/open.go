package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"time"

	"mintmark/daemon/api"
	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
	"mintmark/records"
)

// A Store is the open ledger of a station with the authority it is bound to.
type Store struct {
	Ledger    *records.Ledger
	Authority *soft.Authority
	Products  *Products
}

// Open opens authority and ledger of a station. Secrets are about to enter the
// process, so it is closed to debuggers and core files first.
func Open(ctx context.Context, c Config, log *slog.Logger) (*Store, error) {
	return open(ctx, c, c.options(log))
}

func open(ctx context.Context, c Config, o records.Options) (*Store, error) {
	if err := secret.Harden(); err != nil {
		return nil, err
	}
	a, err := soft.Open(c.Authority)
	if err != nil {
		return nil, err
	}
	l, err := records.Open(ctx, c.Ledger, a, a, o)
	if err != nil {
		a.Close()
		return nil, err
	}
	return &Store{Ledger: l, Authority: a, Products: NewProducts(c.Profiles, time.Now)}, nil
}

func (c Config) options(log *slog.Logger) records.Options {
	return records.Options{
		Log: log, Ballast: int64(c.Limits.ReserveMiB) << 20, ChecksPerHour: c.Limits.ChecksPerHour,
	}
}

// Close closes the ledger, then forgets the keys.
func (s *Store) Close() error {
	err := s.Ledger.Close()
	s.Authority.Close()
	return err
}

// handler answers for the store; more may be added to a.
func (s *Store) handler(c Config, a api.Config) http.Handler {
	a.Ledger, a.Product = s.Ledger, s.Products.Load
	a.About.Station, a.About.Authority, a.About.Development = c.Station, s.Authority.ID(), s.Authority.Development()
	return api.Handler(a)
}

func (c Config) roles() api.Roles {
	return api.Roles{Quality: c.Groups.Quality, Supervisor: c.Groups.Supervisor}
}

// A Connection is a client of a station, and what must be closed after it.
type Connection struct {
	*api.Client
	store *Store // nil: a daemon answers
}

// Connect returns a client of the station: over the socket if its daemon runs,
// else in this process, on the ledger that it opens itself. Either way files of
// credentials and scans may go through this process, so it is hardened.
func Connect(ctx context.Context, c Config, version string) (*Connection, error) {
	if err := secret.Harden(); err != nil {
		return nil, err
	}
	client, err := api.Dial(ctx, c.Socket)
	if err == nil {
		return &Connection{Client: client}, nil
	}
	if !errors.Is(err, api.ErrNoDaemon) {
		return nil, err
	}
	store, err := Open(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	h := store.handler(c, api.Config{Local: true, About: api.About{Version: version}})
	return &Connection{api.NewLocal(h, c.roles().Actor(os.Getuid())), store}, nil
}

// Close closes the ledger, if this process opened it.
func (c *Connection) Close() error {
	c.Client.Close()
	if c.store == nil {
		return nil
	}
	return c.store.Close()
}

// Restore fills the empty ledger folder of a station from a backup, under the
// authority that the station has. It makes the folder if it isn't there.
func Restore(ctx context.Context, c Config, from io.Reader, progress func(int64)) error {
	return c.restore(func(a *soft.Authority) error {
		return records.Restore(ctx, c.Ledger, from, a, c.options(nil), progress)
	})
}

// RestoreFile is Restore from a file, which may have its segments beside it.
func RestoreFile(ctx context.Context, c Config, name string, progress func(done, total int64)) error {
	return c.restore(func(a *soft.Authority) error {
		return records.RestoreFile(ctx, c.Ledger, name, a, c.options(nil), progress)
	})
}

func (c Config) restore(f func(*soft.Authority) error) error {
	if err := secret.Harden(); err != nil {
		return err
	}
	a, err := soft.Open(c.Authority)
	if err != nil {
		return err
	}
	defer a.Close()
	if err := os.MkdirAll(c.Ledger, 0o700); err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	return f(a)
}

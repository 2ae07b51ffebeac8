package records

import (
	"context"
	"io"
	"log/slog"
	"time"
)

// An Index is the keyed digest of a credential, its only lasting trace: the
// first 16 bytes of an HMAC-SHA-256 (R-LED-01).
type Index [16]byte

// Options tunes a ledger. The zero value is right for production.
type Options struct {
	// Log receives warnings from the storage engine. Nil means discard.
	Log *slog.Logger

	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	// Ballast is the disk reserve that is really allocated, in bytes.
	// 0 means 96 MiB.
	Ballast int64

	// ChecksPerHour limits checks and imports per actor. 0 means 60.
	ChecksPerHour int
}

// Ledger is the open ledger. It is safe for use by many goroutines.
type Ledger struct {
	opts Options
}

// Create makes an empty ledger in dir, which must exist and be empty, and binds
// it to the index key.
func Create(ctx context.Context, dir string, keys Keys, o Options) error { panic("todo") }

// Open opens the ledger in dir, checks it against its head, its key and its
// count of claims, and settles what a crash left open. It fails with ErrHeld,
// ErrBehind, ErrNewer or ErrWrongKey, each with what to do.
func Open(ctx context.Context, dir string, keys Keys, rows RowKeys, o Options) (*Ledger, error) {
	panic("todo")
}

// Close waits for the writer, then releases the folder.
func (l *Ledger) Close() error { panic("todo") }

// Broken returns a channel that is closed when the ledger has stopped because a
// commit or sync failed, and Err says why.
func (l *Ledger) Broken() <-chan struct{} { panic("todo") }

// Err returns the reason for Broken, or nil.
func (l *Ledger) Err() error { panic("todo") }

// A Check is what Verify found.
type Check struct {
	Groups      uint64   `json:"groups"`
	Claims      int64    `json:"claims"`
	Batches     int      `json:"batches"`
	Devices     int      `json:"devices"`
	Open        int      `json:"open_assignments"`
	Problems    []string `json:"problems,omitempty"` // empty means clean
	HeadGroup   uint64   `json:"head_group"`
	Epoch       int      `json:"epoch"`
	KeyVersions []uint32 `json:"key_versions"`
}

// Verify reads the whole ledger: the chain of commit groups against the head,
// every cross-reference, counts, and that no claimed index is owned twice.
// Progress is called with keys read; nil is fine.
func (l *Ledger) Verify(ctx context.Context, progress func(done int64)) (Check, error) { panic("todo") }

// Stats is the ledger in numbers.
type Stats struct {
	ID       string              `json:"ledger"`
	Epoch    int                 `json:"epoch"`
	Groups   uint64              `json:"groups"`
	Claims   int64               `json:"claims"`
	Batches  map[BatchState]int  `json:"batches"`
	Devices  map[DeviceState]int `json:"devices"`
	Checks   int                 `json:"checks"`
	Rejected int                 `json:"rejections"`
	Bytes    int64               `json:"bytes"`
	Free     int64               `json:"free_bytes"`
	Key      string              `json:"index_key"`
	Scope    string              `json:"scope"`
}

// Stats counts the ledger.
func (l *Ledger) Stats(ctx context.Context) (Stats, error) { panic("todo") }

// Backup writes a consistent, checksummed copy while the ledger runs. It carries
// no key in clear.
func (l *Ledger) Backup(ctx context.Context, w io.Writer, progress func(done int64)) error {
	panic("todo")
}

// Restore makes a ledger in dir, which must be empty, from a backup, and starts
// a new epoch: open attempts are burned and waiting rows are frozen.
func Restore(ctx context.Context, dir string, r io.Reader, keys Keys, o Options, progress func(done int64)) error {
	panic("todo")
}

// Thaw frees frozen rows after a restore. Provisioned lists the serials of the
// product that were provisioned since the backup: their rows are burned, the
// others wait again.
func (l *Ledger) Thaw(ctx context.Context, product string, provisioned []string, by Actor) (freed, burned int, err error) {
	panic("todo")
}

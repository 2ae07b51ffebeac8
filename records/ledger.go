package records

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
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

	// Ballast is the disk reserve that is really allocated, in bytes. New claims
	// are refused when no more than as much again is free. 0 means 96 MiB.
	Ballast int64

	// ChecksPerHour limits checks and imports per actor. 0 means 60.
	ChecksPerHour int
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Ballast == 0 {
		o.Ballast = defaultBallast
	}
	if o.ChecksPerHour == 0 {
		o.ChecksPerHour = 60
	}
	return o
}

// now is the clock, in UTC and whole milliseconds.
func (o Options) now() time.Time { return o.Now().UTC().Truncate(time.Millisecond) }

// Ledger is the open ledger. It is safe for use by many goroutines.
type Ledger struct {
	// Not changed after Open.
	opts Options
	dir  string
	keys Keys
	rows RowKeys
	lock *os.File
	db   *badger.DB
	meta meta

	// Owned by the writer, and by Open and Close while there is none.
	head  *headFile
	space *space
	last  groupRecord // the newest group

	// commitTxn commits a group's transaction: Badger's Commit, or a fault of a test.
	commitTxn func(*badger.Txn) error

	ops    chan *op
	quit   chan struct{} // closed by Close
	wrote  chan struct{} // closed when the writer has ended
	broken chan struct{} // closed when err is set
	closed sync.Once

	life sync.RWMutex // held shared by readers, so that Close waits for them

	mu  sync.Mutex // guards err
	err error
}

// Create makes an empty ledger in dir, which must exist and be empty, and binds
// it to the index key.
func Create(ctx context.Context, dir string, keys Keys, o Options) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("create ledger: folder %s has something in it, want an empty one", dir)
	}
	m := meta{Schema: schema, Key: keys.ID(), Created: o.withDefaults().now()}
	if _, err := rand.Read(m.ID[:]); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if m.Checks, err = keyChecks(ctx, keys); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	if err := createHead(dir, head{schema: schema, ledger: m.ID, hash: genesis(m.ID).hash}); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	l, err := enter(dir, o)
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	l.meta, l.last = m, genesis(m.ID)
	go l.write() // Close waits for it
	err = l.commit(ctx, func(t *txn) error {
		t.set([]byte{keyMeta}, encode(m))
		return nil
	})
	return errors.Join(err, l.Close())
}

// Open opens the ledger in dir, checks it against its head, its key and its
// count of claims, and settles what a crash left open. It fails with ErrHeld,
// ErrBehind, ErrNewer or ErrWrongKey, each with what to do.
func Open(ctx context.Context, dir string, keys Keys, rows RowKeys, o Options) (*Ledger, error) {
	l, err := enter(dir, o)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.keys, l.rows = keys, rows
	if err := l.check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.leave())
	}
	go l.write() // Close waits for it
	if err := l.settleLeft(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.Close())
	}
	return l, nil
}

// enter takes the folder and opens what is in it, unchecked.
func enter(dir string, o Options) (l *Ledger, err error) {
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	l = &Ledger{
		opts: o.withDefaults(), dir: dir, lock: lock, commitTxn: (*badger.Txn).Commit,
		ops: make(chan *op), quit: make(chan struct{}), wrote: make(chan struct{}), broken: make(chan struct{}),
	}
	l.space = &space{dir: dir, size: l.opts.Ballast, free: diskFree}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.leave())
		}
	}()
	if l.head, err = openHead(dir); err != nil {
		return nil, err
	}
	if l.head.head.schema > schema {
		return nil, fmt.Errorf("%w: schema %d, want at most %d: install the program that wrote it", ErrNewer, l.head.head.schema, schema)
	}
	if err = l.space.enter(); err != nil {
		return nil, err
	}
	if l.db, err = openBadger(dir, l.opts.Log); err != nil {
		return nil, err
	}
	return l, l.space.entered()
}

// Close waits for the writer, then releases the folder.
func (l *Ledger) Close() (err error) {
	l.closed.Do(func() {
		close(l.quit)
		<-l.wrote
		l.life.Lock() // wait for readers, and let no new ones in
		err = l.leave()
	})
	return err
}

// leave releases whatever enter took.
func (l *Ledger) leave() error {
	var errs []error
	if l.db != nil {
		// Without room for its last table Badger would end the process; left as
		// it is, its log is read again at the next open.
		err := l.space.leave()
		if err == nil {
			err = l.db.Close()
		}
		errs = append(errs, err)
	}
	if l.head != nil {
		errs = append(errs, l.head.file.Close())
	}
	if err := errors.Join(append(errs, l.lock.Close())...); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// Broken returns a channel that is closed when the ledger has stopped because a
// commit or sync failed, and Err says why.
func (l *Ledger) Broken() <-chan struct{} { return l.broken }

// Err returns the reason for Broken, or nil.
func (l *Ledger) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

func (l *Ledger) breaks(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
	close(l.broken)
}

// takeLock takes the folder for this process.
func takeLock(dir string) (*os.File, error) {
	if fi, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("ledger folder: %w", err)
	} else if !fi.IsDir() {
		return nil, fmt.Errorf("ledger folder %s is a file, want a folder", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger folder can't be written: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 20)) // who holds it is only good to know
		return nil, errors.Join(fmt.Errorf("%w: %s, in %s: stop it, or use it through its socket",
			ErrHeld, bytes.TrimSpace(pid), dir), f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "process %d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// check holds the store to its head, its key and its claims.
func (l *Ledger) check(ctx context.Context) error {
	if err := l.view(l.checkMeta); err != nil {
		return err
	}
	if err := l.checkKey(ctx); err != nil {
		return err
	}
	if err := l.view(l.checkChain); err != nil {
		return err
	}
	if err := l.view(l.checkClaims); err != nil {
		return err
	}
	h := l.head.head
	h.seq, h.hash, h.claims, h.anchor = l.last.seq, l.last.hash, l.last.claims.n, l.last.seq
	return l.head.put(h)
}

func (l *Ledger) checkMeta(r reader) error {
	val, found, err := r.get([]byte{keyMeta})
	if err != nil {
		return err
	}
	if !found && l.head.head.seq == 0 {
		return fmt.Errorf("%s was never finished: delete it and make it again", l.dir)
	}
	if !found {
		return behind("its first record is missing")
	}
	m, err := decode[meta](val)
	if err != nil {
		return err
	}
	if m.Schema > schema {
		return fmt.Errorf("%w: schema %d, want at most %d: install the program that wrote it", ErrNewer, m.Schema, schema)
	}
	if m.ID != l.head.head.ledger {
		return behind("its head file is of another ledger")
	}
	l.meta = *m
	return nil
}

// checkKey compares the check value of each key version. A version that is new
// is bound by settleLeft.
func (l *Ledger) checkKey(ctx context.Context) error {
	have, err := keyChecks(ctx, l.keys)
	if err != nil {
		return err
	}
	for v, want := range l.meta.Checks {
		got, ok := have[v]
		if !ok {
			return fmt.Errorf("%w: %s has no version %d, which %s has: look for the right key", ErrWrongKey, l.keys.ID(), v, l.meta.Key)
		}
		if got != want {
			return fmt.Errorf("%w: this is %s, it was made with %s: look for the right key", ErrWrongKey, l.keys.ID(), l.meta.Key)
		}
	}
	return nil
}

// keyChecks returns what tells one key from another, for each version.
func keyChecks(ctx context.Context, keys Keys) (map[uint32][8]byte, error) {
	checks := map[uint32][8]byte{}
	for _, v := range keys.Versions() {
		var out [1][32]byte
		if err := keys.Sum(ctx, v, [][]byte{[]byte("mintmark/key check")}, out[:]); err != nil {
			return nil, fmt.Errorf("check index key: %w", err)
		}
		checks[v] = [8]byte(out[0][:8])
	}
	if len(checks) == 0 {
		return nil, fmt.Errorf("check index key: %s has no version", keys.ID())
	}
	return checks, nil
}

// checkChain follows the groups from the anchor to the newest, which must be
// the head's, or the one after it: a crash between commit and head.
func (l *Ledger) checkChain(r reader) error {
	h := l.head.head
	last := genesis(h.ledger)
	err := r.scanFrom([]byte{keyGroup}, groupKey(h.anchor), func(key, val []byte) error {
		seq := binary.BigEndian.Uint64(key[1:])
		g, err := decodeGroup(h.ledger, seq, val)
		if err != nil {
			return behind("%v", err)
		}
		if seq != h.anchor && (seq != last.seq+1 || g.prev != last.hash) {
			return behind("group %d doesn't follow group %d", seq, last.seq)
		}
		if seq == h.seq && g.hash != h.hash {
			return behind("group %d isn't the one that its head file names", seq)
		}
		last = g
		return nil
	})
	if err != nil {
		return err
	}
	if last.seq < h.seq {
		return behind("it ends at group %d, its head file says %d", last.seq, h.seq)
	}
	if last.seq > h.seq+1 {
		return behind("its head file says group %d, but group %d is there: the head file is an old copy", h.seq, last.seq)
	}
	l.last = last
	return nil
}

// checkClaims counts and adds up every claim.
func (l *Ledger) checkClaims(r reader) error {
	var have claimCount
	if err := r.keys([]byte{keyClaim}, func(key []byte) error {
		if len(key) != 1+len(Index{}) {
			return fmt.Errorf("a claim has a key of %d bytes, want %d", len(key), 1+len(Index{}))
		}
		have.add(Index(key[1:]))
		return nil
	}); err != nil {
		return err
	}
	if want := l.last.claims; have.n != want.n {
		return behind("it has %d claims, group %d says %d", have.n, l.last.seq, want.n)
	} else if have != want {
		return behind("its %d claims aren't those that group %d adds up", have.n, l.last.seq)
	}
	return nil
}

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

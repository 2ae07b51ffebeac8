package records

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
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

	// FoldClaims is how many claims that were made one by one are folded into a
	// segment. 0 means 262,144.
	FoldClaims int
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
	if o.FoldClaims == 0 {
		o.FoldClaims = foldClaims
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
	merge chan error  // answers when the merge under way is done; nil: there is none

	imports  *imports
	segments uint32        // the last number of one; for the holder of imports.writing
	due      chan struct{} // has a token when there may be something to fold or merge
	keeping  bool          // keep was started
	kept     chan struct{} // closed when keep has ended

	sets sync.RWMutex // held while a commit changes set; guards set for all but the writer
	set  *claimSet

	// commitTxn commits a group's transaction: Badger's Commit, or a fault of a test.
	commitTxn func(*badger.Txn) error

	ops    chan *op
	quit   chan struct{} // closed by Close
	wrote  chan struct{} // closed when the writer has ended
	broken chan struct{} // closed when err is set
	jammed chan struct{} // closed when the store can't make a table, after broken
	jam    sync.Once     // closes jammed
	closed sync.Once

	rowsStay sync.Mutex // held while a row file is removed, and while a backup opens those of its state

	life sync.RWMutex // held shared by readers, so that Close waits for them

	mu  sync.Mutex // guards err
	err error
}

// Create makes an empty ledger in dir, which must exist and be empty, and binds
// it to the index key.
func Create(ctx context.Context, dir string, keys Keys, o Options) error {
	m := meta{Schema: schema, Key: keys.ID(), Created: o.withDefaults().now()}
	if _, err := rand.Read(m.ID[:]); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	var err error
	if m.Checks, err = keyChecks(ctx, keys); err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	l, err := found(dir, head{schema: schema, ledger: m.ID, hash: genesis(m.ID).hash}, o)
	if err != nil {
		return fmt.Errorf("create ledger: %w", err)
	}
	l.meta, l.last = m, genesis(m.ID)
	l.start()
	err = l.commit(ctx, func(t *txn) error {
		t.set([]byte{keyMeta}, encode(m))
		return nil
	})
	if err == nil {
		err = publishHead(dir)
	}
	return errors.Join(err, l.Close())
}

// found makes the files of a ledger in an empty folder and opens them. The
// ledger is real once publishHead has given its head the name that Open wants.
func found(dir string, h head, o Options) (*Ledger, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > 0 {
		return nil, fmt.Errorf("folder %s has something in it, want an empty one", dir)
	}
	if err := createHead(dir, h); err != nil {
		return nil, err
	}
	return enter(dir, unfinishedHead, o)
}

// Open opens the ledger in dir, checks it against its head, its key and its
// count of claims, and settles what a crash left open. It fails with ErrHeld,
// ErrBehind, ErrNewer or ErrWrongKey, each with what to do.
func Open(ctx context.Context, dir string, keys Keys, rows RowKeys, o Options) (*Ledger, error) {
	l, err := enter(dir, headName, o)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l.keys, l.rows = keys, rows
	if err := l.check(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.leave())
	}
	l.start()
	for _, f := range []func(context.Context) error{l.sweepSegments, l.migrate, l.bindVersions, l.settleLeft, l.sweep} {
		if err := f(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("open ledger: %w", err), l.Close())
		}
	}
	l.keeping = true
	go l.keep()
	l.isDue()
	return l, nil
}

// enter takes the folder and opens what is in it, unchecked.
func enter(dir, headName string, o Options) (*Ledger, error) {
	if _, err := os.Stat(filepath.Join(dir, headName)); errors.Is(err, os.ErrNotExist) {
		return nil, noHead(dir) // without leaving a lock in a folder that is none of ours
	}
	lock, err := takeLock(dir)
	if err != nil {
		return nil, err
	}
	l := &Ledger{
		opts: o.withDefaults(), dir: dir, lock: lock, commitTxn: (*badger.Txn).Commit,
		ops: make(chan *op), quit: make(chan struct{}), wrote: make(chan struct{}),
		broken: make(chan struct{}), jammed: make(chan struct{}),
		imports: newImports(), due: make(chan struct{}, 1), kept: make(chan struct{}), set: noClaims(),
	}
	l.set.enter()
	l.space = &space{dir: dir, size: l.opts.Ballast, free: diskFree}
	if err := l.openFiles(headName); err != nil {
		return nil, errors.Join(err, l.leave())
	}
	return l, nil
}

func (l *Ledger) openFiles(headName string) (err error) {
	if l.head, err = openHead(l.dir, headName); err != nil {
		return err
	}
	if s := l.head.head.schema; s > schema {
		return fmt.Errorf("%w: schema %d, want at most %d: install the program that wrote it", ErrNewer, s, schema)
	}
	if err := l.space.enter(); err != nil {
		return err
	}
	if err := l.openStore(); err != nil {
		return err
	}
	return l.space.entered()
}

func (l *Ledger) openStore() (err error) {
	l.db, err = await(l, func() (*badger.DB, error) { return openBadger(l.dir, storeLog{l.opts.Log, l.jams}) })
	return err
}

// Close waits for an import that is being written and for the writer, then
// releases the folder. It does not wait for a store that is jammed: then the
// folder is free when the process has ended.
func (l *Ledger) Close() (err error) {
	l.closed.Do(func() {
		close(l.quit)
		if l.keeping {
			<-l.kept
		}
		l.imports.writing <- struct{}{} // for ever: nobody touches a segment when the folder is another's
		<-l.wrote
		l.life.Lock() // wait for readers, and let no new ones in
		err = l.leave()
	})
	return err
}

// leave releases whatever enter took.
func (l *Ledger) leave() error {
	var errs []error
	l.set.release()
	if l.db != nil {
		errs = append(errs, l.closeStore())
	}
	if l.head != nil {
		errs = append(errs, l.head.file.Close())
	}
	if !l.isJammed() {
		errs = append(errs, l.lock.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

func (l *Ledger) closeStore() error {
	if l.isJammed() {
		return nil // whoever uses the ledger was told
	}
	// Without room for its last table Badger would end the process; left as
	// it is, its log is read again at the next open.
	if err := l.space.leave(); err != nil {
		return err
	}
	return l.awaitDone(l.db.Close)
}

// Broken returns a channel that is closed when the ledger has stopped because a
// commit or sync failed, or the store jammed, and Err says why.
func (l *Ledger) Broken() <-chan struct{} { return l.broken }

// Err returns the reason for Broken, or nil.
func (l *Ledger) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// breaks stops the ledger, unless it has stopped already, and returns why.
func (l *Ledger) breaks(cause error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("%w: %w", ErrBroken, cause)
		close(l.broken)
	}
	return l.err
}

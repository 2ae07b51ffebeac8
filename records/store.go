package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// The first byte of a key says what it is; docs/ledger.md has the layouts.
const (
	keyMeta    = 'M'
	keyGroup   = 'g'
	keyClaim   = 'c'
	keyWide    = 'w'
	keyBatch   = 'b'
	keyName    = 'B'
	keyDevice  = 'd'
	keyHard    = 'h'
	keyCounter = 'k'
	keyCheck   = 'q'
	keyOpen    = 'a'
	keyLabel   = 'l'
	keySegment = 'S'
	keyFolded  = 'F'
)

func groupKey(seq uint64) []byte  { return binary.BigEndian.AppendUint64([]byte{keyGroup}, seq) }
func claimsKey(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyClaim}, seq) }
func segmentKey(n uint32) []byte  { return binary.BigEndian.AppendUint32([]byte{keySegment}, n) }
func batchKey(n uint32) []byte    { return binary.BigEndian.AppendUint32([]byte{keyBatch}, n) }
func nameKey(name string) []byte  { return append([]byte{keyName}, name...) }
func counterKey(of string) []byte {
	return append([]byte{keyCounter}, of...)
}
func deviceKey(product, serial string) []byte {
	return pairKey(keyDevice, product, serial)
}
func hardKey(product, hardwareID string) []byte {
	return pairKey(keyHard, product, hardwareID)
}

func pairKey(kind byte, a, b string) []byte {
	k := make([]byte, 0, 2+len(a)+len(b))
	k = append(append(k, kind), a...)
	return append(append(k, 0), b...)
}

// A getter reads the ledger: a transaction inside the writer, or a reader.
type getter interface {
	get(key []byte) (val []byte, found bool, err error)
	claimOwner(i Index) (o ownerRef, found bool, err error)
	rowOf(product, serial string) (batch, row uint32, found bool, err error)
}

// A reader is one consistent state of the ledger. Of the newest layer of claims
// it may see more.
type reader struct {
	txn *badger.Txn
	set *claimSet
}

func (r reader) claimOwner(i Index) (ownerRef, bool, error) { return r.set.find(i) }

func (r reader) get(key []byte) ([]byte, bool, error) { return lookup(r.txn, key) }

// scan calls f for every key with the prefix, in order. Key and val are valid
// during the call only.
func (r reader) scan(prefix []byte, f func(key, val []byte) error) error {
	return r.scanFrom(prefix, prefix, f)
}

// scanFrom is scan from a key on.
func (r reader) scanFrom(prefix, from []byte, f func(key, val []byte) error) error {
	o := badger.DefaultIteratorOptions
	o.Prefix = prefix
	it := r.txn.NewIterator(o)
	defer it.Close()
	for it.Seek(from); it.Valid(); it.Next() {
		item := it.Item()
		if err := item.Value(func(val []byte) error { return f(item.Key(), val) }); err != nil {
			return err
		}
	}
	return nil
}

// errStop ends a scan.
var errStop = errors.New("stop")

// first returns the first key at or behind from that has the prefix, or nil.
func (r reader) first(prefix, from []byte) (key []byte, err error) {
	err = r.scanFrom(prefix, from, func(k, _ []byte) error {
		key = bytes.Clone(k)
		return errStop
	})
	if errors.Is(err, errStop) {
		err = nil
	}
	return key, err
}

// lastGroup returns the newest group.
func (r reader) lastGroup(ledger [16]byte) (groupRecord, error) {
	o := badger.DefaultIteratorOptions
	o.Prefix, o.Reverse, o.PrefetchSize = []byte{keyGroup}, true, 1
	it := r.txn.NewIterator(o)
	defer it.Close()
	it.Seek(groupKey(1<<64 - 1))
	if !it.Valid() {
		return genesis(ledger), nil
	}
	val, err := it.Item().ValueCopy(nil)
	if err != nil {
		return groupRecord{}, err
	}
	return decodeGroup(ledger, binary.BigEndian.Uint64(it.Item().Key()[1:]), val)
}

// keys is scan without the values.
func (r reader) keys(prefix []byte, f func(key []byte) error) error {
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = prefix, false
	it := r.txn.NewIterator(o)
	defer it.Close()
	for it.Rewind(); it.Valid(); it.Next() {
		if err := f(it.Item().Key()); err != nil {
			return err
		}
	}
	return nil
}

// view calls f with a consistent state of the ledger, as of the last answered
// group or later.
func (l *Ledger) view(f func(r reader) error) error {
	if err := l.Err(); err != nil {
		return err
	}
	if !l.life.TryRLock() {
		return errClosed
	}
	defer l.life.RUnlock()
	r, err := l.reader()
	if err != nil {
		return err
	}
	defer r.end()
	return f(r)
}

// reader begins to read: a state of the store, when the commits before it are
// through, and the claims that belong to it.
func (l *Ledger) reader() (reader, error) {
	l.sets.RLock()
	defer l.sets.RUnlock()
	txn, err := await(l, func() (*badger.Txn, error) { return l.db.NewTransaction(false), nil })
	if err == nil {
		l.set.holds.Add(1)
	}
	return reader{txn, l.set}, err
}

func (r reader) end() {
	r.txn.Discard()
	r.set.release()
}

// claims returns the set of claims that readers see now.
func (l *Ledger) claims() *claimSet {
	l.sets.RLock()
	defer l.sets.RUnlock()
	return l.set
}

// replaceSet lets readers see another set of claims.
func (l *Ledger) replaceSet(s *claimSet) {
	l.sets.Lock()
	defer l.sets.Unlock()
	l.changeTo(s)
}

// changeTo is replaceSet with sets locked.
func (l *Ledger) changeTo(s *claimSet) {
	if s == l.set {
		return
	}
	s.enter()
	l.set.release()
	l.set = s
}

func lookup(txn *badger.Txn, key []byte) ([]byte, bool, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	val, err := item.ValueCopy(nil)
	return val, err == nil, err
}

// memTable is the size of Badger's memory table; its log may grow to twice
// that, and a transaction to 15 % of it.
const memTable = 16 << 20

// openBadger opens the store. Badger panics on some kinds of damage; here that
// is an error like any other.
func openBadger(dir string, log storeLog) (db *badger.DB, err error) {
	defer func() {
		if p := recover(); p != nil {
			db, err = nil, fmt.Errorf("open store: damaged: %v", p)
		}
	}()
	store := filepath.Join(dir, "badger")
	if err := forgetUnmade(store); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err := checkTables(store); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	o := badger.DefaultOptions(store)
	o.SyncWrites = true
	o.MemTableSize = memTable
	o.NumMemtables = 2
	o.ValueThreshold = 1 << 20   // nothing of ours is larger, so the value log stays empty
	o.ValueLogFileSize = 1 << 20 // and small
	o.DetectConflicts = false    // there is one writer
	o.NumVersionsToKeep = 1
	o.ChecksumVerificationMode = options.OnBlockRead // checkTables has read each table
	o.Compression = options.None
	o.BlockCacheSize = 16 << 20
	o.MetricsEnabled = false
	o.NumCompactors = 0                 // merge does it, where there is room
	o.NumLevelZeroTablesStall = 1 << 30 // so nothing waits for it
	o.Logger = log
	db, err = badger.Open(o)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	return db, nil
}

// removeStillborn removes logs of no length: one that was made ahead, and what a
// power cut leaves between the creation of one and its first size. Badger
// refuses to open beside one, and nothing was ever in it; were it a log that lost
// its length, the head would tell.
func removeStillborn(store string) error {
	for _, pattern := range []string{"*.vlog", "*.mem"} {
		logs, err := filepath.Glob(filepath.Join(store, pattern))
		if err != nil {
			return err
		}
		for _, log := range logs {
			if st, err := os.Stat(log); err != nil || st.Size() > 0 {
				continue // Badger says what is wrong with it
			}
			if err := os.Remove(log); err != nil {
				return err
			}
		}
	}
	return nil
}

// storeLog passes Badger's warnings on, and tells jams when it can't make a table.
type storeLog struct {
	log  *slog.Logger
	jams func(cause error)
}

func (s storeLog) Errorf(f string, a ...any) {
	text := fmt.Sprintf(f, a...)
	s.log.Error("store complained", "text", text)
	if !strings.HasPrefix(f, tableFails) {
		return
	}
	for _, v := range a {
		if err, ok := v.(error); ok {
			s.jams(err)
			return
		}
	}
	s.jams(errors.New(text))
}
func (s storeLog) Warningf(f string, a ...any) {
	s.log.Warn("store complained", "text", fmt.Sprintf(f, a...))
}
func (s storeLog) Infof(string, ...any)  {}
func (s storeLog) Debugf(string, ...any) {}

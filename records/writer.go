package records

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// A group is closed when it holds this much, and no operation may be larger,
// so that a Badger transaction (27,000 entries, 2.4 MiB) is never too big.
const (
	maxWrites = 10_000
	maxBytes  = 1 << 20
)

// clockSlack is how far the clock may be behind the last group: time servers
// step it a little.
const clockSlack = 2 * time.Second

var errClosed = errors.New("ledger is closed")

// An op is one operation on its way through the writer.
type op struct {
	ctx   context.Context
	fresh bool // makes new claims, so it needs disk and clock
	still bool // writes nothing, so it needs neither
	f     func(*txn) error
	done  chan error // has room for the answer
}

// commit runs f in the writer and returns when what it wrote is on stable
// storage. An error of f is returned as it is and nothing of f is kept. A ctx
// that is done before f was started means that it never will be; after that the
// answer is waited for.
func (l *Ledger) commit(ctx context.Context, f func(*txn) error) error {
	return l.submit(&op{ctx: ctx, f: f, done: make(chan error, 1)})
}

// commitNew is commit for operations that make new claims: they are refused
// while the disk is nearly full or the clock is behind.
func (l *Ledger) commitNew(ctx context.Context, f func(*txn) error) error {
	return l.submit(&op{ctx: ctx, f: f, fresh: true, done: make(chan error, 1)})
}

func (l *Ledger) submit(o *op) error {
	if err := l.Err(); err != nil {
		return err
	}
	select {
	case l.ops <- o:
		return <-o.done // the writer answers whatever it has taken
	case <-o.ctx.Done():
		return context.Cause(o.ctx)
	case <-l.broken:
		return l.Err()
	case <-l.quit:
		return errClosed
	}
}

// start starts the writer. Close waits for it.
func (l *Ledger) start() {
	l.space.check() // takes ballast and next log; why it can't, the first group will hear
	l.mergeIfDue()
	go l.write()
}

// write is the writer: the only goroutine that changes the ledger. It ends when
// the ledger is closed or broken.
func (l *Ledger) write() {
	defer close(l.wrote)
	defer l.awaitMerge()
	for {
		select {
		case <-l.quit:
			return
		case <-l.broken:
			return
		case o := <-l.ops:
			if l.writeGroup(o) != nil {
				return // broken
			}
		}
	}
}

// writeGroup runs first and whatever else is waiting, makes it durable in one
// Badger transaction, then in the head file, and only then answers. An error
// means that nobody knows what is on disk.
func (l *Ledger) writeGroup(first *op) error {
	g := l.newGroup()
	defer g.discard()
	accepted := g.gather(first)
	if len(g.writes) == 0 && len(g.claims) == 0 {
		l.replaceSet(g.set)
		answer(accepted, nil)
		return nil
	}
	err := g.commit()
	if err != nil {
		// Before the answers: whoever has one finds the ledger stopped.
		err = l.breaks(fmt.Errorf("commit group %d: %w", g.rec.seq, err))
	}
	answer(accepted, err)
	return err
}

func answer(ops []*op, err error) {
	for _, o := range ops {
		o.done <- err
	}
}

// A group is what one Badger transaction will hold.
type group struct {
	l       *Ledger
	read    *badger.Txn
	rec     groupRecord
	writes  map[string][]byte // nil deletes
	claims  map[Index]ownerRef
	set     *claimSet // that claims are held to; another one than the ledger's if the group changes it
	bytes   int
	yielded bool  // others were let run once, to join the group
	fresh   error // why new claims are refused now, or nil
	all     error // why everything is, or nil
	left    bool  // the store jammed and still has read
}

// maxClaims keeps the record of a group's claims below what Badger holds inline.
const maxClaims = 8000

func (l *Ledger) newGroup() *group {
	g := &group{l: l, read: l.db.NewTransaction(true), writes: map[string][]byte{}, claims: map[Index]ownerRef{}, set: l.set}
	now := l.now()
	l.noteMerged()
	g.fresh, g.all = l.space.check()
	if g.fresh == nil && now.Before(l.last.time.Add(-clockSlack)) {
		g.fresh = fmt.Errorf("%w of %s: set the clock, then go on", ErrClock, l.last.time.Format(time.RFC3339))
	}
	if now.Before(l.last.time) {
		now = l.last.time // the order of groups is the order of their times
	}
	g.rec = l.last.next(now)
	return g
}

// gather runs first and the operations that are waiting, until the group is
// full, and returns those that were accepted; the others are answered.
func (g *group) gather(first *op) (accepted []*op) {
	for o := first; o != nil; o = g.next() {
		if err := g.run(o); err != nil {
			o.done <- err
		} else {
			accepted = append(accepted, o)
		}
	}
	return accepted
}

func (g *group) next() *op {
	if len(g.writes) >= maxWrites || g.bytes >= maxBytes || len(g.claims) >= maxClaims {
		return nil
	}
	if o := g.l.waiting(); o != nil {
		return o
	}
	if g.yielded {
		return nil
	}
	g.yielded = true
	runtime.Gosched() // whoever the last group answered may ask again, once it has run
	return g.l.waiting()
}

// waiting returns an operation that waits for the writer, or nil.
func (l *Ledger) waiting() *op {
	select {
	case o := <-l.ops:
		return o
	default:
		return nil
	}
}

// run runs one operation on an overlay, which is kept only if it succeeds.
func (g *group) run(o *op) error {
	if o.ctx.Err() != nil {
		return context.Cause(o.ctx)
	}
	if o.fresh && g.fresh != nil {
		return g.fresh
	}
	if g.all != nil && !o.still {
		return g.all
	}
	t := &txn{g: g, writes: map[string][]byte{}}
	if err := o.f(t); err != nil {
		return err
	}
	return g.keep(t)
}

func (g *group) keep(t *txn) error {
	n := 0
	for k, v := range t.writes {
		n += len(k) + len(v)
	}
	for _, o := range t.claims {
		n += len(Index{}) + 2 + ownerSize + len(o.Serial)
	}
	if len(t.writes)+len(t.claims) > maxWrites || n > maxBytes {
		return fmt.Errorf("operation has %d writes and %d bytes, want at most %d and %d", len(t.writes), n, maxWrites, maxBytes)
	}
	maps.Copy(g.writes, t.writes)
	maps.Copy(g.claims, t.claims)
	g.bytes += n
	g.rec.claims.plus(t.count)
	if t.next != nil {
		g.set = t.next
	}
	return nil
}

// commit makes the group durable: Badger first, then the head file, so that a
// head is never ahead of what Badger has acknowledged.
func (g *group) commit() error {
	if len(g.claims) > 0 {
		g.writes[string(claimsKey(g.rec.seq))] = encodeClaims(g.claims)
	}
	g.rec.digest = digest(g.writes)
	g.rec.seal(g.l.meta.ID)
	g.writes[string(groupKey(g.rec.seq))] = g.rec.encode()
	for k, v := range g.writes {
		if err := g.put([]byte(k), v); err != nil {
			return err
		}
	}
	g.l.space.expect(len(g.writes), g.bytes+groupSize)
	if err := g.publish(); err != nil {
		return err
	}
	rotated := g.l.space.committed()
	if err := g.l.head.advance(g.rec); err != nil {
		return err
	}
	g.l.last = g.rec
	if rotated {
		g.l.mergeIfDue()
	}
	if g.set.top().len() >= g.l.opts.FoldClaims || len(g.set.layers) > foldLayers {
		g.l.isDue()
	}
	return nil
}

// publish commits the transaction and lets readers see it, with the claims that
// belong to it. Readers never see the one without the other.
func (g *group) publish() error {
	if g.set == g.l.set {
		if err := g.commitRead(); err != nil {
			return err
		}
		g.set.top().add(g.claims)
		return nil
	}
	g.l.sets.Lock()
	defer g.l.sets.Unlock()
	if err := g.commitRead(); err != nil {
		return err
	}
	g.set.top().add(g.claims)
	g.l.changeTo(g.set)
	return nil
}

func (g *group) commitRead() error {
	err := g.l.awaitDone(func() error { return g.l.commitTxn(g.read) })
	g.left = err != nil && g.l.isJammed()
	return err
}

func (g *group) discard() {
	if !g.left {
		g.read.Discard()
	}
}

func (g *group) put(key, val []byte) error {
	if val == nil {
		return g.read.Delete(key)
	}
	return g.read.Set(key, val)
}

// digest is the SHA-256 of what a group writes: in the order of keys, the
// lengths of key and value, key and value.
func digest(writes map[string][]byte) [32]byte {
	h := sha256.New()
	for _, k := range slices.Sorted(maps.Keys(writes)) {
		v := writes[k]
		n := uint32(len(v))
		if v == nil {
			n = deleted
		}
		head := binary.BigEndian.AppendUint32(nil, uint32(len(k)))
		h.Write(binary.BigEndian.AppendUint32(head, n))
		io.WriteString(h, k)
		h.Write(v)
	}
	return [32]byte(h.Sum(nil))
}

// deleted stands for the length of a value in a group's digest.
const deleted = 1<<32 - 1

// A txn is one operation inside the writer's group. Its writes are an overlay
// over the group's, kept only if the operation returns nil.
type txn struct {
	g      *group
	writes map[string][]byte // nil deletes
	claims map[Index]ownerRef
	count  claimCount // of claims
	next   *claimSet  // instead of the group's, or nil
}

// get returns the value of key as the operation sees it. It must not be changed.
func (t *txn) get(key []byte) ([]byte, bool, error) {
	if v, ok := t.writes[string(key)]; ok {
		return v, v != nil, nil
	}
	if v, ok := t.g.writes[string(key)]; ok {
		return v, v != nil, nil
	}
	return lookup(t.g.read, key)
}

// set keeps val, which must not be changed afterwards.
func (t *txn) set(key, val []byte) {
	if val == nil {
		val = []byte{}
	}
	t.writes[string(key)] = val
}

func (t *txn) del(key []byte) { t.writes[string(key)] = nil }

// now is the time of the group. It never goes back.
func (t *txn) now() time.Time { return t.g.rec.time }

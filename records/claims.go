package records

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"mintmark/records/segment"
)

// A claimSet is every claim of the ledger at one moment: those of finished
// batches and of earlier folds in segments, the newest ones in layers, which
// hold what Badger holds. It is replaced, not changed, but for its last layer,
// which takes new claims; so a reader goes on with the set that it began with.
//
// A segment that is in no set of the ledger any more is unlinked; its file is
// closed when the last reader has let go of the last set that has it.
type claimSet struct {
	segments []*numbered
	pending  *numbered // of an import that is being judged: refuses, but doesn't count
	layers   []*layer  // oldest first
	filter   *filter   // of every index in segments and pending

	// holds counts the readers, and the ledger while this is its set. Nil: it
	// never was.
	holds *atomic.Int32
}

// copy returns a set to be changed, which nobody holds.
func (s *claimSet) copy() *claimSet {
	n := *s
	n.holds = nil
	return &n
}

// enter makes s a set of the ledger, which holds it.
func (s *claimSet) enter() {
	s.holds = new(atomic.Int32)
	s.holds.Store(1)
	for _, g := range s.all() {
		g.sets.Add(1)
	}
}

// release lets go of s, and closes what nobody holds any more.
func (s *claimSet) release() {
	if s.holds.Add(-1) > 0 {
		return
	}
	for _, g := range s.all() {
		if g.sets.Add(-1) == 0 {
			g.Close() // it was only read
		}
	}
}

// noClaims is the set of an empty ledger.
func noClaims() *claimSet {
	return &claimSet{layers: []*layer{newLayer(0)}, filter: newFilter(0)}
}

// A numbered segment is a segment and the number that its file and its manifest
// entry have.
type numbered struct {
	*segment.Segment
	number  uint32
	pending string       // name of the batch, while it is being judged
	sets    atomic.Int32 // of the ledger or of a reader that have it
}

// claims is how many claims the segment has.
func (g *numbered) claims() int {
	n, _, _ := g.Claimed()
	return int(n)
}

// count is the number of its claims and the sum of their indexes.
func (g *numbered) count() claimCount {
	n, hi, lo := g.Claimed()
	return claimCount{n, hi, lo}
}

// all returns the segments, the pending one too.
func (s *claimSet) all() []*numbered {
	if s.pending == nil {
		return s.segments
	}
	return append(slices.Clip(s.segments), s.pending)
}

// top is the layer that takes new claims.
func (s *claimSet) top() *layer { return s.layers[len(s.layers)-1] }

// find returns who claimed i, if anyone did. It is exact.
func (s *claimSet) find(i Index) (ownerRef, bool, error) {
	for _, l := range s.layers {
		if o, ok := l.get(i); ok {
			return o, true, nil
		}
	}
	if !s.filter.maybe(&i) {
		return ownerRef{}, false, nil
	}
	for _, g := range s.all() {
		e, found, err := g.Find(i)
		if err != nil {
			return ownerRef{}, false, err
		}
		if found {
			o, err := g.owner(e)
			return o, err == nil, err
		}
	}
	return ownerRef{}, false, nil
}

// owner returns whose an entry is. The serial of a row is not part of its claims.
func (g *numbered) owner(e segment.Entry) (ownerRef, error) {
	run, o, err := g.OwnerOf(e.Owner)
	if err != nil {
		return ownerRef{}, err
	}
	return runOwner(run, o, e.Place), nil
}

func runOwner(run segment.Run, o segment.Owner, place uint8) ownerRef {
	ref := ownerRef{Batch: run.Batch, Row: o.Row, Position: place, KeyVersion: run.KeyVersion, Attempt: o.Attempt}
	if o.Row == 0 {
		ref.Serial = o.Serial
	}
	return ref
}

// with returns the set with one segment more and others less.
func (s *claimSet) with(g *numbered, without ...*numbered) *claimSet {
	n := s.copy()
	n.segments = slices.DeleteFunc(slices.Clone(s.segments), func(have *numbered) bool { return slices.Contains(without, have) })
	n.segments = append(n.segments, g)
	return n
}

// withPending returns the set with another import, or none, that is being judged.
func (s *claimSet) withPending(g *numbered) *claimSet {
	n := s.copy()
	n.pending = g
	return n
}

// withLayer returns the set with a new layer on top, for claims from group on.
func (s *claimSet) withLayer(group uint64) *claimSet {
	n := s.copy()
	n.layers = append(slices.Clone(s.layers), newLayer(group))
	return n
}

// seal puts a new layer on top, so that what was claimed before can be read at
// leisure. Claims of the group under way are in the new one.
func (t *txn) seal() {
	if s := t.known(); s.top().len() > 0 {
		t.next = s.withLayer(t.g.rec.seq)
	}
}

// known is the set of claims that the operation works with.
func (t *txn) known() *claimSet {
	if t.next != nil {
		return t.next
	}
	return t.g.set
}

// folded returns the set with its n lowest layers turned into a segment.
func (s *claimSet) folded(g *numbered, layers int) *claimSet {
	n := s.with(g)
	n.layers = slices.Clone(s.layers[layers:])
	return n
}

// sealed returns the layers below the top: they don't change any more.
func (s *claimSet) sealed() []*layer { return s.layers[:len(s.layers)-1] }

// A layer holds the claims of some consecutive groups. The writer adds to the top
// one of a set while others read.
type layer struct {
	from uint64 // the first group whose claims it has

	mu     sync.RWMutex // guards below
	claims map[Index]ownerRef
}

func newLayer(from uint64) *layer { return &layer{from: from, claims: map[Index]ownerRef{}} }

func (l *layer) get(i Index) (ownerRef, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	o, ok := l.claims[i]
	return o, ok
}

func (l *layer) add(claims map[Index]ownerRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.Copy(l.claims, claims)
}

func (l *layer) len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.claims)
}

// encodeClaims is the record that Badger holds of the claims of a group: for each,
// in ascending order, index (16), length of the owner (2), owner.
func encodeClaims(claims map[Index]ownerRef) []byte {
	b := make([]byte, 0, len(claims)*(len(Index{})+2+ownerSize+16))
	for _, i := range slices.SortedFunc(maps.Keys(claims), compareIndexes) {
		o := claims[i].encode()
		b = binary.BigEndian.AppendUint16(append(b, i[:]...), uint16(len(o)))
		b = append(b, o...)
	}
	return b
}

// decodeClaims calls f for each claim of a group's record.
func decodeClaims(b []byte, f func(Index, ownerRef) error) error {
	const head = len(Index{}) + 2
	for len(b) > 0 {
		if len(b) < head || len(b) < head+int(binary.BigEndian.Uint16(b[head-2:])) {
			return errors.New("a record of claims is cut off")
		}
		end := head + int(binary.BigEndian.Uint16(b[head-2:]))
		o, err := decodeOwner(b[head:end])
		if err != nil {
			return err
		}
		if err := f(Index(b), o); err != nil {
			return err
		}
		b = b[end:]
	}
	return nil
}

func compareIndexes(a, b Index) int { return bytes.Compare(a[:], b[:]) }

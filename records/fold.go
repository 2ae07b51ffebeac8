package records

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"time"

	"mintmark/records/segment"
)

// Claims that are made one by one are kept in Badger and in memory. When there
// are many they are folded into a segment; when there are many segments of about
// one size they are merged into one. Both run beside the writer, which only
// makes the result real. docs/decisions/0005-segments.md says where the limits
// come from.
const (
	// foldClaims is how many claims in layers, or foldLayers how many layers, are
	// folded.
	foldClaims = 1 << 18
	foldLayers = 16

	// mergeFan segments of one size class become one of the next. Those of up to
	// smallFolds folds are in one class.
	mergeFan   = 8
	smallFolds = 4

	// mostMerged is the most claims that a merged segment has, so that its footer
	// fits into one operation.
	mostMerged = 64 << 20
)

// keep folds and merges whenever it is due, until the ledger is closed or
// broken. Nobody waits for it; what fails changes nothing and is tried again
// when it is due again.
func (l *Ledger) keep() {
	defer close(l.kept)
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	go func() {
		select {
		case <-l.quit:
		case <-l.broken:
		case <-ctx.Done():
		}
		cancel(errClosed)
	}()
	for {
		select {
		case <-l.due:
			if err := l.tidy(ctx); err != nil && ctx.Err() == nil {
				l.opts.Log.Warn("segments not folded or merged", "err", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// isDue wakes keep. It never waits.
func (l *Ledger) isDue() {
	select {
	case l.due <- struct{}{}:
	default:
	}
}

// tidy folds and merges until nothing is due. It waits for an import under way,
// and imports wait for it.
func (l *Ledger) tidy(ctx context.Context) error {
	for {
		if err := l.beginWriting(ctx); err != nil {
			return err
		}
		more, err := l.tidyOnce(ctx)
		l.endWriting()
		if err != nil || !more {
			return err
		}
	}
}

// tidyOnce does one thing that is due, and says whether there was one.
func (l *Ledger) tidyOnce(ctx context.Context) (more bool, err error) {
	set := l.claims()
	if l.foldDue(set) {
		return true, l.fold(ctx)
	}
	if group := l.mergeable(set.segments); group != nil {
		return true, l.mergeSegments(ctx, group)
	}
	return false, nil
}

func (l *Ledger) foldDue(s *claimSet) bool {
	n := 0
	for _, layer := range s.layers {
		n += layer.len()
	}
	return n >= l.opts.FoldClaims || n > 0 && len(s.layers) > foldLayers
}

// fold turns all claims that are in Badger now into a segment.
//
// | power fails | on restart |
// |---|---|
// | before the commit | the file has no record and is swept; the claims are in Badger |
// | after it | the claims are in the segment; what Badger still has of them is swept |
func (l *Ledger) fold(ctx context.Context) error {
	var set *claimSet
	if err := l.commit(ctx, func(t *txn) error { t.seal(); set = t.known(); return nil }); err != nil {
		return err
	}
	claims, layers := gather(set.sealed()), len(set.sealed())
	if layers == 0 {
		return nil
	}
	if err := l.space.spare(int64(len(claims)) * entrySize); err != nil {
		return err
	}
	var products map[uint32]string
	if err := l.view(func(r reader) (err error) { products, err = r.productsOf(); return err }); err != nil {
		return err
	}
	g, rec, err := l.makeSegment(func(path string) (segment.Manifest, error) { return writeFold(path, claims, products) })
	if err != nil {
		return err
	}
	upTo := set.top().from - 1
	err = l.enterFold(ctx, g, rec, claims, layers, upTo)
	if err != nil {
		if l.Err() != nil {
			return err // it may be real: the next open can tell
		}
		return errors.Join(err, l.dropSegment(g))
	}
	return l.sweepFolded(ctx)
}

func (l *Ledger) enterFold(ctx context.Context, g *numbered, rec segmentRecord, claims []owned, layers int, upTo uint64) error {
	entries := make([]entry, len(claims))
	for i := range claims {
		entries[i].index = claims[i].index
	}
	if err := l.addToFilter(ctx, g, entries); err != nil {
		return err
	}
	return l.commit(ctx, func(t *txn) error {
		t.putSegment(g, rec)
		t.set([]byte{keyFolded}, binary.BigEndian.AppendUint64(nil, upTo))
		t.next = t.known().folded(g, layers)
		return nil
	})
}

// sweepChunk is how many records are removed in one operation.
const sweepChunk = 1000

// sweepFolded removes from Badger the claims that are in segments.
func (l *Ledger) sweepFolded(ctx context.Context) error {
	var keys [][]byte
	if err := l.view(func(r reader) error {
		upTo, err := r.folded()
		if err != nil {
			return err
		}
		return r.keys([]byte{keyClaim}, func(key []byte) error {
			if len(key) != 1+8 || binary.BigEndian.Uint64(key[1:]) <= upTo {
				keys = append(keys, bytes.Clone(key))
			}
			return nil
		})
	}); err != nil {
		return err
	}
	return l.remove(ctx, keys)
}

// An owned index is a claim with its owner, on its way into a segment.
type owned struct {
	index Index
	owner ownerRef
	rank  uint32 // of the owner in the segment
}

// gather returns the claims of some layers, which don't change any more, by index.
func gather(layers []*layer) (claims []owned) {
	for _, layer := range layers {
		for i, o := range layer.claims {
			claims = append(claims, owned{index: i, owner: o})
		}
	}
	slices.SortFunc(claims, func(a, b owned) int { return compareIndexes(a.index, b.index) })
	return claims
}

// compareOwners orders owners by the run that they belong to, and within it.
func compareOwners(a, b ownerRef) int {
	return cmp.Or(compareRuns(a, b), cmp.Compare(a.Serial, b.Serial), cmp.Compare(a.Row, b.Row), cmp.Compare(a.Attempt, b.Attempt))
}

func compareRuns(a, b ownerRef) int {
	return cmp.Or(cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.KeyVersion, b.KeyVersion))
}

// owners gives each claim the number of its owner, and returns a claim of each.
func owners(claims []owned) (each []*owned) {
	by := make([]*owned, len(claims))
	for i := range claims {
		by[i] = &claims[i]
	}
	slices.SortFunc(by, func(a, b *owned) int { return compareOwners(a.owner, b.owner) })
	for i, c := range by {
		if i == 0 || compareOwners(c.owner, by[i-1].owner) != 0 {
			each = append(each, c)
		}
		c.rank = uint32(len(each) - 1)
	}
	return each
}

// writeFold writes claims, which are in order, as a segment. Products has the
// product of each batch.
func writeFold(path string, claims []owned, products map[uint32]string) (m segment.Manifest, err error) {
	w, err := segment.Create(path)
	if err != nil {
		return m, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Discard())
		}
	}()
	each := owners(claims)
	buf := make([]segment.Entry, 0, yieldEvery)
	for part := range slices.Chunk(claims, yieldEvery) {
		buf = buf[:0]
		for _, c := range part {
			buf = append(buf, segment.Entry{Index: c.index, Owner: c.rank, Place: c.owner.Position})
		}
		if err := w.Claims(buf); err != nil {
			return m, err
		}
		runtime.Gosched()
	}
	for i, c := range each {
		if i == 0 || compareRuns(c.owner, each[i-1].owner) != 0 {
			if err := w.Run(segment.Run{Batch: c.owner.Batch, KeyVersion: c.owner.KeyVersion, Product: products[c.owner.Batch]}); err != nil {
				return m, err
			}
		}
		if err := w.Owner([]byte(c.owner.Serial), c.owner.Row, c.owner.Attempt); err != nil {
			return m, err
		}
	}
	return w.Finish()
}

// productsOf returns the product of each batch.
func (r reader) productsOf() (map[uint32]string, error) {
	products := map[uint32]string{}
	err := r.scan([]byte{keyBatch}, func(_, val []byte) error {
		b, err := decode[batchRecord](val)
		if err == nil {
			products[b.Number] = b.Product
		}
		return err
	})
	return products, err
}

// class is the size class of a segment: 0 up to that of some folds, and one more
// for every mergeFan times as many claims.
func (l *Ledger) class(g *numbered) (class int) {
	for size := smallFolds * l.opts.FoldClaims; g.claims() > size; size *= mergeFan {
		class++
	}
	return class
}

// mergeable returns segments that should be merged, or nil: mergeFan of one size
// class, the smallest first, that together are not too large.
func (l *Ledger) mergeable(segments []*numbered) []*numbered {
	classes := map[int][]*numbered{}
	for _, g := range segments {
		c := l.class(g)
		if classes[c] = append(classes[c], g); len(classes[c]) < mergeFan {
			continue
		}
		if fit(classes[c]) {
			return classes[c]
		}
		classes[c] = classes[c][1:]
	}
	return nil
}

// fit says whether segments can be merged into one.
func fit(group []*numbered) bool {
	total := 0
	for _, g := range group {
		total += g.claims()
	}
	return total <= mostMerged && segment.Fits(segmentsOf(group)) == nil
}

func segmentsOf(group []*numbered) (list []*segment.Segment) {
	for _, g := range group {
		list = append(list, g.Segment)
	}
	return list
}

// mergeSegments makes one segment of several. The filter knows their indexes
// already.
//
// | power fails | on restart |
// |---|---|
// | before the commit | the new file has no record and is swept |
// | after it | the old files have no record and are swept |
func (l *Ledger) mergeSegments(ctx context.Context, group []*numbered) error {
	var size int64
	for _, g := range group {
		size += int64(g.claims()) * entrySize
	}
	if err := l.space.spare(size); err != nil {
		return err
	}
	g, rec, err := l.makeSegment(func(path string) (segment.Manifest, error) {
		return segment.Merge(ctx, path, segmentsOf(group), pace(ctx))
	})
	if err != nil {
		return err
	}
	if err := l.commit(ctx, func(t *txn) error {
		t.putSegment(g, rec)
		for _, old := range group {
			t.del(segmentKey(old.number))
		}
		t.next = t.known().with(g, group...)
		return nil
	}); err != nil {
		if l.Err() != nil {
			return err
		}
		return errors.Join(err, l.dropSegment(g))
	}
	for _, old := range group {
		if err := l.dropSegment(old); err != nil {
			return err // swept by the next open
		}
	}
	return nil
}

// mergeRate is how many bytes a second a merge writes at most, so that claims
// beside it keep disk and processor.
const mergeRate = 200 << 20

// pace holds a merge to its rate.
func pace(ctx context.Context) func(n int) {
	start, done := time.Now(), 0
	return func(n int) {
		runtime.Gosched()
		done += n
		ahead := time.Duration(done)*time.Second/mergeRate - time.Since(start)
		if ahead < time.Millisecond {
			return
		}
		timer := time.NewTimer(ahead)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

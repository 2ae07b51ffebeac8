package records

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"mintmark/records/segment"
)

// A segmentRecord makes a segment real: a file without one is what a crash left.
type segmentRecord struct {
	Size   int64    `cbor:"1,keyasint"`
	Sum    [32]byte `cbor:"2,keyasint"` // SHA-256 of the file
	Footer []byte   `cbor:"3,keyasint"` // fences, runs and counts, as at the end of the file
}

func (l *Ledger) segmentPath(number uint32) string {
	return filepath.Join(l.dir, "segments", fmt.Sprintf("%d.seg", number))
}

// beginWriting waits until nobody else writes segments. Close keeps it for ever.
func (l *Ledger) beginWriting(ctx context.Context) error {
	select {
	case l.imports.writing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-l.quit:
		return errClosed
	}
}

func (l *Ledger) endWriting() { <-l.imports.writing }

// nextSegment returns a number that no segment has or had while the ledger is
// open. It is for the holder of imports.writing.
func (l *Ledger) nextSegment() uint32 {
	l.segments++
	return l.segments
}

// makeSegment writes a segment and opens it. It is on stable storage, and not yet
// real. On an error no file is left.
func (l *Ledger) makeSegment(write func(path string) (segment.Manifest, error)) (*numbered, segmentRecord, error) {
	number := l.nextSegment()
	path := l.segmentPath(number)
	var m segment.Manifest
	err := l.durable("write segment", func() (err error) {
		m, err = write(path)
		return err
	})
	if err != nil {
		return nil, segmentRecord{}, errors.Join(err, removeIfThere(path))
	}
	s, err := segment.Open(path, m)
	if err != nil {
		return nil, segmentRecord{}, errors.Join(err, removeIfThere(path))
	}
	return &numbered{Segment: s, number: number}, segmentRecord{m.Size, m.Sum, m.Footer}, nil
}

// dropSegment removes a segment that never became real, or is real no more.
// Who still reads it goes on.
func (l *Ledger) dropSegment(g *numbered) error {
	if g.sets.Load() == 0 {
		g.Close() // it never was in a set, or was closed with its last one
	}
	return l.durable("remove segment", func() error { return removeIfThere(l.segmentPath(g.number)) })
}

// withdraw lets a segment that was pending refuse no more, on a full disk too.
func (l *Ledger) withdraw(ctx context.Context) error {
	return l.submit(&op{ctx: context.WithoutCancel(ctx), still: true, done: make(chan error, 1), f: func(t *txn) error {
		t.next = t.known().withPending(nil)
		return nil
	}})
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// putSegment makes a segment real in the group of t.
func (t *txn) putSegment(g *numbered, rec segmentRecord) { t.set(segmentKey(g.number), encode(rec)) }

// loadClaims opens what holds the claims: the segments that have a record, the filter
// over them, and one layer of what Badger holds. It counts and adds up all of
// them on the way.
func (l *Ledger) loadClaims(ctx context.Context) (claimCount, error) {
	if err := os.Mkdir(filepath.Join(l.dir, "segments"), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return claimCount{}, err
	}
	if err := syncDir(l.dir); err != nil { // also of one that a crash left unsynced
		return claimCount{}, err
	}
	set := noClaims()
	have, err := l.load(ctx, set)
	l.replaceSet(set) // on an error too, so that leave closes its files
	return have, err
}

// load fills a set with what the store and the segments have.
func (l *Ledger) load(ctx context.Context, set *claimSet) (have claimCount, err error) {
	if err := l.view(func(r reader) error { return r.openSegments(l, set) }); err != nil {
		return have, err
	}
	total := 0
	for _, g := range set.segments {
		total += g.claims()
	}
	set.filter = newFilter(roomFor(total))
	if have, err = fillFilter(ctx, set.filter, set.segments); err != nil {
		return have, err
	}
	err = l.view(func(r reader) error {
		return r.liveClaims(func(i Index, o ownerRef) error {
			have.add(i)
			set.top().claims[i] = o
			return nil
		})
	})
	if err == nil && l.meta.Schema < 2 {
		err = l.view(func(r reader) error { return r.oldClaims(func(i Index, _ ownerRef) error { have.add(i); return nil }) })
	}
	return have, err
}

// roomFor is what a filter is made for when it has n indexes: half as many more
// go in before the next one is needed.
func roomFor(n int) int { return max(n+n/2, leastFilter) }

func (r reader) openSegments(l *Ledger, set *claimSet) error {
	return r.scan([]byte{keySegment}, func(key, val []byte) error {
		number := binary.BigEndian.Uint32(key[1:])
		rec, err := decode[segmentRecord](val)
		if err != nil {
			return err
		}
		s, err := segment.Open(l.segmentPath(number), segment.Manifest{Footer: rec.Footer, Size: rec.Size, Sum: rec.Sum})
		if errors.Is(err, fs.ErrNotExist) {
			return behind("segment %d is missing", number)
		}
		if err != nil {
			return damagedIsBehind(err)
		}
		set.segments = append(set.segments, &numbered{Segment: s, number: number})
		l.segments = max(l.segments, number)
		return nil
	})
}

// damagedIsBehind says of damage that history is lost. Another error, such as too
// many open files, may be gone next time.
func damagedIsBehind(err error) error {
	if errors.Is(err, segment.ErrDamaged) {
		return behind("%v", err)
	}
	return err
}

// folded returns the last group whose claims are in segments.
func (r reader) folded() (seq uint64, err error) {
	val, found, err := r.get([]byte{keyFolded})
	if err == nil && found && len(val) == 8 {
		seq = binary.BigEndian.Uint64(val)
	}
	return seq, err
}

// liveClaims calls f for each claim that is in Badger and not in a segment.
func (r reader) liveClaims(f func(Index, ownerRef) error) error {
	from, err := r.folded()
	if err != nil {
		return err
	}
	return r.scanFrom([]byte{keyClaim}, claimsKey(from+1), func(key, val []byte) error {
		if len(key) != 1+8 {
			return nil // of schema 1, see migrate
		}
		return decodeClaims(val, f)
	})
}

// filterParts is into how many parts a filter is cut to be filled, so that no
// processor waits long for another one.
const filterParts = 32

// fillFilter adds every index of some segments to a filter that nobody asks yet, on
// all processors, and returns their count and sum. A block that is damaged is an error.
func fillFilter(ctx context.Context, f *filter, segments []*numbered) (total claimCount, err error) {
	sums := make([]claimCount, filterParts)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n, part := range f.parts(filterParts) {
		g.Go(func() error {
			var buf segment.Buffer
			for _, s := range segments {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := part.fill(s, &buf, &sums[n]); err != nil {
					return damagedIsBehind(err)
				}
			}
			return nil
		})
	}
	err = g.Wait()
	for _, c := range sums {
		total.plus(c)
	}
	return total, err
}

// fill adds the indexes of a segment that are in the part, and counts them.
func (p filterPart) fill(s *numbered, buf *segment.Buffer, sum *claimCount) error {
	from, to := s.Within(p.indexes())
	return s.Scan(from, to, buf, func(list segment.Entries) error {
		for n := range list.Len() {
			if i := Index(list.Entry(n).Index); p.add(&i) {
				sum.add(i)
			}
		}
		return nil
	})
}

// sweepSegments removes the files of segments that are not real.
func (l *Ledger) sweepSegments(context.Context) error {
	keep := map[string]bool{}
	for _, g := range l.set.segments {
		keep[filepath.Base(l.segmentPath(g.number))] = true
	}
	entries, err := os.ReadDir(filepath.Join(l.dir, "segments"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := e.Name()
		number, err := strconv.ParseUint(strings.TrimSuffix(name, ".seg"), 10, 32)
		if err != nil || keep[name] || name != filepath.Base(l.segmentPath(uint32(number))) {
			continue // not ours
		}
		if err := l.durable("remove segment", func() error { return removeIfThere(l.segmentPath(uint32(number))) }); err != nil {
			return err
		}
	}
	return nil
}

package records

import (
	"context"
	"encoding/binary"
	"maps"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"mintmark/records/segment"
)

// An Audit is what a comparison of all claims with each other found. Nothing of
// it is remembered from an earlier one.
//
// It says that no index is there twice. The same value claimed under two key
// versions has two indexes that can't be compared: that was excluded by the
// look-ups made when each of them was claimed, and only by those.
type Audit struct {
	Claims   uint64 `json:"claims"`   // compared
	Segments int    `json:"segments"` // that held them
	Twice    uint64 `json:"twice"`    // indexes that are claimed more than once; 0 is right
}

// Audit reads every claim in the order of indexes, on all processors, and compares
// each with the next. Damage, and a segment that is not in strict order or hasn't the claims
// that it says, is an error.
func (l *Ledger) Audit(ctx context.Context) (a Audit, err error) {
	err = l.view(func(r reader) error {
		a, err = r.audit(ctx)
		return err
	})
	return a, err
}

// auditParts is into how many ranges of indexes an audit is cut, so that no
// processor waits long for another one.
const auditParts = 64

func (r reader) audit(ctx context.Context) (Audit, error) {
	live, err := r.liveIndexes()
	if err != nil {
		return Audit{}, err
	}
	parts := make([]Audit, auditParts)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for n := range parts {
		g.Go(func() (err error) {
			if err := context.Cause(ctx); err != nil {
				return err
			}
			parts[n], err = r.auditPart(ctx, live, n)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Audit{}, err
	}
	a := Audit{Segments: len(r.set.segments)}
	for _, p := range parts {
		a.Claims, a.Twice = a.Claims+p.Claims, a.Twice+p.Twice
	}
	return a, nil
}

// liveIndexes returns the claims that are in no segment, in order.
func (r reader) liveIndexes() ([]Index, error) {
	live := map[Index]int{}
	if err := r.liveClaims(func(i Index, _ ownerRef) error { live[i]++; return nil }); err != nil {
		return nil, err
	}
	list := slices.SortedFunc(maps.Keys(live), compareIndexes)
	for i, n := range live {
		for ; n > 1; n-- {
			list = append(list, i)
		}
	}
	slices.SortFunc(list, compareIndexes)
	return list, nil
}

// auditPart compares the claims of one range of indexes.
func (r reader) auditPart(ctx context.Context, live []Index, n int) (a Audit, err error) {
	lo, hi := auditRange(n)
	from, _ := slices.BinarySearchFunc(live, lo, compareIndexes)
	to, _ := slices.BinarySearchFunc(live, hi, compareIndexes)
	if n == auditParts-1 {
		to = len(live)
	}
	live = live[from:to]
	var last [2]uint64
	next := func(hi, lo uint64) {
		if a.Claims > 0 && last == [2]uint64{hi, lo} {
			a.Twice++
		}
		last = [2]uint64{hi, lo}
		a.Claims++
	}
	alive := func() (hi, lo uint64) {
		return binary.BigEndian.Uint64(live[0][:8]), binary.BigEndian.Uint64(live[0][8:])
	}
	err = segment.Walk(ctx, segmentsOf(r.set.segments), lo, hi, func(hi, lo uint64) {
		for ; len(live) > 0; live = live[1:] {
			h, l := alive()
			if h > hi || h == hi && l > lo {
				break
			}
			next(h, l)
		}
		next(hi, lo)
	})
	for ; len(live) > 0; live = live[1:] {
		next(alive())
	}
	return a, err
}

// auditRange is the n-th range of indexes, from lo up to before hi; the zero hi
// means the end.
func auditRange(n int) (lo, hi Index) {
	const step = 1 << 64 / auditParts
	binary.BigEndian.PutUint64(lo[:], uint64(n)*step)
	if n+1 < auditParts {
		binary.BigEndian.PutUint64(hi[:], uint64(n+1)*step)
	}
	return lo, hi
}

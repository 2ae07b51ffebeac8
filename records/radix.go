package records

import (
	"encoding/binary"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// fewEntries are sorted by comparing: so few aren't worth a count of 256.
const fewEntries = 48

// sortEntries sorts as slices.SortFunc with compareEntries does, in place and on
// all processors. Indexes are evenly spread numbers, so they are sorted byte by
// byte from the first (a radix sort): two of them decide nearly everything.
func sortEntries(entries []entry) {
	if slices.IsSortedFunc(entries, compareEntries) {
		return
	}
	ends := spread(entries, 0)
	var next atomic.Int32
	var g errgroup.Group
	for range runtime.GOMAXPROCS(0) {
		g.Go(func() error {
			for b := next.Add(1) - 1; b < 256; b = next.Add(1) - 1 {
				sortFrom(entries[start(&ends, int(b)):ends[b]], 1)
				runtime.Gosched() // a live claim may be waiting for the processor
			}
			return nil
		})
	}
	_ = g.Wait() // it can't fail
}

func start(ends *[256]int, b int) int {
	if b == 0 {
		return 0
	}
	return ends[b-1]
}

// sortFrom sorts entries whose indexes are equal up to byte at.
func sortFrom(entries []entry, at int) {
	if len(entries) <= fewEntries {
		insertEntries(entries)
		return
	}
	if at == len(Index{}) { // one value in many rows
		slices.SortFunc(entries, compareEntries)
		return
	}
	ends := spread(entries, at)
	for b, end := range ends {
		if from := start(&ends, b); end-from > 1 {
			sortFrom(entries[from:end], at+1)
		}
	}
}

// spread orders entries by byte at of their indexes and returns where those of
// each value end. An entry is put where it belongs, which gives the next to put.
func spread(entries []entry, at int) (ends [256]int) {
	for i := range entries {
		ends[entries[i].index[at]]++
	}
	var free [256]int // where the next entry of a value goes
	sum := 0
	for b, n := range ends {
		free[b], sum = sum, sum+n
		ends[b] = sum
	}
	for b := range free {
		for free[b] < ends[b] {
			e := entries[free[b]]
			for d := e.index[at]; int(d) != b; d = e.index[at] {
				e, entries[free[d]] = entries[free[d]], e
				free[d]++
			}
			entries[free[b]] = e
			free[b]++
		}
	}
	return ends
}

func insertEntries(entries []entry) {
	for i := 1; i < len(entries); i++ {
		e, j := entries[i], i
		for ; j > 0 && e.before(&entries[j-1]); j-- {
			entries[j] = entries[j-1]
		}
		entries[j] = e
	}
}

// before is compareEntries(e, f) < 0, fast where the indexes begin differently.
func (e *entry) before(f *entry) bool {
	a, b := binary.BigEndian.Uint64(e.index[:]), binary.BigEndian.Uint64(f.index[:])
	if a != b {
		return a < b
	}
	return compareEntries(*e, *f) < 0
}

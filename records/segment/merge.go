package segment

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Fits is nil if a segment can hold all that is in the given ones, else an
// [ErrTooLarge]. Merge asks it first.
func Fits(in []*Segment) error {
	var claims, wide, owners uint64
	size := 4 + 8 + 8 + 16 + 4
	for _, s := range in {
		claims += s.footer.claims.count
		wide += s.footer.wide.count
		owners += uint64(s.footer.owners)
		for _, r := range s.footer.runs {
			size += r.size()
		}
	}
	size += 8 * int(blocksOf(claims)+blocksOf(wide))
	if size > MaxFooter {
		return fmt.Errorf("%w: its footer would have %d bytes, want at most %d", ErrTooLarge, size, MaxFooter)
	}
	if owners > math.MaxUint32 {
		return fmt.Errorf("%w: %d owners, want at most %d", ErrTooLarge, owners, uint32(math.MaxUint32))
	}
	return nil
}

// Merge writes a segment of all that is in the given ones: their runs one after
// the other, their entries in order. An index that two of them claim is an
// [ErrTwice] that names it. It keeps less than a MiB of each in memory. pace, which may be nil, is called
// with the number of bytes that were written since the last call, about one MiB, and may wait.
func Merge(ctx context.Context, path string, in []*Segment, pace func(bytes int)) (Manifest, error) {
	return Disk{}.Merge(ctx, path, in, pace)
}

// Merge is the package's Merge, on d.
func (d Disk) Merge(ctx context.Context, path string, in []*Segment, pace func(bytes int)) (Manifest, error) {
	if err := Fits(in); err != nil {
		return Manifest{}, err
	}
	w, err := d.Create(path)
	if err != nil {
		return Manifest{}, err
	}
	if pace == nil {
		pace = func(int) {}
	}
	m := &merger{ctx: ctx, w: w, in: in, pace: pace}
	if err := m.all(); err != nil {
		return Manifest{}, errors.Join(err, w.Discard())
	}
	return w.Finish()
}

// A merger is a Merge.
type merger struct {
	ctx   context.Context // of Merge, which it doesn't outlive
	w     *Writer
	in    []*Segment
	pace  func(int)
	paced int64 // bytes that pace was told of
}

func (m *merger) all() error {
	if err := m.section(claimKind); err != nil {
		return err
	}
	if err := m.compare(); err != nil {
		return err
	}
	if err := m.section(wideKind); err != nil {
		return err
	}
	return m.runs()
}

// tick lets the caller wait or cancel after each chunk.
func (m *merger) tick() error {
	if m.w.size-m.paced >= chunkSize {
		m.pace(int(m.w.size - m.paced))
		m.paced = m.w.size
		return context.Cause(m.ctx)
	}
	return m.w.err
}

func (m *merger) section(kind byte) error {
	m.w.begin(kind)
	t := newTournament(len(m.in))
	var first uint32 // number of the first owner of s
	for i, s := range m.in {
		sec := &s.footer.claims
		if kind == wideKind {
			sec = &s.footer.wide
		}
		c := s.cursor(sec, [16]byte{}, [16]byte{})
		defer c.Close()
		t.players[i] = player{cursor: c, segment: s, first: first}
		t.players[i].next()
		first += s.footer.owners
	}
	t.begin()
	return m.play(t, kind == claimKind)
}

// play appends all entries in order.
func (m *merger) play(t *tournament, strict bool) error {
	if err := context.Cause(m.ctx); err != nil {
		return err
	}
	var last player // a copy of the one that won before
	for n := 0; len(t.players) > 0; n++ {
		p := &t.players[t.winner]
		if p.done {
			break
		}
		if strict && p.hi == last.hi && p.lo == last.lo && last.segment != nil {
			return fmt.Errorf("%w: %016x%016x, in %s and %s", ErrTwice, p.hi, p.lo, last.segment.path, p.segment.path)
		}
		owner := p.cursor.entries.owner(p.cursor.i)
		if owner >= p.segment.footer.owners {
			return p.segment.damage("entries", fmt.Errorf("owner %d, want less than %d", owner, p.segment.footer.owners))
		}
		m.w.add(p.hi, p.lo, p.first+owner, p.cursor.entries[p.cursor.i*entrySize+20])
		last.hi, last.lo, last.segment = p.hi, p.lo, p.segment
		p.next()
		t.replay(t.winner)
		if n%perBlock == 0 {
			if err := m.tick(); err != nil {
				return err
			}
		}
	}
	for i := range t.players {
		if err := t.players[i].cursor.Err(); err != nil {
			return err
		}
	}
	return m.w.err
}

// compare checks that the claims written are the ones that the segments say they have.
func (m *merger) compare() error {
	m.w.flush()
	var want, got section
	var hi, lo uint64
	for _, s := range m.in {
		want.count += s.footer.claims.count
		hi, lo = add(hi, lo, s.footer.sumHi, s.footer.sumLo)
	}
	got.count = m.w.footer.claims.count
	if m.w.err == nil && (got.count != want.count || m.w.footer.sumHi != hi || m.w.footer.sumLo != lo) {
		return fmt.Errorf("%w: merge has %d claims, its segments say %d, or another sum", ErrDamaged, got.count, want.count)
	}
	return m.w.err
}

// runs copies the runs and their blocks.
func (m *merger) runs() error {
	buf := make([]byte, blockSize)
	for _, s := range m.in {
		for i := range s.footer.runs {
			r := &s.footer.runs[i]
			m.w.beginRun(r.Run)
			for j, b := range r.blocks {
				if _, err := s.readOwners(b, buf); err != nil {
					return s.damage(ownerWhere(i, j), err)
				}
				m.w.copyOwners(b, buf[:b.length])
				if err := m.tick(); err != nil {
					return err
				}
			}
		}
	}
	return m.w.err
}

// A player is a segment in a tournament, with its next entry.
type player struct {
	hi, lo  uint64
	done    bool
	cursor  *Cursor
	segment *Segment
	first   uint32
}

func (p *player) next() {
	if p.cursor.Next() {
		p.hi, p.lo = p.cursor.entries.Top(p.cursor.i), p.cursor.entries.low(p.cursor.i)
		return
	}
	p.hi, p.lo, p.done = math.MaxUint64, math.MaxUint64, true
}

// A tournament finds the lowest of many entries: each match of the tree of
// matches remembers who lost it, so that a new entry plays only on its way up.
type tournament struct {
	players []player
	losers  []int // of match n, which plays on in match n/2; -1 before it was played
	winner  int
}

func newTournament(n int) *tournament {
	return &tournament{players: make([]player, n), losers: make([]int, n)}
}

// begin plays all matches.
func (t *tournament) begin() {
	for n := range t.losers {
		t.losers[n] = -1
	}
	for i := range t.players {
		t.replay(i)
	}
}

// replay plays player i up the tree, as far as somebody is waiting.
func (t *tournament) replay(i int) {
	for n := (i + len(t.players)) / 2; n > 0; n /= 2 {
		if t.losers[n] < 0 {
			t.losers[n] = i
			return
		}
		if t.below(t.losers[n], i) {
			t.losers[n], i = i, t.losers[n]
		}
	}
	t.winner = i
}

func (t *tournament) below(a, b int) bool {
	x, y := &t.players[a], &t.players[b]
	switch {
	case x.hi != y.hi:
		return x.hi < y.hi
	case x.lo != y.lo:
		return x.lo < y.lo
	case x.done != y.done:
		return y.done
	}
	return a < b
}

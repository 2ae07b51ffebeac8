package segment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// union returns the model of a merge: the runs one after the other.
func union(models []model) model {
	var u model
	var first uint32
	for _, m := range models {
		for _, e := range m.claims {
			e.Owner += first
			u.claims = append(u.claims, e)
		}
		for _, e := range m.wide {
			e.Owner += first
			u.wide = append(u.wide, e)
		}
		for _, r := range m.runs {
			r.FirstOwner += first
			u.runs = append(u.runs, r)
		}
		for _, r := range m.runs {
			first += r.Owners
		}
	}
	slices.SortStableFunc(u.claims, byIndex)
	slices.SortStableFunc(u.wide, byIndex)
	return u
}

// TestMergeIsTheUnion compares a merge with a model.
func TestMergeIsTheUnion(t *testing.T) {
	dir := t.TempDir()
	round := 0
	rapid.Check(t, func(t *rapid.T) {
		r := source(t)
		seen := map[[16]byte]bool{}
		var models []model
		var in []*Segment
		for range rapid.IntRange(0, 5).Draw(t, "segments") {
			claims := rapid.SampledFrom([]int{0, 1, perBlock, 4000}).Draw(t, "claims")
			m := newModel(r, claims, 40, 1+r.IntN(2), 2000, rapid.Bool().Draw(t, "crowded"))
			m.claims = slices.DeleteFunc(m.claims, func(e Entry) bool { return seen[e.Index] })
			for _, e := range m.claims {
				seen[e.Index] = true
			}
			round++
			s := m.open(t, dir, fmt.Sprint("in", round))
			defer s.Close()
			models, in = append(models, m), append(in, s)
		}
		round++
		path := filepath.Join(dir, fmt.Sprint("merged", round))
		paced := 0
		manifest, err := Merge(context.Background(), path, in, func(n int) { paced += n })
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, manifest)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		union(models).check(t, s)
		if int64(paced) > manifest.Size {
			t.Errorf("pace was told of %d bytes, the segment has %d", paced, manifest.Size)
		}
	})
}

// TestMergeRefusesAnIndexInTwoSegments checks that the index is named and
// that no file is left.
func TestMergeRefusesAnIndexInTwoSegments(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 2))
	a, b, c := newModel(r, 3000, 0, 1, 10, false), newModel(r, 3000, 0, 1, 10, false), newModel(r, 3000, 0, 1, 10, false)
	for _, i := range []int{0, 1777, 2999} {
		twice := a.claims[i]
		twice.Owner = 0
		c2 := model{claims: slices.Clone(c.claims), runs: c.runs}
		c2.claims = append(c2.claims, twice)
		slices.SortFunc(c2.claims, byIndex)
		var in []*Segment
		for n, m := range []model{a, b, c2} {
			s := m.open(t, dir, fmt.Sprint(i, "-", n))
			defer s.Close()
			in = append(in, s)
		}
		path := filepath.Join(dir, "merged")
		_, err := Merge(t.Context(), path, in, nil)
		if !errors.Is(err, ErrTwice) || !strings.Contains(err.Error(), fmt.Sprintf("%x, in %s and %s", twice.Index, in[0].path, in[2].path)) {
			t.Errorf("Merge = %v, want %v that names %x, %s and %s", err, ErrTwice, twice.Index, in[0].path, in[2].path)
		}
		absent(t, path)
	}
}

// TestMergeStopsWhenCancelled checks that no file is left.
func TestMergeStopsWhenCancelled(t *testing.T) {
	dir := t.TempDir()
	s := newModel(rand.New(rand.NewPCG(1, 2)), 120000, 0, 1, 10, false).open(t, dir, "a")
	defer s.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	path := filepath.Join(dir, "merged")
	if _, err := Merge(ctx, path, []*Segment{s}, func(int) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("Merge = %v, want %v", err, context.Canceled)
	}
	absent(t, path)
}

// TestMergeFindsDamage flips a bit in each block of an input.
func TestMergeFindsDamage(t *testing.T) {
	dir := t.TempDir()
	m := newModel(rand.New(rand.NewPCG(1, 2)), 3000, 100, 2, 10, false)
	s := m.open(t, dir, "a")
	defer s.Close()
	for at := int64(100); at < s.footer.end(); at += blockSize {
		flip(t, s.path, at)
		path := filepath.Join(dir, "merged")
		if _, err := Merge(t.Context(), path, []*Segment{s}, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("Merge with a flipped bit at %d = %v, want %v", at, err, ErrDamaged)
		}
		absent(t, path)
		flip(t, s.path, at)
	}
}

// TestWhatDoesNotFitIsRefused checks a merge before it begins.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	large := &Segment{footer: &footer{claims: section{count: 90e6}, owners: 1 << 31}}
	if err := Fits([]*Segment{large}); err != nil {
		t.Errorf("Fits = %v with 90 million claims", err)
	}
	for _, in := range [][]*Segment{{large, large}, {large, {footer: &footer{claims: section{count: 90e6}}}}} {
		if _, err := Merge(t.Context(), filepath.Join(t.TempDir(), "merged"), in, nil); !errors.Is(err, ErrTooLarge) {
			t.Errorf("Merge = %v, want %v", err, ErrTooLarge)
		}
	}
}

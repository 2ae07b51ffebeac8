package records

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// tiny folds ten claims and merges what is left of eight such segments.
func tiny() Options {
	o := small()
	o.FoldClaims = 10
	return o
}

// never leaves it to the test when to fold.
func never() Options {
	o := small()
	o.FoldClaims = 1 << 30
	return o
}

// claimMany seals devices of a generated batch, from one to another number.
func claimMany(t testing.TB, l *Ledger, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		seal(t, l, sight(generated(), fmt.Sprintf("X%03d", i), fmt.Sprintf("H%03d", i)), fmt.Sprintf("P%05d", i))
	}
}

// claimedAll checks that devices hold what was claimed for them, and that nobody
// gets it again.
func claimedAll(t testing.TB, l *Ledger, from, to int) {
	t.Helper()
	clean(t, l)
	for i := from; i < to; i++ {
		var reuse *ReuseError
		_, err := tryAssign(t, l, sight(generated(), fmt.Sprintf("Y%03d", i), fmt.Sprintf("I%03d", i)), fmt.Sprintf("P%05d", i))
		if want := fmt.Sprintf("X%03d", i); !errors.As(err, &reuse) || reuse.First.Serial != want || reuse.First.Credential != "admin" {
			t.Errorf("claim of what %s has is %v", want, err)
		}
	}
}

func TestFoldedAndMergedClaimsAreFoundAsBefore(t *testing.T) {
	dir := create(t)
	l := openWith(t, dir, newTestKeys("a"), newTestRows(), never())
	openBatch(t, l, generated(), 500)
	admit(t, l, batchOf(camera(), "I1"), threeRows)
	n := 0
	for range mergeFan {
		claimMany(t, l, n, n+5)
		n += 5
		if err := l.fold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	claimMany(t, l, n, n+5)
	n += 5
	for range 2 {
		claimedAll(t, l, 0, n)
		for more := true; more; {
			var err error
			if more, err = l.tidyOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if files := segmentFiles(t, l); len(files) != 2 || len(l.claims().segments) != 2 {
		t.Errorf("segments are %v, want those of eight merged into one, and one", files)
	}
	expect(t, reject(t, l, batchOf(camera(), "I2"), "serial,admin,service\nQ1,P00003,QQQQQQ\n"), 1,
		"1 Q1 admin C-UNIQ: batch B1 serial X003 admin")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, dir, newTestKeys("a"), newTestRows(), never())
	claimedAll(t, l, 0, n)
	untouched(t, l, int64(6+n), 3+n)
}

// TestAReaderGoesOnWithWhatItBeganWith folds and merges under one.
func TestAReaderGoesOnWithWhatItBeganWith(t *testing.T) {
	l := openWith(t, create(t), newTestKeys("a"), newTestRows(), never())
	openBatch(t, l, generated(), 500)
	fold := func(from int) {
		claimMany(t, l, from, from+1)
		if err := l.fold(t.Context()); err != nil {
			t.Error(err)
		}
	}
	for i := range mergeFan {
		fold(i)
	}
	claimMany(t, l, 50, 52)
	if err := l.view(func(r reader) error {
		fold(60)
		if more, err := l.tidyOnce(t.Context()); !more || err != nil {
			t.Errorf("merge: %v, %v", more, err)
		}
		if files := segmentFiles(t, l); len(files) != 2 {
			t.Errorf("files are %v, want the merged one and the last", files)
		}
		for _, serial := range []string{"X000", "X007", "X050", "X051"} {
			d, err := getDevice(r, "cam", serial)
			if err != nil {
				return err
			}
			if o, found, err := r.claimOwner(d.Attempts[0].Credentials[0].Index); err != nil || !found || o.Serial != serial {
				t.Errorf("claim of %s is of %q, found %v, %v", serial, o.Serial, found, err)
			}
		}
		a, err := r.audit(t.Context())
		if a.Claims != mergeFan+2 || a.Twice != 0 {
			t.Errorf("audit of the old state is %+v", a)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	clean(t, l)
}

// TestClaimsBesideFoldingAreNeverLostOrGivenTwice lets slots claim the same values
// while everything is folded and merged all the time.
func TestClaimsBesideFoldingAreNeverLostOrGivenTwice(t *testing.T) {
	dir := create(t)
	l := openWith(t, dir, newTestKeys("a"), newTestRows(), tiny())
	openBatch(t, l, generated(), 5000)
	const slots, values = 4, 200
	won := make([]int, values)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for slot := range slots {
		wg.Go(func() {
			for n := range values {
				i := (n + slot*values/slots) % values
				a, err := tryAssign(t, l, sight(generated(), fmt.Sprintf("S%d-%d", slot, i), fmt.Sprintf("H%d-%d", slot, i)), fmt.Sprintf("P%05d", i))
				if err != nil {
					if !errors.Is(err, ErrReused) {
						t.Error(err)
					}
					continue
				}
				if _, err := l.Settle(t.Context(), a, Settlement{}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				won[i]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for i, n := range won {
		if n != 1 {
			t.Errorf("value %d was claimed %d times", i, n)
		}
	}
	clean(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, dir, newTestKeys("a"), newTestRows(), tiny())
	untouched(t, l, values, values)
}

func TestAFoldKilledAnywhereLosesNothing(t *testing.T) {
	killEverywhereWith(t, never, 5,
		func(t *testing.T, l *Ledger) error {
			openBatch(t, l, generated(), 500)
			claimMany(t, l, 0, 3)
			return nil
		},
		func(t *testing.T, l *Ledger) error { return l.fold(t.Context()) },
		func(t *testing.T, l *Ledger, _ bool) { soundClaims(t, l, 3) })
}

func TestAMergeKilledAnywhereLosesNothing(t *testing.T) {
	killEverywhereWith(t, never, 5,
		func(t *testing.T, l *Ledger) error {
			openBatch(t, l, generated(), 500)
			for i := range mergeFan {
				claimMany(t, l, i, i+1)
				if err := l.fold(t.Context()); err != nil {
					return err
				}
			}
			return nil
		},
		func(t *testing.T, l *Ledger) error { return l.mergeSegments(t.Context(), l.claims().segments) },
		func(t *testing.T, l *Ledger, _ bool) { soundClaims(t, l, mergeFan) })
}

// soundClaims checks that n claims are all there, that no file is left over, and that folding goes on.
func soundClaims(t *testing.T, l *Ledger, n int) {
	t.Helper()
	claimedAll(t, l, 0, n)
	untouched(t, l, int64(n), n)
	l.imports.writing <- struct{}{} // nothing is merged meanwhile
	if files, set := segmentFiles(t, l), l.claims(); len(files) != len(set.segments) {
		t.Errorf("files are %v for %d segments", files, len(set.segments))
	}
	<-l.imports.writing
	claimMany(t, l, 100, 101)
	if err := l.fold(t.Context()); err != nil {
		t.Error(err)
	}
	clean(t, l)
}

func TestALargerFilterIsMadeAside(t *testing.T) {
	l := openWith(t, create(t), newTestKeys("a"), newTestRows(), small())
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	l.set.filter.room = 8 // the writer is idle
	before := l.claims().filter
	admit(t, l, batchOf(camera(), "B2"), fiveRows)
	if after := l.claims().filter; after == before || after.room < leastFilter {
		t.Errorf("filter is for %d indexes, want a new one", after.room)
	}
	expect(t, reject(t, l, batchOf(camera(), "B3"), "serial,admin,service\nN1,AAAAAA,B00005\n"), 2,
		"1 N1 admin C-UNIQ: batch B1 row 1 admin", "1 N1 service C-UNIQ: batch B2 row 5 service")
}

// TestADamagedSegmentIsAnErrorAndNeverNew flips a bit of a block of claims under
// an open ledger.
func TestADamagedSegmentIsAnErrorAndNeverNew(t *testing.T) {
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, small())
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	flip(t, l.segmentPath(1), 5)
	if _, err := l.Import(t.Context(), batchOf(camera(), "B2"), strings.NewReader(threeRows)); err == nil || errors.Is(err, ErrRejected) {
		t.Errorf("import says %v, want the damage", err)
	}
	c, err := l.Verify(t.Context(), nil)
	if err != nil || !strings.Contains(strings.Join(c.Problems, "\n"), "segments/1.seg") {
		t.Errorf("verify says %v, %v, want the segment named", c.Problems, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, newTestKeys("a"), rows, small()); !errors.Is(err, ErrBehind) || !strings.Contains(err.Error(), "segments/1.seg") {
		t.Errorf("open says %v, want the segment named", err)
	}
}

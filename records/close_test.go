package records

import (
	"errors"
	"strings"
	"testing"
)

// opened has a batch of three that is open.
func opened(t *testing.T, l *Ledger) error {
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	_, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "B1"})
	return err
}

func closeBatch(t testing.TB, l *Ledger) Batch {
	t.Helper()
	b, err := l.CloseBatch(t.Context(), "B1", Actor{Name: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestClosingDestroysWhatWaits(t *testing.T) {
	for _, cannot := range []bool{false, true} {
		l := importer(t)
		rows := l.rows.(*testRows)
		rows.cannot = cannot
		if err := opened(t, l); err != nil {
			t.Fatal(err)
		}
		b := closeBatch(t, l)
		if b.State != Closed || b.Shredded == nil || *b.Shredded == cannot || b.Reason != "closed by ann" {
			t.Errorf("batch is %+v, want it closed, shredded %v", b, !cannot)
		}
		if keys, files := rows.left(), rowFiles(t, l); keys != 0 || len(files) != 0 {
			t.Errorf("%d row keys and files %v are left, want none", keys, files)
		}
		if _, err := l.openRow(t.Context(), 1, 1, "SN1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("a row after closing: %v, want ErrNotFound", err)
		}
		if _, err := l.Interlock(t.Context(), sight(camera(), "SN1", "H1")); !errors.Is(err, ErrRefused) {
			t.Errorf("a device after closing: %v, want a refusal", err)
		}
		untouched(t, l, 6, 3)
		reject(t, l, batchOf(camera(), "B2"), strings.ReplaceAll(threeRows, "SN", "SM"))
	}
}

func TestClosingAGeneratedBatchHasNothingToDestroy(t *testing.T) {
	l := importer(t)
	openBatch(t, l, generated(), 3)
	if b := closeBatch(t, l); b.State != Closed || b.Shredded != nil {
		t.Errorf("batch is %+v, want it closed and nothing shredded", b)
	}
}

func TestClosingWaitsForTheSlots(t *testing.T) {
	l := importer(t)
	if err := opened(t, l); err != nil {
		t.Fatal(err)
	}
	a1, a2 := begin(t, l, "SN1", "H1"), begin(t, l, "SN2", "H2")
	for _, a := range []*Assignment{a1, a2} {
		defer a.close()
		if b := closeBatch(t, l); b.State != Closing || len(rowFiles(t, l)) != 1 {
			t.Errorf("batch is %s with files %v while a device is in a slot, want it closing", b.State, rowFiles(t, l))
		}
		mark(t, l, a, Injecting)
		settle(t, l, a, true)
	}
	b, err := l.Batch(t.Context(), "B1")
	if err != nil || b.State != Closed || b.Shredded == nil || !*b.Shredded || b.Sealed != 2 {
		t.Errorf("batch is %+v, %v, want it closed by the last settle", b, err)
	}
	untouched(t, l, 8, 3)
}

func TestNewRowsThatComeWhileTheBatchIsClosedAreRefused(t *testing.T) {
	l := importer(t)
	if err := burnedTwo(t, l); err != nil {
		t.Fatal(err)
	}
	raced(l, func() {
		if _, err := l.CloseBatch(t.Context(), "B1", Actor{}); err != nil {
			t.Error(err)
		}
	})
	_, err := l.Import(t.Context(), replacing(), strings.NewReader(twoRows))
	refused(t, err, "batch B1 is closed")
	untouched(t, l, 8, 3)
	if keys, files := l.rows.(*testRows).left(), append(rowFiles(t, l), segmentFiles(t, l)...); keys != 0 || len(files) != 1 {
		t.Errorf("%d row keys and files %v are left, want the claims of the first import", keys, files)
	}
}

func TestAClosingThatTheAuthorityHoldsUpGoesOnLater(t *testing.T) {
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, small())
	if err := opened(t, l); err != nil {
		t.Fatal(err)
	}
	rows.away = errors.New("authority is away")
	if _, err := l.CloseBatch(t.Context(), "B1", Actor{}); !errors.Is(err, rows.away) {
		t.Errorf("closing says %v, want %v", err, rows.away)
	}
	if b, err := l.Batch(t.Context(), "B1"); err != nil || b.State != Closing {
		t.Errorf("batch is %s, %v, want it closing", b.State, err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, dir, newTestKeys("a"), rows, small()) // opens although the authority is away
	if b, err := l.Batch(t.Context(), "B1"); err != nil || b.State != Closing {
		t.Errorf("batch is %s, %v, want it still closing", b.State, err)
	}
	rows.away = nil
	if b := closeBatch(t, l); b.State != Closed || !*b.Shredded {
		t.Errorf("batch is %+v, want it closed", b)
	}
}

func TestAClosingKilledAnywhereIsDoneAtTheNextOpen(t *testing.T) {
	began := false
	killEverywhere(t, 6, opened,
		func(t *testing.T, l *Ledger) error {
			_, err := l.CloseBatch(t.Context(), "B1", Actor{Name: "ann"})
			return err
		},
		func(t *testing.T, l *Ledger, _ bool) {
			b, err := l.Batch(t.Context(), "B1")
			if err != nil {
				t.Fatal(err)
			}
			left := 1
			if b.State != Opened {
				left, began = 0, true
				if b.State != Closed || b.Shredded == nil || !*b.Shredded {
					t.Errorf("batch is %+v, want it closed", b)
				}
			}
			if keys, files := l.rows.(*testRows).left(), rowFiles(t, l); keys != left || len(files) != left {
				t.Errorf("batch is %s, %d row keys and files %v are left, want %d", b.State, keys, files, left)
			}
			untouched(t, l, 6, 3)
		})
	if !began {
		t.Error("no closing was ever begun")
	}
}

// TestARestoredCopyLeavesTheKeysOfTheOriginalAlone restores a backup beside the
// ledger that it was made of, with the same authority.
func TestARestoredCopyLeavesTheKeysOfTheOriginalAlone(t *testing.T) {
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, small())
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	var b []byte
	l.imports.fault = func(step string, do func() error) error {
		err := do()
		if step == "name row file" { // its row file is there, it is not admitted yet
			b = backup(t, l)
		}
		return err
	}
	admit(t, l, batchOf(camera(), "B2"), "serial,admin,service\nSN7,XXXXXX,YYYYYY\n")

	restored := openWith(t, restoreFrom(t, b), newTestKeys("a"), rows, small())
	untouched(t, restored, 6, 3)
	if files := rowFiles(t, restored); len(files) != 1 {
		t.Errorf("row files %v are in the copy, want that of B1", files)
	}
	holds(t, restored, 1, 1, map[string]string{"admin": "AAAAAA", "service": "BBBBBB"})
	holds(t, l, 2, 1, map[string]string{"admin": "XXXXXX", "service": "YYYYYY"})
}

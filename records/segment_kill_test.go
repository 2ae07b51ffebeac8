package records

import (
	"bytes"
	"errors"
	"testing"
)

// busy has an imported batch that is open, and a fold.
func busy(t *testing.T, l *Ledger) error {
	openBatch(t, l, generated(), 500)
	claimMany(t, l, 0, 2)
	return errors.Join(l.fold(t.Context()), openedBeside(t, l))
}

// openedBeside has a batch of three beside one of generated devices.
func openedBeside(t *testing.T, l *Ledger) error {
	admit(t, l, batchOf(camera(), "I1"), threeRows)
	_, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "I1"})
	return err
}

// TestClosingAfterFoldAndMergeKilledAnywhere claims one more, folds it, merges
// everything and closes the batch whose claims went into the merge.
func TestClosingAfterFoldAndMergeKilledAnywhere(t *testing.T) {
	closed := false
	killEverywhereWith(t, never, 14, busy,
		func(t *testing.T, l *Ledger) error {
			a, err := tryAssign(t, l, sight(generated(), "X002", "H002"), "P00002")
			if err != nil {
				return err
			}
			if _, err := l.Settle(t.Context(), a, Settlement{}); err != nil {
				return err
			}
			if err := l.fold(t.Context()); err != nil {
				return err
			}
			if err := l.mergeSegments(t.Context(), l.claims().segments); err != nil {
				return err
			}
			_, err = l.CloseBatch(t.Context(), "I1", Actor{Name: "ann"})
			return err
		},
		func(t *testing.T, l *Ledger, _ bool) {
			b, err := l.Batch(t.Context(), "I1")
			if err != nil || b.State != Opened && b.State != Closed {
				t.Errorf("batch is %s, %v, want it open or closed", b.State, err)
			}
			left := 1
			if b.State == Closed {
				left, closed = 0, true
			}
			if keys, files := l.rows.(*testRows).left(), rowFiles(t, l); keys != left || len(files) != left {
				t.Errorf("batch is %s, %d row keys and files %v are left, want %d", b.State, keys, files, left)
			}
			devices := 2
			if _, err := l.Device(t.Context(), "cam", "X002"); err == nil {
				devices = 3
			}
			untouched(t, l, int64(6+devices), 3+devices)
			if files, set := segmentFiles(t, l), l.claims(); len(files) != len(set.segments) {
				t.Errorf("files are %v for %d segments", files, len(set.segments))
			}
			claimedAll(t, l, 0, devices)
			reject(t, l, historyOf("I2"), threeRows)
		})
	if !closed {
		t.Error("no closing was ever begun")
	}
}

// TestABackupAmidstEachStepIsWhole takes one before and after each durable step of
// an import, a fold, a merge and a closing.
func TestABackupAmidstEachStepIsWhole(t *testing.T) {
	l := openWith(t, create(t), newTestKeys("a"), newTestRows(), never())
	openBatch(t, l, generated(), 500)
	claimMany(t, l, 0, 2)
	type copied struct {
		step string
		of   []byte
	}
	var copies []copied
	l.imports.fault = func(step string, do func() error) error {
		copies = append(copies, copied{"before " + step, backup(t, l)})
		err := do()
		copies = append(copies, copied{"after " + step, backup(t, l)})
		return err
	}
	if err := errors.Join(openedBeside(t, l), l.fold(t.Context()), l.mergeSegments(t.Context(), l.claims().segments)); err != nil {
		t.Fatal(err)
	}
	if _, err := l.CloseBatch(t.Context(), "I1", Actor{Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	seen := map[int64]bool{}
	for _, c := range copies {
		t.Run(c.step, func(t *testing.T) {
			restored := openWith(t, restoreFrom(t, c.of), newTestKeys("a"), newTestRows(), never())
			check := clean(t, restored)
			if seen[check.Claims] = true; check.Claims != 2 && check.Claims != 8 {
				t.Errorf("%d claims, want 2 or, with the import, 8", check.Claims)
			}
			if files, set := segmentFiles(t, restored), restored.claims(); len(files) != len(set.segments) {
				t.Errorf("files are %v for %d segments", files, len(set.segments))
			}
			claimedAll(t, restored, 0, 2)
		})
	}
	if !seen[2] || !seen[8] || len(copies) < 16 {
		t.Errorf("%d backups with %v claims, want some without the import and some with it", len(copies), seen)
	}
}

// TestABackupWithSegmentsThatIsCutIsRefused cuts it off at many places.
func TestABackupWithSegmentsThatIsCutIsRefused(t *testing.T) {
	l := openWith(t, create(t), newTestKeys("a"), newTestRows(), never())
	if err := busy(t, l); err != nil {
		t.Fatal(err)
	}
	b := backup(t, l)
	step := len(b) / 10
	if *torture {
		step = 101
	}
	for at := step; at < len(b); at += step {
		dir := t.TempDir()
		if err := Restore(t.Context(), dir, bytes.NewReader(b[:at]), newTestKeys("a"), small(), nil); err == nil {
			t.Errorf("a backup cut at %d of %d was restored", at, len(b))
		}
		if l, err := Open(t.Context(), dir, newTestKeys("a"), nil, small()); err == nil {
			t.Errorf("what was left of a backup cut at %d can be opened", at)
			l.Close()
		}
	}
}

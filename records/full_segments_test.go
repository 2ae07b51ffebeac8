package records

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// alone runs f while nothing is imported, folded or merged.
func alone(t testing.TB, l *Ledger, f func() error) error {
	t.Helper()
	l.imports.writing <- struct{}{}
	defer func() { <-l.imports.writing }()
	return f()
}

// TestAFullDiskHoldsUpFoldsMergesAndImports: they come when there is room again,
// and what is open is settled meanwhile. First they are refused, as they should be; then
// the disk is full all of a sudden.
func TestAFullDiskHoldsUpFoldsMergesAndImports(t *testing.T) {
	disk := tmpfs(t, 192)
	dir := filepath.Join(disk, "ledger")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Create(t.Context(), dir, newTestKeys("a"), small()); err != nil {
		t.Fatal(err)
	}
	rows := newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, never())
	openBatch(t, l, generated(), 500)
	for n := range 3 {
		claimMany(t, l, n, n+1)
		if err := alone(t, l, func() error { return l.fold(t.Context()) }); err != nil {
			t.Fatal(err)
		}
	}
	claimMany(t, l, 3, 10)
	before := segmentFiles(t, l)

	other, honest := filepath.Join(disk, "other"), l.space.free
	for n, tt := range []struct {
		name string
		free func(string) (int64, error)
		want error // of fold and merge
	}{
		{"seen", honest, ErrDiskFull},
		{"sudden", func(string) (int64, error) { return 1 << 40, nil }, syscall.ENOSPC},
	} {
		t.Run(tt.name, func(t *testing.T) {
			serial := string(rune('A' + n))
			a := assign(t, l, sight(generated(), serial, "H"+serial), "OPEN-"+serial)
			fill(t, other)
			l.space.free = tt.free // the writer is idle
			if err := alone(t, l, func() error { return l.fold(t.Context()) }); !errors.Is(err, tt.want) {
				t.Errorf("fold on a full disk: %v, want %v", err, tt.want)
			}
			if err := alone(t, l, func() error { return l.mergeSegments(t.Context(), l.claims().segments) }); !errors.Is(err, tt.want) {
				t.Errorf("merge on a full disk: %v, want %v", err, tt.want)
			}
			if _, err := l.Import(t.Context(), batchOf(camera(), "I1"), strings.NewReader(threeRows)); !errors.Is(err, ErrDiskFull) {
				t.Errorf("import on a full disk: %v, want ErrDiskFull", err)
			}
			if _, err := l.Import(t.Context(), historyOf("I2"), strings.NewReader(threeRows)); !errors.Is(err, ErrDiskFull) {
				t.Errorf("import of history on a full disk: %v, want ErrDiskFull", err)
			}
			if files := segmentFiles(t, l); !slices.Equal(files, before) || len(rowFiles(t, l)) != 0 || rows.left() != 0 {
				t.Errorf("segments are %v, row files %v, %d row keys, want %v and none", files, rowFiles(t, l), rows.left(), before)
			}
			mark(t, l, a, Injecting, Labelling, Locking)
			settle(t, l, a, true)
			l.space.free = honest
			if err := errors.Join(l.Err(), os.Remove(other)); err != nil {
				t.Fatal(err)
			}
			claimedAll(t, l, 0, 10)
		})
	}

	admit(t, l, batchOf(camera(), "I1"), threeRows)
	if err := alone(t, l, func() error {
		return errors.Join(l.fold(t.Context()), l.mergeSegments(t.Context(), l.claims().segments))
	}); err != nil {
		t.Error(err)
	}
	if files := segmentFiles(t, l); len(files) != 1 {
		t.Errorf("segments are %v, want one", files)
	}
	claimedAll(t, l, 0, 10)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, dir, newTestKeys("a"), rows, never())
	untouched(t, l, 10+2+6, 10+2+3)
}

func historyOf(name string) ImportRequest {
	r := batchOf(camera(), name)
	r.History = true
	return r
}

package records

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// into backs l up into a folder.
func into(t testing.TB, l *Ledger, dir string, keep int) Backup {
	t.Helper()
	b, err := l.BackupInto(t.Context(), dir, keep, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// folder makes one for backups.
func folder(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "backups")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

func restoreFileTo(t testing.TB, name string) (dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	return dir, RestoreFile(t.Context(), dir, name, newTestKeys("a"), small(), nil)
}

// restored opens the ledger that a backup makes.
func restored(t testing.TB, name string, rows RowKeys) *Ledger {
	t.Helper()
	dir, err := restoreFileTo(t, name)
	if err != nil {
		t.Fatal(err)
	}
	return openWith(t, dir, newTestKeys("a"), rows, small())
}

// inFolder lists the backups, and the names of the segments, of a folder.
func inFolder(t testing.TB, dir string) (backups, segments []string) {
	t.Helper()
	backups, err := filepath.Glob(filepath.Join(dir, "*.backup"))
	if err != nil {
		t.Fatal(err)
	}
	segments, err = filepath.Glob(filepath.Join(dir, "segments", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return backups, segments
}

// unwanted checks that err is a refusal that says something.
func unwanted(t testing.TB, err error, want string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want a refusal that says %q", err, want)
	}
}

// same says whether two files are one.
func same(t testing.TB, a, b string) bool {
	t.Helper()
	x, errA := os.Stat(a)
	y, errB := os.Stat(b)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	return os.SameFile(x, y)
}

// copied makes l unable to link.
func copied(l *Ledger) {
	step := l.durable
	if f := l.imports.fault; f != nil {
		step = f
	} else {
		step = func(_ string, do func() error) error { return do() }
	}
	l.imports.fault = func(name string, do func() error) error {
		if name == "link segment" {
			return unix.EXDEV
		}
		return step(name, do)
	}
}

func TestABackupFolderHoldsEachSegmentOnce(t *testing.T) {
	for _, linked := range []bool{true, false} {
		rows := newTestRows()
		l := openWith(t, create(t), newTestKeys("a"), rows, never())
		if !linked {
			copied(l)
		}
		dir := folder(t)
		admit(t, l, batchOf(camera(), "I1"), threeRows)
		first := into(t, l, dir, 0)
		admit(t, l, batchOf(camera(), "I2"), fiveRows)
		second := into(t, l, dir, 0)
		third := into(t, l, dir, 0)
		for i, b := range []Backup{first, second, third} {
			fresh, had := 1, i
			if i == 2 {
				fresh = 0
			}
			if b.Linked+b.Copied != fresh || linked != (b.Copied == 0) && fresh > 0 || b.Had != had || b.Removed != 0 {
				t.Errorf("linked %v: backup %d is %+v, want %d new segments and %d that it had", linked, i, b, fresh, had)
			}
		}
		backups, segments := inFolder(t, dir)
		if len(backups) != 3 || len(segments) != 2 {
			t.Fatalf("folder has %v and %v, want three backups and two segments", backups, segments)
		}
		shared := 0
		for _, s := range segments {
			for _, own := range segmentFiles(t, l) {
				if same(t, s, filepath.Join(l.dir, "segments", own)) {
					shared++
				}
			}
		}
		if want := map[bool]int{true: 2}[linked]; shared != want {
			t.Errorf("linked %v: %d segments are shared with the ledger, want %d", linked, shared, want)
		}
		r := restored(t, first.File, rows)
		untouched(t, r, 6, 3)
		if same(t, r.segmentPath(1), segments[0]) || same(t, r.segmentPath(1), segments[1]) {
			t.Error("the restored ledger shares a segment with the backup")
		}
		r = restored(t, third.File, rows)
		untouched(t, r, 16, 8)
		expect(t, reject(t, r, batchOf(camera(), "I3"), "serial,admin,service\nN1,AAAAAA,B00005\n"), 2,
			"1 N1 admin C-UNIQ: batch I1 row 1 admin", "1 N1 service C-UNIQ: batch I2 row 5 service")
	}
}

// TestASegmentThatIsMergedAwayMeanwhileIsCopied removes the file before the link.
func TestASegmentThatIsMergedAwayMeanwhileIsCopied(t *testing.T) {
	l, dir := importer(t), folder(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	l.imports.fault = func(step string, do func() error) error {
		if step == "link segment" {
			return errors.Join(os.Rename(l.segmentPath(1), l.segmentPath(1)+".gone"), do())
		}
		return do()
	}
	b := into(t, l, dir, 0)
	if err := os.Rename(l.segmentPath(1)+".gone", l.segmentPath(1)); err != nil {
		t.Fatal(err)
	}
	if b.Copied != 1 || b.Linked != 0 {
		t.Errorf("backup is %+v, want one copy", b)
	}
	untouched(t, restored(t, b.File, newTestRows()), 6, 3)
}

func TestADamagedSegmentIsNotCopiedIntoABackup(t *testing.T) {
	l, dir := importer(t), folder(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	copied(l)
	flip(t, l.segmentPath(1), 5)
	if _, err := l.BackupInto(t.Context(), dir, 0, nil); err == nil || !strings.Contains(err.Error(), "1.seg is damaged: run mintmark ledger verify") {
		t.Errorf("backup: %v, want the damage", err)
	}
	if backups, segments := inFolder(t, dir); len(backups)+len(segments) > 0 {
		t.Errorf("folder has %v and %v, want nothing", backups, segments)
	}
}

// TestABackupIntoAFolderKilledAnywhereLeavesWholeBackups kills the third backup of
// a folder that keeps two, by link and by copy.
func TestABackupIntoAFolderKilledAnywhereLeavesWholeBackups(t *testing.T) {
	for name, steps := range map[string]int{"link": 9, "copy": 11} {
		t.Run(name, func(t *testing.T) {
			var dir string
			seen := map[int]bool{}
			killEverywhereWith(t, never, steps,
				func(t *testing.T, l *Ledger) error {
					dir = folder(t)
					openBatch(t, l, generated(), 10)
					admit(t, l, batchOf(camera(), "I1"), threeRows)
					into(t, l, dir, 0)
					admit(t, l, batchOf(camera(), "I2"), fiveRows)
					into(t, l, dir, 0)
					claimMany(t, l, 0, 2)
					// The first backup's segment is not the ledger's any more.
					return errors.Join(l.fold(t.Context()), l.mergeSegments(t.Context(), l.claims().segments))
				},
				func(t *testing.T, l *Ledger) error {
					if name == "copy" {
						copied(l)
					}
					_, err := l.BackupInto(t.Context(), dir, 2, nil)
					return err
				},
				func(t *testing.T, l *Ledger, _ bool) {
					backups, _ := inFolder(t, dir)
					seen[len(backups)] = true
					for _, b := range backups {
						clean(t, restored(t, b, l.rows))
					}
					b := into(t, l, dir, 1)
					if backups, segments := inFolder(t, dir); len(backups) != 1 || len(segments) != 1 {
						t.Errorf("after the next one the folder has %v and %v, want one of each", backups, segments)
					}
					if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 3 {
						t.Errorf("folder has %v, want lock, segments and backup", left)
					}
					r := restored(t, b.File, l.rows)
					if c := clean(t, r); c.Claims != 18 || c.Batches != 3 {
						t.Errorf("restored are %d claims of %d batches, want 18 of 3", c.Claims, c.Batches)
					}
				})
			if !seen[2] || !seen[3] {
				t.Errorf("kills left %v backups, want 2 and 3", seen)
			}
		})
	}
}

// TestRestoreFileSaysWhatIsMissingOrDamaged has one row for each thing that can
// happen to a folder of backups. Nothing that was refused can be opened.
func TestRestoreFileSaysWhatIsMissingOrDamaged(t *testing.T) {
	l, dir := importer(t), folder(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	admit(t, l, batchOf(camera(), "B2"), fiveRows)
	copied(l)
	b := into(t, l, dir, 0)
	_, segments := inFolder(t, dir)
	first, second := filepath.Base(segments[0]), filepath.Base(segments[1])
	for _, tt := range []struct {
		name   string
		damage func(dir string) error
		want   []string
	}{
		{"nothing", func(string) error { return nil }, nil},
		{"one missing", func(dir string) error { return os.Remove(filepath.Join(dir, first)) }, []string{first + " of the backup is missing"}},
		{"all missing", func(dir string) error { return os.RemoveAll(dir) }, []string{first + " of the backup is missing", second + " of the backup is missing"}},
		{"one missing, one short", func(dir string) error {
			return errors.Join(os.Remove(filepath.Join(dir, first)), os.Truncate(filepath.Join(dir, second), 10))
		}, []string{first + " of the backup is missing", second + " of the backup is damaged: it has 10 bytes, want "}},
		{"a byte changed", func(dir string) error { flip(t, filepath.Join(dir, second), 100); return nil }, []string{second + " of the backup is damaged: its SHA-256 is not its name"}},
		{"a link", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, first), filepath.Join(dir, "x")), os.Symlink("x", filepath.Join(dir, first)))
		}, []string{first, "too many levels of symbolic links"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			broken := filepath.Join(t.TempDir(), "backups")
			if err := os.CopyFS(broken, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(filepath.Join(broken, "segments")); err != nil {
				t.Fatal(err)
			}
			to, err := restoreFileTo(t, filepath.Join(broken, filepath.Base(b.File)))
			if tt.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("restore: %v, want %q", err, want)
				}
			}
			if l, err := Open(t.Context(), to, newTestKeys("a"), nil, small()); err == nil {
				t.Error("what was refused can be opened")
				l.Close()
			}
		})
	}
	stream, err := os.ReadFile(b.File)
	if err != nil {
		t.Fatal(err)
	}
	err = Restore(t.Context(), t.TempDir(), bytes.NewReader(stream), newTestKeys("a"), small(), nil)
	if err == nil || !strings.Contains(err.Error(), "restore it from its folder") {
		t.Errorf("restore from a stream: %v, want that its folder is needed", err)
	}
}

func TestASegmentOfAnotherSizeIsWrittenAgain(t *testing.T) {
	l, dir := importer(t), folder(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	copied(l)
	into(t, l, dir, 0)
	_, segments := inFolder(t, dir)
	if err := os.Truncate(segments[0], 10); err != nil {
		t.Fatal(err)
	}
	b := into(t, l, dir, 0)
	if b.Copied != 1 || b.Had != 0 {
		t.Errorf("backup is %+v, want the short segment written again", b)
	}
	untouched(t, restored(t, b.File, newTestRows()), 6, 3)
}

// TestKeepRemovesTheOldestBackupsAndTheirSegments leaves alone what it didn't make.
func TestKeepRemovesTheOldestBackupsAndTheirSegments(t *testing.T) {
	l, dir := openWith(t, create(t), newTestKeys("a"), newTestRows(), never()), folder(t)
	openBatch(t, l, generated(), 10)
	admit(t, l, batchOf(camera(), "I1"), threeRows)
	old := into(t, l, dir, 0)
	renamed := filepath.Join(dir, "monday.backup")
	if err := os.Rename(old.File, renamed); err != nil {
		t.Fatal(err)
	}
	var files []string
	for i := range 3 {
		claimMany(t, l, i, i+1)
		if err := errors.Join(l.fold(t.Context()), l.mergeSegments(t.Context(), l.claims().segments)); err != nil {
			t.Fatal(err)
		}
		files = append(files, into(t, l, dir, 0).File)
	}
	strange := filepath.Join(dir, "segments", "notes.txt")
	orphan := filepath.Join(dir, "segments", strings.Repeat("0a", 32)+".seg")
	if err := errors.Join(os.WriteFile(strange, nil, 0o600), os.WriteFile(orphan, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	claimMany(t, l, 5, 6)
	last := into(t, l, dir, 2)
	if last.Removed != 2 {
		t.Errorf("backup is %+v, want two older ones removed", last)
	}
	backups, segments := inFolder(t, dir)
	if want := []string{files[2], last.File, renamed}; strings.Join(backups, "\n") != strings.Join(want, "\n") {
		t.Errorf("backups are %v, want %v", backups, want)
	}
	// One segment of monday's and one of the other two, and the file of others.
	if len(segments) != 3 || !strings.HasSuffix(segments[2], "notes.txt") {
		t.Errorf("segments are %v, want two and notes.txt", segments)
	}
	for i, name := range backups {
		if c := clean(t, restored(t, name, l.rows)); c.Claims != []int64{9, 10, 6}[i] {
			t.Errorf("%s has %d claims", name, c.Claims)
		}
	}
}

func TestADamagedOlderBackupKeepsAllSegments(t *testing.T) {
	l, dir := openWith(t, create(t), newTestKeys("a"), newTestRows(), never()), folder(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	old := into(t, l, dir, 0)
	if err := os.Truncate(old.File, 100); err != nil {
		t.Fatal(err)
	}
	orphan := filepath.Join(dir, "segments", strings.Repeat("0a", 32)+".seg")
	if err := os.WriteFile(orphan, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := l.BackupInto(t.Context(), dir, 1, nil)
	unwanted(t, err, "is complete, but nothing older was removed: "+old.File+": backup is cut short: unexpected EOF")
	if backups, segments := inFolder(t, dir); len(backups) != 2 || len(segments) != 2 {
		t.Errorf("folder has %v and %v, want all of it", backups, segments)
	}
	untouched(t, restored(t, b.File, newTestRows()), 6, 3)
}

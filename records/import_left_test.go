package records

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// halfAReplacement leaves what a replacement has written before its last commit.
func halfAReplacement(t *testing.T, l *Ledger, file string) {
	t.Helper()
	if _, _, err := halfAnImport(t, l, replacing(), file); err != nil {
		t.Fatal(err)
	}
}

func TestARetryOfAnImportThatWasNotTakenBackAdmitsIt(t *testing.T) {
	for _, file := range []string{fiveRows, threeRows} {
		l := importer(t)
		if _, _, err := halfAnImport(t, l, batchOf(camera(), "B1"), fiveRows); err != nil {
			t.Fatal(err)
		}
		a := admit(t, l, batchOf(camera(), "B1"), file)
		if a.Already {
			t.Errorf("retry is %+v, want a first answer", a)
		}
		untouched(t, l, int64(2*a.Devices), a.Devices)
		if b, err := l.Batch(t.Context(), "B1"); err != nil || b.State != Admitted || b.Devices != a.Devices {
			t.Errorf("batch is %+v, %v, want it admitted", b, err)
		}
		if keys, files := l.rows.(*testRows).left(), rowFiles(t, l); keys != 1 || len(files) != 1 {
			t.Errorf("%d row keys and files %v are left, want one of each", keys, files)
		}
	}
}

// TestAReplacementThatWasNotTakenBackNeverCostsTheNext retries it, or replaces
// with another file, and opens the ledger again.
func TestAReplacementThatWasNotTakenBackNeverCostsTheNext(t *testing.T) {
	for _, file := range []string{twoRows, "serial,admin,service\nSN3,OOOOOO,PPPPPP\nSN1,QQQQQQ,RRRRRR\n"} {
		dir, rows := create(t), newTestRows()
		l := openWith(t, dir, newTestKeys("a"), rows, small())
		if err := burnedTwo(t, l); err != nil {
			t.Fatal(err)
		}
		halfAReplacement(t, l, twoRows)
		if a := admit(t, l, replacing(), file); a.Already || a.Devices != 2 {
			t.Errorf("import is %+v, want a first answer", a)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = openWith(t, dir, newTestKeys("a"), rows, small())
		untouched(t, l, 12, 3)
		if b, err := l.Batch(t.Context(), "B1"); err != nil || b.Waiting != 3 || rows.left() != 2 || len(rowFiles(t, l)) != 2 {
			t.Errorf("batch is %+v, %v, with %d row keys and files %v; want three waiting and two of each", b, err, rows.left(), rowFiles(t, l))
		}
	}
}

func TestTwoReplacementsNeverBeginAtTheSameRow(t *testing.T) {
	l := importer(t)
	if err := burnedTwo(t, l); err != nil {
		t.Fatal(err)
	}
	admit(t, l, replacing(), twoRows)
	im := &importing{l: l, r: replacing(), number: 1, rec: importRecord{First: 4}}
	refused(t, l.commit(t.Context(), im.record), "batch B1 got other rows meanwhile")
}

// notGivenOut has a replacement admitted whose row file couldn't be read. Back puts
// it back.
func notGivenOut(t *testing.T, l *Ledger) (back func()) {
	t.Helper()
	if err := burnedTwo(t, l); err != nil {
		t.Fatal(err)
	}
	path := l.rowPath(1, 4)
	l.imports.fault = func(step string, do func() error) error {
		if step != "name row file" {
			return do()
		}
		return errors.Join(do(), os.Rename(path, path+".away"))
	}
	if _, err := l.Import(t.Context(), replacing(), strings.NewReader(twoRows)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("import says %v, want that the rows can't be read", err)
	}
	l.imports.fault = nil
	return func() {
		if err := os.Rename(path+".away", path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestARetryGivesOutTheRowsThatTheFirstTryCouldNot(t *testing.T) {
	l := importer(t)
	back := notGivenOut(t, l)
	if _, err := l.Import(t.Context(), replacing(), strings.NewReader(twoRows)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("retry says %v, want that the rows can't be read", err)
	}
	back()
	if a := admit(t, l, replacing(), twoRows); !a.Already || a.Devices != 2 {
		t.Errorf("retry is %+v, want the first answer", a)
	}
	if b, err := l.Batch(t.Context(), "B1"); err != nil || b.Waiting != 3 {
		t.Errorf("batch is %+v, %v, want three devices waiting", b, err)
	}
	untouched(t, l, 12, 3)
}

func TestABatchWhoseNewRowsWereNotGivenOutCanBeClosed(t *testing.T) {
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, small())
	notGivenOut(t, l)()
	if b, err := l.CloseBatch(t.Context(), "B1", Actor{}); err != nil || b.State != Closed || rows.left() != 0 {
		t.Errorf("batch is %+v, %v, with %d row keys; want it closed and none", b, err, rows.left())
	}
	records, err := l.batchRecords()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.applyRows(t.Context(), 1, records[0].Imports[1]); err != nil {
		t.Errorf("giving out the rows of a closed batch says %v, want nothing", err)
	}
	if d, err := l.Device(t.Context(), "camera", "SN1"); err != nil || d.State != Burned {
		t.Errorf("SN1 is %s, %v, want it burned still", d.State, err)
	}
	clean(t, l)
}

// TestAKeptRowFileIsNeverOverwrittenWhileItsKeyLives keeps the file of an import
// that was never begun, so that the next one has its number.
func TestAKeptRowFileIsNeverOverwrittenWhileItsKeyLives(t *testing.T) {
	for _, end := range []string{"", partial} {
		l, away := importer(t), errors.New("authority is away")
		rows := l.rows.(*testRows)
		w, err := l.createRows(t.Context(), 1, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(w.f.Close(), os.Rename(w.path+partial, w.path+end)); err != nil {
			t.Fatal(err)
		}
		rows.away = away
		if _, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows)); !errors.Is(err, away) {
			t.Errorf("import says %v, want %v", err, away)
		}
		if keys, files := rows.left(), rowFiles(t, l); keys != 1 || len(files) != 1 {
			t.Errorf("%d row keys and files %v are left, want the file that names the key", keys, files)
		}
		rows.away = nil
		admit(t, l, batchOf(camera(), "B1"), threeRows)
		if keys, files := rows.left(), rowFiles(t, l); keys != 1 || len(files) != 1 {
			t.Errorf("%d row keys and files %v are left, want those of B1", keys, files)
		}
	}
}

func TestAnImportLeavesTheRoomThatIsKept(t *testing.T) {
	l := importer(t)
	kept := l.space.low() + l.space.size + tableRoom
	for _, tt := range []struct {
		what string
		free int64
		fine bool
	}{
		{"none for rows", kept, false},
		{"none for claims", kept + logSize + tableRoom, false},
		{"enough", kept + logSize + tableRoom + 1<<20, true},
	} {
		l.space.free = func(string) (int64, error) { return tt.free, nil } // the writer is idle
		_, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows))
		if (err == nil) != tt.fine || err != nil && !errors.Is(err, ErrDiskFull) {
			t.Errorf("%s: import says %v", tt.what, err)
		}
		if n := len(rowFiles(t, l)); n > 0 != tt.fine || l.rows.(*testRows).left() != n {
			t.Errorf("%s: %d row files are left", tt.what, n)
		}
		if _, err := l.Batch(t.Context(), "B1"); (err == nil) != tt.fine {
			t.Errorf("%s: batch is %v", tt.what, err)
		}
	}
}

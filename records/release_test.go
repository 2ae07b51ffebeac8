package records

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// openFiles lists the files of a folder that this process has open.
func openFiles(t *testing.T, dir string) (names []string) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		name, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && strings.HasPrefix(name, dir) { // else closed meanwhile
			names = append(names, strings.TrimPrefix(name, dir+"/"))
		}
	}
	return names
}

// TestASegmentIsClosedWhenTheLastReaderLetsGo merges under a reader.
func TestASegmentIsClosedWhenTheLastReaderLetsGo(t *testing.T) {
	dir := create(t)
	l := openWith(t, dir, newTestKeys("a"), newTestRows(), never())
	openBatch(t, l, generated(), 500)
	for i := range mergeFan {
		claimMany(t, l, i, i+1)
		if err := l.fold(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	segments := filepath.Join(dir, "segments")
	if err := l.view(func(reader) error {
		if err := l.mergeSegments(t.Context(), l.claims().segments); err != nil {
			return err
		}
		if names := openFiles(t, segments); len(names) != mergeFan+1 {
			t.Errorf("open under a reader are %v, want the old ones and the new one", names)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if names := openFiles(t, segments); len(names) != 1 {
		t.Errorf("open after the reader are %v, want the new one", names)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if names := openFiles(t, dir); len(names) != 0 {
		t.Errorf("open after Close are %v", names)
	}
}

// onceWriter calls f before the first write.
type onceWriter struct {
	bytes.Buffer
	f func()
}

func (w *onceWriter) Write(p []byte) (int, error) {
	if f := w.f; f != nil {
		w.f = nil
		f()
	}
	return w.Buffer.Write(p)
}

// TestABackupHasTheRowsOfItsState closes a batch when its backup has just begun.
func TestABackupHasTheRowsOfItsState(t *testing.T) {
	l := importer(t)
	if err := opened(t, l); err != nil {
		t.Fatal(err)
	}
	w := &onceWriter{f: func() { closeBatch(t, l) }}
	if err := l.Backup(t.Context(), w, nil); err != nil {
		t.Fatal(err)
	}
	if files := rowFiles(t, l); len(files) != 0 {
		t.Errorf("row files are %v after closing", files)
	}
	dir := t.TempDir()
	if err := Restore(t.Context(), dir, &w.Buffer, newTestKeys("a"), small(), nil); err != nil {
		t.Fatal(err)
	}
	restored := openWith(t, dir, newTestKeys("a"), newTestRows(), small())
	clean(t, restored)
	if files := rowFiles(t, restored); len(files) != 1 {
		t.Errorf("row files are %v in the restored ledger, want that of the open batch", files)
	}
}

package records

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"
	sst "github.com/dgraph-io/badger/v4/table"
)

// newestTable returns the table that the list of tables names last.
func newestTable(t *testing.T, store string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(store, badger.ManifestFilename))
	if err != nil {
		t.Fatal(err)
	}
	with, err1 := tablesOf(data)
	without, err2 := tablesOf(data[:lastRecord(data)])
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	for id := range with {
		if _, ok := without[id]; !ok {
			return sst.NewFilename(id, store)
		}
	}
	t.Fatal("the last record names no table")
	return ""
}

// TestATableThatWasTakenBackIsForgotten has a list that names a table whose log is
// still there, and then one whose log is not.
func TestATableThatWasTakenBackIsForgotten(t *testing.T) {
	dir := create(t)
	l := open(t, dir)
	put(t, l, 1)
	killed := t.TempDir() // with its log
	if err := os.CopyFS(killed, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil { // makes a table of the log
		t.Fatal(err)
	}
	store := filepath.Join(killed, "badger")
	list, err := os.ReadFile(filepath.Join(dir, "badger", badger.ManifestFilename))
	if err := errors.Join(err, os.WriteFile(filepath.Join(store, badger.ManifestFilename), list, 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(newestTable(t, store)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("table: %v, want it missing", err)
	}
	l = open(t, killed)
	if err := l.view(func(r reader) error {
		_, found, err := r.claimOwner(index(1))
		if !found {
			t.Error("claim 1 is not there")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(newestTable(t, filepath.Join(dir, "badger"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, newTestKeys("a"), nil, small()); !errors.Is(err, ErrBehind) {
		t.Errorf("open without the newest table: %v, want ErrBehind", err)
	}
}

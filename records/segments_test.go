package records

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// TestAnImportThatFailsOnAFullDiskRefusesNothing lets the disk fill up while an
// import competes, so far that nothing can be written at all.
func TestAnImportThatFailsOnAFullDiskRefusesNothing(t *testing.T) {
	l := importer(t)
	addBatch(t, l, batchRecord{Number: 5, Name: "G1", Product: "cam", Profile: [32]byte{1}, State: Opened, Kind: GeneratedBatch, Quota: 9})
	var full atomic.Bool
	l.space.free = func(string) (int64, error) { // the writer is idle
		if l.claims().pending != nil {
			full.Store(true)
		}
		if full.Load() {
			return 0, nil
		}
		return 1 << 40, nil
	}
	l.space.used = memTable // the next group may need a table
	if _, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows)); !errors.Is(err, ErrDiskFull) {
		t.Errorf("import says %v, want ErrDiskFull", err)
	}
	if l.claims().pending != nil {
		t.Error("the import is still pending")
	}
	if files := segmentFiles(t, l); len(files) != 0 {
		t.Errorf("files are %v, want none", files)
	}
	full.Store(false)
	settle(t, l, assign(t, l, sight(generated(), "X1", "H1"), "aaaaaa"), false)
	untouched(t, l, 1, 1)
}

func TestImportsAreMergedWithoutAFold(t *testing.T) {
	l := importer(t)
	l.opts.ChecksPerHour = 1000
	merged, writes := make(chan struct{}), 0
	l.imports.fault = func(step string, do func() error) error { // by the holder of imports.writing
		if step == "remove segment" {
			if writes++; writes == mergeFan {
				defer close(merged)
			}
		}
		return do()
	}
	for i := range mergeFan {
		n := string(rune('A' + i))
		admit(t, l, batchOf(camera(), "B"+n), "serial,admin,service\nS"+n+",AAAAA"+n+",BBBBB"+n+"\n")
	}
	<-merged
	if set := l.claims(); len(set.segments) != 1 {
		t.Errorf("%d segments, want one", len(set.segments))
	}
	untouched(t, l, 2*mergeFan, mergeFan)
}

// TestCloseWaitsForWhatAnImportWrites closes while a segment is written: when
// somebody else has the folder, nobody removes a file of that name.
func TestCloseWaitsForWhatAnImportWrites(t *testing.T) {
	l := importer(t)
	started := make(chan struct{})
	var removed atomic.Bool
	l.imports.fault = func(step string, do func() error) error {
		switch step {
		case "write segment":
			close(started)
			<-l.quit
		case "remove segment":
			defer removed.Store(true)
		}
		return do()
	}
	asked, commit := make(chan struct{}, 10), l.commitTxn
	l.commitTxn = func(txn *badger.Txn) error { // the writer is idle
		defer func() { asked <- struct{}{} }()
		return commit(txn)
	}
	done := make(chan error, 2)
	go func() { // waited for below
		_, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows))
		done <- err
	}()
	<-started
	<-asked
	go func() { // waited for below: it waits for the other one
		_, err := l.Import(t.Context(), batchOf(camera(), "B2"), strings.NewReader(fiveRows))
		done <- err
	}()
	<-asked
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if files := segmentFiles(t, l); !removed.Load() || len(files) > 0 {
		t.Errorf("after Close files are %v, want the import to have removed its own", files)
	}
	select {
	case l.imports.writing <- struct{}{}:
		t.Error("something can still be written after Close")
	default:
	}
	if err := l.beginWriting(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("who wants to write after Close hears %v, want %v", err, errClosed)
	}
	for range cap(done) {
		if err := <-done; !errors.Is(err, errClosed) {
			t.Errorf("import says %v, want %v", err, errClosed)
		}
	}
}

// TestAForeignFileNeverCostsASegment has names that count to a real segment's
// number.
func TestAForeignFileNeverCostsASegment(t *testing.T) {
	l := importer(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	foreign := []string{"01.seg", "1.seg.old", "notes"}
	for _, name := range foreign {
		if err := os.WriteFile(filepath.Join(l.dir, "segments", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l = openWith(t, l.dir, newTestKeys("a"), newTestRows(), small())
	untouched(t, l, 6, 3)
	files := segmentFiles(t, l)
	slices.Sort(files)
	if want := []string{"01.seg", "1.seg", "1.seg.old", "notes"}; !slices.Equal(files, want) {
		t.Errorf("files are %v, want %v", files, want)
	}
}

func TestAFoldOfNothingHidesNoLaterClaim(t *testing.T) {
	dir := create(t)
	l := openWith(t, dir, newTestKeys("a"), newTestRows(), never())
	if err := l.fold(t.Context()); err != nil {
		t.Fatal(err)
	}
	openBatch(t, l, generated(), 500)
	claimMany(t, l, 0, 3)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	claimedAll(t, openWith(t, dir, newTestKeys("a"), newTestRows(), never()), 0, 3)
}

// TestASegmentThatCantBeOpenedNowIsNotLost: the folder is not to be replaced by a
// backup for that.
func TestASegmentThatCantBeOpenedNowIsNotLost(t *testing.T) {
	l := importer(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	path := l.segmentPath(1)
	if err := errors.Join(os.Rename(path, path+"x"), os.Symlink("1.seg", path)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), l.dir, newTestKeys("a"), nil, small()); err == nil || errors.Is(err, ErrBehind) {
		t.Errorf("open says %v, want what the system says and no more", err)
	}
	if err := errors.Join(os.Remove(path), os.Rename(path+"x", path)); err != nil {
		t.Fatal(err)
	}
	untouched(t, openWith(t, l.dir, newTestKeys("a"), newTestRows(), small()), 6, 3)
}

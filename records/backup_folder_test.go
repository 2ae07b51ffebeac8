package records

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestABackupFolderIsRefused has one row for each folder that can't be trusted or
// isn't one. Nothing is written there.
func TestABackupFolderIsRefused(t *testing.T) {
	other := open(t, create(t))
	for _, tt := range []struct {
		name string
		make func(l *Ledger, dir string) (string, error)
		want string
	}{
		{"missing", func(_ *Ledger, dir string) (string, error) { return dir + "/x", nil }, "no such file or directory"},
		{"a file", func(_ *Ledger, dir string) (string, error) {
			return dir + "/x", os.WriteFile(dir+"/x", nil, 0o600)
		}, "not a directory"},
		{"the ledger", func(l *Ledger, _ string) (string, error) { return l.dir, nil }, "is in the ledger's"},
		{"in the ledger", func(l *Ledger, _ string) (string, error) {
			return l.dir + "/segments/../x", os.Mkdir(l.dir+"/x", 0o700)
		}, "is in the ledger's"},
		{"a link into the ledger", func(l *Ledger, dir string) (string, error) { return dir + "/x", os.Symlink(l.dir, dir+"/x") }, "is in the ledger's"},
		{"writable by a group", func(_ *Ledger, dir string) (string, error) { return dir, os.Chmod(dir, 0o770) }, "can be written by others"},
		{"writable by all", func(_ *Ledger, dir string) (string, error) { return dir, os.Chmod(dir, 0o777|os.ModeSticky) }, "can be written by others"},
		{"segments writable by all", func(_ *Ledger, dir string) (string, error) {
			return dir, errors.Join(os.Mkdir(dir+"/segments", 0o700), os.Chmod(dir+"/segments", 0o777))
		}, "can be written by others"},
		{"segments is a link", func(_ *Ledger, dir string) (string, error) { return dir, os.Symlink(t.TempDir(), dir+"/segments") }, "backups/segments: not a directory"},
		{"a segment is a link", func(l *Ledger, dir string) (string, error) {
			_, err := l.BackupInto(t.Context(), dir, 0, nil)
			_, segments := inFolder(t, dir)
			return dir, errors.Join(err, os.Remove(segments[0]), os.Symlink(l.segmentPath(1), segments[0]))
		}, "is no file, want a segment"},
		{"another ledger's", func(_ *Ledger, dir string) (string, error) {
			_, err := other.BackupInto(t.Context(), dir, 0, nil)
			return dir, err
		}, "is a backup of another ledger"},
		{"another backup runs", func(l *Ledger, dir string) (string, error) {
			f, err := l.openBackups(dir)
			if err == nil {
				t.Cleanup(func() { f.close() })
			}
			return dir, err
		}, "another backup is being written into"},
		{"lock is a link", func(_ *Ledger, dir string) (string, error) { return dir, os.Symlink("x", dir+"/lock") }, "too many levels of symbolic links"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := importer(t)
			admit(t, l, batchOf(camera(), "B1"), threeRows)
			dir, err := tt.make(l, folder(t))
			if err != nil {
				t.Fatal(err)
			}
			before, _ := inFolder(t, dir)
			b, err := l.BackupInto(t.Context(), dir, 0, nil)
			unwanted(t, err, tt.want)
			if after, _ := inFolder(t, dir); len(after) != len(before) || b.File != "" {
				t.Errorf("backups are %v, want %v; %+v", after, before, b)
			}
			clean(t, l)
		})
	}
}

func TestABackupThatFillsItsDiskIsRefusedAndLeavesNothing(t *testing.T) {
	l, dir := importer(t), folder(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	l.imports.fault = func(step string, do func() error) error {
		if step == "sync backup" {
			return unix.ENOSPC
		}
		return do()
	}
	_, err := l.BackupInto(t.Context(), dir, 0, nil)
	unwanted(t, err, "disk of "+dir+" is full")
	if left, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(left) != 2 {
		t.Errorf("folder has %v, want lock and segments", left)
	}
}

// TestABackupLeavesTheLedgerItsRoom has both on one disk that is nearly full.
func TestABackupLeavesTheLedgerItsRoom(t *testing.T) {
	l, dir := importer(t), folder(t)
	copied(l)
	addBatch(t, l, batchRecord{Number: 1, Name: "B1", Product: "camera", State: Opened, Kind: ImportedBatch,
		Imports: []importRecord{{First: 1, Rows: 1, Admitted: true, Applied: true, Object: "x"}}})
	if err := os.MkdirAll(filepath.Join(l.dir, "rows"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(l.dir, "rows", "1.rows"), rowsOfTest, 0o600); err != nil {
		t.Fatal(err)
	}
	l.space.free = func(string) (int64, error) { return l.space.low() + tableRoom, nil } // the writer is idle
	_, err := l.BackupInto(t.Context(), dir, 0, nil)
	if !errors.Is(err, ErrDiskFull) {
		t.Errorf("backup: %v, want ErrDiskFull", err)
	}
}

func TestABackupIntoAFolderCountsWhatItWrites(t *testing.T) {
	l, dir := importer(t), folder(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	copied(l)
	var most int64
	b, err := l.BackupInto(t.Context(), dir, 0, func(done int64) { most = max(most, done) })
	if err != nil {
		t.Fatal(err)
	}
	_, segments := inFolder(t, dir)
	var size int64
	for _, name := range append(segments, b.File) {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if b.Bytes != size || most == 0 || most > size {
		t.Errorf("%d bytes, progress up to %d, want %d", b.Bytes, most, size)
	}
	var done, total int64
	if err := RestoreFile(t.Context(), t.TempDir(), b.File, newTestKeys("a"), small(), func(d, of int64) { done, total = d, of }); err != nil {
		t.Fatal(err)
	}
	if total != size || done == 0 || done > size {
		t.Errorf("restore says %d of %d, want of %d", done, total, size)
	}
}

// TestABackupIntoAFolderIsOfOneMoment backs up while devices are sealed, and claims
// folded and merged, all the time.
func TestABackupIntoAFolderIsOfOneMoment(t *testing.T) {
	l, dir := openWith(t, create(t), newTestKeys("a"), newTestRows(), tiny()), folder(t)
	openBatch(t, l, generated(), 1_000_000)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
				if _, err := trySeal(t, l, sight(generated(), fmt.Sprint("SN", n), fmt.Sprint("H", n)), fmt.Sprint("PASSWORD-", n)); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	fresh := 0
	for range 5 {
		b := into(t, l, dir, 2)
		fresh += b.Linked + b.Copied
		backups, _ := inFolder(t, dir)
		for _, name := range backups {
			clean(t, restored(t, name, l.rows))
		}
	}
	close(stop)
	wg.Wait()
	if fresh < 2 {
		t.Errorf("%d segments in five backups, want some that were folded meanwhile", fresh)
	}
}

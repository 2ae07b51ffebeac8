package records

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestADamagedTableIsAnError flips bits where Badger, left to itself, would end
// the process.
func TestADamagedTableIsAnError(t *testing.T) {
	from := create(t)
	l := open(t, from)
	openBatch(t, l, generated(), 10)
	seal(t, l, sight(generated(), "SN1", "H1"), "PASSWORD-1")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]func(size int64) int64{
		"first block":                       func(int64) int64 { return 20 },
		"length of the checksum, high byte": func(size int64) int64 { return size - 4 },
		"length of the checksum, low byte":  func(size int64) int64 { return size - 1 },
		"checksum":                          func(size int64) int64 { return size - 6 },
		"index":                             func(size int64) int64 { return size - 40 },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			copyLedger(t, from, dir)
			tables, err := filepath.Glob(filepath.Join(dir, "badger", "*.sst"))
			if err != nil || len(tables) == 0 {
				t.Fatalf("tables: %v, %v", tables, err)
			}
			last := tables[len(tables)-1]
			b, err := os.ReadFile(last)
			if err != nil {
				t.Fatal(err)
			}
			b[place(int64(len(b)))] ^= 0x80
			if err := os.WriteFile(last, b, 0o600); err != nil {
				t.Fatal(err)
			}
			l, err := Open(t.Context(), dir, newTestKeys("a"), nil, small())
			if err == nil {
				l.Close()
			}
			if !errors.Is(err, ErrBehind) || !strings.Contains(err.Error(), "table "+filepath.Base(last)+" is damaged") {
				t.Errorf("open: %v, want ErrBehind that names the table", err)
			}
		})
	}
}

// TestTablesOfACrashAreNoConcern leaves half a table that Badger doesn't know.
func TestTablesOfACrashAreNoConcern(t *testing.T) {
	dir := create(t)
	if err := os.WriteFile(filepath.Join(dir, "badger", "000099.sst"), make([]byte, 100), 0o600); err != nil {
		t.Fatal(err)
	}
	clean(t, open(t, dir))
}

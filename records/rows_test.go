package records

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// rowFiles lists the files in the rows folder.
func rowFiles(t testing.TB, l *Ledger) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(l.dir, "rows"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestARowOpensOnlyWhereItWasSealed changes a row file in every byte.
func TestARowOpensOnlyWhereItWasSealed(t *testing.T) {
	l := importer(t)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	path := filepath.Join(l.dir, "rows", "1.rows")
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"AAAAAA", "BBBBBB", "eeeeee"} {
		if bytes.Contains(good, []byte(value)) {
			t.Errorf("row file holds %s in clear", value)
		}
	}
	want := map[string]string{"admin": "CCCCCC", "service": "DDDDDD"}
	opened := 0
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 1
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		values, err := l.openRow(t.Context(), 1, 2)
		if err != nil {
			if strings.Contains(err.Error(), "CCCCCC") {
				t.Fatalf("byte %d: %v shows the value", at, err)
			}
			continue
		}
		opened++
		for name, v := range values {
			if string(v.Bytes()) != want[name] {
				t.Fatalf("byte %d: row 2 holds another value", at)
			}
			v.Close()
		}
	}
	if opened == 0 || opened > len(good)*3/4 {
		t.Errorf("row 2 opened with %d of %d bytes changed, want those of other rows and the header only", opened, len(good))
	}
	// Rows that change places don't open.
	table := len(good) - 24
	swapped := append(bytes.Clone(good[:table]), append(bytes.Clone(good[table+8:table+16]), append(bytes.Clone(good[table:table+8]), good[table+16:]...)...)...)
	if err := os.WriteFile(path, swapped, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.openRow(t.Context(), 1, 2); err == nil {
		t.Error("row 1 opened in the place of row 2")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := l.openRow(t.Context(), 1, 2); err == nil {
		t.Error("a row opened without its file")
	}
}

func TestBoxesHideTheLengthsOfValues(t *testing.T) {
	l := importer(t)
	p := camera()
	p.Credentials[1].Check, p.Credentials[2].Check = nil, nil
	admit(t, l, batchOf(p, "B1"), "serial,admin,service\nSN1,A,B\nSN2,AAAAAAAAAAAAAAA,BBBBBBBBBBBBBBBBBBBB\n")
	b, err := l.batchRecords()
	if err != nil {
		t.Fatal(err)
	}
	var sizes []int
	for row := 1; row <= 2; row++ {
		_, sealed, err := l.readRow(1, &b[0].Imports[0], row)
		if err != nil {
			t.Fatal(err)
		}
		sizes = append(sizes, len(sealed))
	}
	if sizes[0] != sizes[1] || sizes[0] != rowPad+16 {
		t.Errorf("boxes have %d bytes, want %d each", sizes, rowPad+16)
	}
}

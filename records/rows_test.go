package records

import (
	"bytes"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
		if at%16 != 0 {
			// Verify finds every one; a sample will do
		} else if c, err := l.Verify(t.Context(), nil); err != nil || len(c.Problems) != 1 || !strings.HasPrefix(c.Problems[0], "rows of batch B1: ") {
			t.Fatalf("byte %d: Verify = %q, %v, want the row file named", at, c.Problems, err)
		}
		values, err := l.openRow(t.Context(), 1, 2, "SN2")
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
	if _, err := l.openRow(t.Context(), 1, 2, "SN2"); err == nil {
		t.Error("row 1 opened in the place of row 2")
	}
	if err := os.WriteFile(path, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := l.openRow(t.Context(), 1, 2, "SN1"); err == nil {
		t.Error("row 2 opened for the device of row 1")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := l.openRow(t.Context(), 1, 2, "SN2"); err == nil {
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

func TestEveryRowHasItsOwnNonceAndItsOwnPlace(t *testing.T) {
	l := importer(t)
	seen := map[string]string{}
	for _, batch := range []uint32{1, 2} {
		w, err := l.createRows(t.Context(), batch, 1)
		if err != nil {
			t.Fatal(err)
		}
		for row := range 300 {
			for _, serial := range []string{"S1", "S2"} {
				nonce, about := w.box.terms(row, []byte(serial))
				if where := fmt.Sprint(batch, row); seen[string(nonce)+fmt.Sprint(batch)] != "" && seen[string(nonce)+fmt.Sprint(batch)] != where {
					t.Fatalf("row %d has the nonce of another", row)
				} else {
					seen[string(nonce)+fmt.Sprint(batch)] = where
				}
				if at := fmt.Sprint(batch, row, serial); seen[string(about)] != "" {
					t.Fatalf("%s has the associated data of %s", at, seen[string(about)])
				} else {
					seen[string(about)] = at
				}
			}
		}
		if err := w.discard(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNoFileHoldsAValueOrItsDigest looks for what was imported and rejected in
// everything that the ledger leaves on disk.
func TestNoFileHoldsAValueOrItsDigest(t *testing.T) {
	dir := create(t)
	l := openWith(t, dir, newTestKeys("a"), newTestRows(), small())
	p := camera()
	p.Credentials[1].Check, p.Credentials[2].Check = nil, nil
	values := []string{"CANARY-ONE-4711", "CANARY-TWO-4712", "CANARY-THREE-4713", "CANARY-FOUR-4714"}
	admit(t, l, batchOf(p, "B1"), "serial,admin,service\nSN1,"+values[0]+","+values[1]+"\n")
	a := reject(t, l, batchOf(p, "B2"), "serial,admin,service\nSN2,"+values[0]+","+values[2]+"\n"+values[3]+"!,x,y\n")
	_, err := l.Import(t.Context(), batchOf(p, "B3"), strings.NewReader("serial,admin,service\nSN2,"+values[2]+"\n"))
	disk := bytes.NewBufferString(fmt.Sprintf("%+v %v", a, err))
	if err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || e.Name() == "ballast" {
			return err
		}
		b, err := os.ReadFile(path)
		disk.Write(b)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for _, v := range values {
		canon, err := appendCanonical(nil, Text, []byte(v))
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range [][]byte{[]byte(v), canon} {
			sha, md := sha256.Sum256(form), md5.Sum(form)
			for _, trace := range [][]byte{form, sha[:16], md[:], []byte(hex.EncodeToString(sha[:8])), []byte(hex.EncodeToString(md[:8]))} {
				if bytes.Contains(disk.Bytes(), trace) {
					t.Errorf("%s was found as %q", v, trace)
				}
			}
		}
	}
	if !bytes.Contains(disk.Bytes(), []byte("SN1")) {
		t.Error("the serial wasn't found either: the search finds nothing")
	}
}

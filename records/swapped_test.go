package records

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestSwappedColumnsShowAndStoreNoPassword imports a file whose header names the
// passwords serial: some look like one, one is there twice, one is a known device's.
func TestSwappedColumnsShowAndStoreNoPassword(t *testing.T) {
	l := importer(t)
	admit(t, l, batchOf(camera(), "B1"), "serial,admin,service\nGEHEIM3,AAAAAA,BBBBBB\n")
	var stored []byte
	l.imports.fault = func(step string, do func() error) error {
		if step == "destroy row key" {
			var err error
			if stored, err = os.ReadFile(filepath.Join(l.dir, "rows", "2.rows.part")); err != nil {
				t.Error(err)
			}
		}
		return do()
	}
	a := reject(t, l, batchOf(camera(), "B2"), "admin,serial,service\nSN71,GEHEIM1,BBBBBB\nSN72,GEHEIM1,HHHHHH\nSN73,GEHEIM3,IIIIII\nSN74,GEHEIM!,JJJJJJ\n")
	expect(t, a, 8,
		"1  admin C-FORMAT: value has 4 characters, want 6", "1  service C-UNIQ: batch B1 row 1 service",
		"2   SERIAL: row 1 of the same file", "2  admin C-FORMAT: value has 4 characters, want 6",
		"3   SERIAL: batch B1 row 1: device is waiting", "3  admin C-FORMAT: value has 4 characters, want 6",
		"4   SERIAL: serial has another character than A-Z, a-z, 0-9 and - _ . : /", "4  admin C-FORMAT: value has 4 characters, want 6")
	if answer, err := json.Marshal(a); err != nil || bytes.Contains(answer, []byte("GEHEIM")) {
		t.Errorf("answer is %s, %v, want no value in it", answer, err)
	}
	if len(stored) == 0 || bytes.Contains(stored, []byte("GEHEIM")) {
		t.Errorf("row file of %d bytes holds a value in clear, or nobody looked", len(stored))
	}
}

package records

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// oldLedger lays out a ledger that a program of schema 1 made: an imported batch
// with a sealed, a burned and a waiting device, a batch of a product scope, history, a
// generated batch, a rejected one, and an import that was cut off.
func oldLedger(t *testing.T) (dir string, rows *testRows) {
	t.Helper()
	f, err := os.Open("testdata/schema1/ledger.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, data, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	rows = newTestRows()
	keys, err := os.ReadFile("testdata/schema1/row-keys.json")
	if err := errors.Join(err, json.Unmarshal(keys, &rows.keys)); err != nil {
		t.Fatal(err)
	}
	return dir, rows
}

// later is the clock of a test that opens the old ledger.
func later() Options {
	o := small()
	o.Now = func() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }
	return o
}

// migrated checks that the old ledger is of the present schema and whole.
func migrated(t *testing.T, dir string, rows *testRows) {
	t.Helper()
	l := openWith(t, dir, newTestKeys("a"), rows, later())
	clean(t, l)
	if l.meta.Schema != schema || l.head.head.schema != schema {
		t.Errorf("schema is %d, of the head %d, want %d", l.meta.Schema, l.head.head.schema, schema)
	}
	left := 0
	if err := l.view(func(r reader) error {
		return errors.Join(
			r.keys([]byte{keyClaim}, func([]byte) error { left++; return nil }),
			r.keys(deviceKey("camera", "U"), func([]byte) error { left++; return nil }))
	}); err != nil || left > 0 {
		t.Errorf("%d keys of schema 1 are left, %v", left, err)
	}
	untouched(t, l, 14, 7)
	for serial, want := range map[string]DeviceState{"SN1": Sealed, "SN2": Waiting, "SN3": Burned, "X1": Sealed, "X2": Burned, "L1": Waiting} {
		if d := device(t, l, serial); d.State != want {
			t.Errorf("device %s is %s, want %s", serial, d.State, want)
		}
	}
	holds(t, l, 1, 2, map[string]string{"admin": "CCCCCC", "service": "DDDDDD"})
	expect(t, reject(t, l, batchOf(camera(), "N1"), "serial,admin,service\nN1,EEEEEE,OLDBBB\nN2,genaaa,N22222\nSN2,N33333,N44444\n"), 4,
		"1 N1 admin C-UNIQ: batch B1 row 3 admin", "1 N1 service C-UNIQ: batch H1 row 1 service",
		"2 N2 admin C-UNIQ: batch G1 serial X1 admin", "3 SN2  SERIAL: batch B1 row 2: device is waiting")
	if b, err := l.Batch(t.Context(), "B9"); err != nil || b.State != Rejected {
		t.Errorf("the import that was cut off is %+v, %v, want it rejected", b, err)
	}
	admit(t, l, batchOf(camera(), "B9"), "serial,admin,service\nU1,U00001,V00001\nU2,U00002,V00002\n")
	if files := rowFiles(t, l); len(files) != 3 {
		t.Errorf("row files are %v, want those of B1, D1 and B9", files)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestALedgerOfSchema1IsMigrated(t *testing.T) {
	dir, rows := oldLedger(t)
	migrated(t, dir, rows)
}

// TestAMigrationKilledAnywhereIsDoneAtTheNextOpen kills it after each durable step.
func TestAMigrationKilledAnywhereIsDoneAtTheNextOpen(t *testing.T) {
	for _, kept := range []bool{false, true} {
		for n := 1; ; n++ {
			dir, rows := oldLedger(t)
			k := &killer{left: n, kept: kept}
			if err := migrateUnder(t, dir, rows, k); (err == nil) != (k.last == "") {
				t.Fatalf("step %d (%s), kept %v: migrate says %v", n, k.last, kept, err)
			}
			migrated(t, dir, rows)
			if t.Failed() {
				t.Fatalf("step %d (%s), kept %v; the steps were %s", n, k.last, kept, strings.Join(k.steps, ", "))
			}
			if k.last == "" {
				if n < 7 {
					t.Errorf("migration has %d steps, want at least 6: %s", n-1, strings.Join(k.steps, ", "))
				}
				break
			}
		}
	}
}

// migrateUnder opens a ledger as far as its migration.
func migrateUnder(t *testing.T, dir string, rows RowKeys, k *killer) error {
	t.Helper()
	l, err := enter(dir, headName, later())
	if err != nil {
		t.Fatal(err)
	}
	l.keys, l.rows = newTestKeys("a"), rows
	if err := l.check(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.aim(l)
	l.start()
	if err = l.sweepSegments(t.Context()); err == nil {
		err = l.migrate(t.Context())
	}
	return errors.Join(err, l.Close())
}

package records

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// backup returns a backup of l.
func backup(t testing.TB, l *Ledger) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := l.Backup(t.Context(), &b, nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func restoreFrom(t testing.TB, b []byte) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := Restore(t.Context(), dir, bytes.NewReader(b), newTestKeys("a"), small(), nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rowsOfTest stands for a row file of more than one frame.
var rowsOfTest = bytes.Repeat([]byte("x"), 3*rowPart+5)

// waiting puts a device with an imported row that waits.
func waiting(t testing.TB, l *Ledger, serial string, row int) {
	t.Helper()
	if err := l.commit(t.Context(), func(t *txn) error {
		b, err := getBatch(t, 1)
		b.Rows = max(b.Rows, row)
		b.Imports = []importRecord{{First: 1, Rows: b.Rows, Admitted: true, Applied: true, Object: "test", Size: int64(len(rowsOfTest)), Sum: sha256.Sum256(rowsOfTest)}}
		putBatch(t, b)
		return errors.Join(err, putDevice(t, standing{}, &Device{Product: "cam", Serial: serial, State: Waiting, Batch: "B1", Row: row}))
	}); err != nil {
		t.Fatal(err)
	}
}

// TestARestoredLedgerDistrustsItself restores while the world went on.
func TestARestoredLedgerDistrustsItself(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 10)
	seal(t, l, Sight{Product: p, Counter: "AC%d", HardwareID: "H1"}, "PASSWORD-1")
	a := assign(t, l, sight(p, "SN2", "H2"), "PASSWORD-2")
	mark(t, l, a, Injecting, Labelling, Locking)
	waiting(t, l, "SN3", 1)
	waiting(t, l, "SN4", 2)
	rows := filepath.Join(l.dir, "rows")
	if err := errors.Join(os.Mkdir(rows, 0o700), os.WriteFile(filepath.Join(rows, "1.rows"), rowsOfTest, 0o600)); err != nil {
		t.Fatal(err)
	}
	b := backup(t, l)

	dir := restoreFrom(t, b)
	l = open(t, dir)
	if c := clean(t, l); c.Epoch < 1 || c.Claims != 2 || c.Open != 0 {
		t.Errorf("epoch %d, %d claims, %d open, want 1 or more, 2, 0", c.Epoch, c.Claims, c.Open)
	}
	states := func() string {
		var s []string
		if err := l.Devices(t.Context(), "", func(d Device) bool { s = append(s, d.Serial+" "+string(d.State)); return true }); err != nil {
			t.Fatal(err)
		}
		return strings.Join(s, ", ")
	}
	if got, want := states(), "AC1 sealed, SN2 burned, SN3 frozen, SN4 frozen"; got != want {
		t.Errorf("restored: %s, want %s", got, want)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "rows", "1.rows")); err != nil || !bytes.Equal(got, rowsOfTest) {
		t.Errorf("row file has %d bytes, %v, want %d", len(got), err, len(rowsOfTest))
	}
	if _, err := tryAssign(t, l, Sight{Product: p, Counter: "AC%d", HardwareID: "H9"}, "PASSWORD-9"); !errors.Is(err, ErrRefused) {
		t.Errorf("counter after a restore: %v, want a refusal", err)
	}
	if _, err := tryAssign(t, l, sight(p, "SN9", "H9"), "PASSWORD-1"); !errors.Is(err, ErrReused) {
		t.Errorf("a credential from before: %v, want ErrReused", err)
	}

	if _, _, err := l.Thaw(t.Context(), p.ID, nil, Actor{}); !errors.Is(err, ErrRefused) {
		t.Errorf("thaw by anyone: %v, want a refusal", err)
	}
	freed, burnt, err := l.Thaw(t.Context(), p.ID, []string{"SN3", "AC2", "SN2"}, Actor{Supervisor: true})
	if freed != 1 || burnt != 1 || err != nil {
		t.Errorf("thaw freed %d and burned %d, %v, want 1 and 1", freed, burnt, err)
	}
	if got, want := states(), "AC1 sealed, AC2 sealed, SN2 sealed, SN3 burned, SN4 waiting"; got != want {
		t.Errorf("thawed: %s, want %s", got, want)
	}
	a = assign(t, l, Sight{Product: p, Counter: "AC%d", HardwareID: "H9"}, "PASSWORD-9")
	if want := fmt.Sprintf("%d-3", l.meta.Epoch); a.Serial != "AC3" || a.Label != want {
		t.Errorf("next device is %s with label %s, want AC3, because AC2 was made elsewhere, and %s", a.Serial, a.Label, want)
	}
	settle(t, l, a, false)
	clean(t, l)
}

// TestAProductNewerThanTheBackupIsNotNumberedAgain: the backup knows nothing of it.
func TestAProductNewerThanTheBackupIsNotNumberedAgain(t *testing.T) {
	l := open(t, restoreFrom(t, backup(t, open(t, create(t)))))
	p := generated()
	openBatch(t, l, p, 10)
	s := Sight{Product: p, Counter: "AC%d", HardwareID: "H1"}
	if _, err := tryAssign(t, l, s, "PASSWORD-1"); !errors.Is(err, ErrRefused) {
		t.Errorf("first serial after a restore: %v, want a refusal until the provisioned ones are known", err)
	}
	if _, _, err := l.Thaw(t.Context(), p.ID, []string{"AC1"}, Actor{Supervisor: true}); err != nil {
		t.Fatal(err)
	}
	if a := assign(t, l, s, "PASSWORD-1"); a.Serial != "AC2" {
		t.Errorf("first serial is %s, want AC2, because AC1 was made elsewhere", a.Serial)
	}
}

func TestTwoRestoresOfOneBackupHaveDifferentEpochs(t *testing.T) {
	day := time.Date(2026, time.November, 23, 0, 0, 0, 0, time.UTC)
	first, week := nextEpoch(0, day), nextEpoch(0, day.AddDate(0, 0, 7))
	if first == week || first < 1 {
		t.Errorf("epochs are %d and, a week later, %d, want two", first, week)
	}
	if got := nextEpoch(first, day); got != first+1 {
		t.Errorf("epoch after %d in the same minute is %d, want the next", first, got)
	}
	if got := nextEpoch(0, time.Unix(0, 0)); got != 1 {
		t.Errorf("epoch with a clock that was never set is %d, want 1", got)
	}
}

func TestABackupIsOfOneMoment(t *testing.T) {
	l := open(t, create(t))
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
	for range 3 {
		clean(t, open(t, restoreFrom(t, backup(t, l))))
	}
	close(stop)
	wg.Wait()
}

// TestRestoreRefuses has one row for each thing that can be wrong. Nothing that
// was refused can be opened.
func TestRestoreRefuses(t *testing.T) {
	l := open(t, create(t))
	openBatch(t, l, generated(), 10)
	seal(t, l, sight(generated(), "SN1", "H1"), "PASSWORD-1")
	good := backup(t, l)
	flipped := func(at int) []byte {
		b := bytes.Clone(good)
		b[at] ^= 1
		return b
	}
	var newer bytes.Buffer
	h := backupHeader{Version: backupVersion, Meta: l.meta}
	h.Meta.Schema++
	o := &backupWriter{ctx: t.Context(), w: &newer, hash: sha256.New()}
	if err := errors.Join(o.put([]byte(backupMagic)), o.frame(frameHeader, nil, encode(h))); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		backup []byte
		keys   Keys
		want   string
	}{
		{"empty", nil, newTestKeys("a"), "cut short"},
		{"something else", bytes.Repeat([]byte("x"), 1000), newTestKeys("a"), "not a backup"},
		{"cut in the middle", good[:len(good)/2], newTestKeys("a"), "cut short"},
		{"cut before the checksum", good[:len(good)-32], newTestKeys("a"), "cut short"},
		{"checksum changed", flipped(len(good) - 1), newTestKeys("a"), "checksum is wrong"},
		{"a byte changed", flipped(len(good) - 100), newTestKeys("a"), "damaged"},
		{"newer schema", newer.Bytes(), newTestKeys("a"), "newer schema"},
		{"wrong key", good, newTestKeys("b"), "index key is not this ledger's"},
		{"wrong key, which is told before the rest is read", good[:len(good)/2], newTestKeys("b"), "index key is not this ledger's"},
		{"a huge frame", append([]byte(backupMagic), frameHeader, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), newTestKeys("a"), "a frame of 4294967295 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			err := Restore(t.Context(), dir, bytes.NewReader(tt.backup), tt.keys, small(), nil)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("restore: %v, want %q", err, tt.want)
			}
			if l, err := Open(t.Context(), dir, newTestKeys("a"), nil, small()); err == nil {
				t.Error("what was refused can be opened")
				l.Close()
			}
		})
	}
}

func TestRestoreWantsAnEmptyFolder(t *testing.T) {
	l := open(t, create(t))
	b := backup(t, l)
	err := Restore(t.Context(), l.dir, bytes.NewReader(b), newTestKeys("a"), small(), nil)
	if err == nil || !strings.Contains(err.Error(), "want an empty one") {
		t.Errorf("restore over a ledger: %v, want a refusal", err)
	}
}

// TestRowsThatWaitSurviveARestore takes an imported batch through backup,
// restore and thaw to a sealed device.
func TestRowsThatWaitSurviveARestore(t *testing.T) {
	rows := newTestRows()
	l := openWith(t, create(t), newTestKeys("a"), rows, small())
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	if _, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "B1"}); err != nil {
		t.Fatal(err)
	}
	try(t, l, "SN1", "H1", false, Injecting) // kept for H1
	try(t, l, "SN3", "H3", true, Injecting, Locking)
	order(t, l, "SN3", Reprovision)
	b := backup(t, l)
	for _, value := range []string{"AAAAAA", "DDDDDD", "eeeeee", "EEEEEE"} {
		if bytes.Contains(b, []byte(value)) {
			t.Errorf("the backup holds the value %s", value)
		}
	}

	l = openWith(t, restoreFrom(t, b), newTestKeys("a"), rows, small())
	cannot(t, l, "SN1", "H1", "its row is frozen, because the ledger was restored")
	cannot(t, l, "SN2", "H2", "its row is frozen, because the ledger was restored")
	if d := device(t, l, "SN3"); d.Rework != nil {
		t.Errorf("order of rework is %+v, want it gone: it may have been carried out", d.Rework)
	}
	if _, _, err := l.Thaw(t.Context(), "camera", nil, Actor{Supervisor: true}); err != nil {
		t.Fatal(err)
	}
	if d := device(t, l, "SN1"); d.State != Kept {
		t.Errorf("SN1 is %s after thawing, want kept as before", d.State)
	}
	cannot(t, l, "SN1", "H7", "serial is bound to another hardware id")
	for _, serial := range []string{"SN1", "SN2"} {
		if got := try(t, l, serial, "H"+serial[2:], true, Injecting, Locking); got != Sealed {
			t.Errorf("%s is %s, want sealed", serial, got)
		}
	}
	clean(t, l)
}

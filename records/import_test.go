package records

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"mintmark/hsm/secret"
)

// testRows keeps row keys in memory, as an authority that outlives the ledger.
type testRows struct {
	mu     sync.Mutex
	keys   map[string][]byte
	away   error // answers nothing but this
	cannot bool  // destroy a key beyond recovery
}

func newTestRows() *testRows { return &testRows{keys: map[string][]byte{}} }

func (r *testRows) NewRowKey(_ context.Context, object string) (*secret.Value, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away != nil || r.keys[object] != nil {
		return nil, nil, errors.Join(r.away, errors.New("no new key"))
	}
	k := make([]byte, 32)
	rand.Read(k)
	r.keys[object] = k
	return secret.Join(k), []byte("wrapped by " + object), nil
}

func (r *testRows) RowKey(_ context.Context, object string, wrapped []byte) (*secret.Value, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away != nil || r.keys[object] == nil || string(wrapped) != "wrapped by "+object {
		return nil, errors.Join(r.away, errors.New("no such key"))
	}
	return secret.Join(r.keys[object]), nil
}

func (r *testRows) Shred(_ context.Context, object string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away != nil {
		return false, r.away
	}
	delete(r.keys, object)
	return !r.cannot, nil
}

func (r *testRows) left() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys)
}

// openWith opens a ledger with an authority for row keys.
func openWith(t testing.TB, dir string, keys Keys, rows RowKeys, o Options) *Ledger {
	t.Helper()
	l, err := Open(t.Context(), dir, keys, rows, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func importer(t testing.TB) *Ledger {
	t.Helper()
	return openWith(t, create(t), newTestKeys("a"), newTestRows(), small())
}

// camera has two imported credentials and a generated one.
func camera() Product {
	length := func(want int) func([]byte) error {
		return func(v []byte) error {
			if len(v) != want {
				return fmt.Errorf("value has %d characters, want %d", len(v), want)
			}
			return nil
		}
	}
	return Product{ID: "camera", Profile: [32]byte{7}, Credentials: []Spec{
		{Name: "wifi", Kind: WifiPSK, Origin: Generated, Bits: 90},
		{Name: "admin", Kind: LoginPassword, Origin: Imported, Bits: 65, Check: length(6)},
		{Name: "service", Kind: LoginPassword, Origin: Imported, Bits: 65, Check: length(6)},
	}}
}

// lock has one small code that is unique within the product only.
func lock(id string) Product {
	return Product{ID: id, Profile: [32]byte{8}, Credentials: []Spec{
		{Name: "code", Kind: PIN, Origin: Imported, Bits: 26.6, ProductScope: true},
	}}
}

func batchOf(p Product, name string) ImportRequest {
	return ImportRequest{Product: p, Batch: name, Actor: Actor{Name: "ann", UID: 1000}}
}

func admit(t testing.TB, l *Ledger, r ImportRequest, file string) Admission {
	t.Helper()
	a, err := l.Import(t.Context(), r, strings.NewReader(file))
	if err != nil {
		t.Fatalf("import %s: %v, %+v", r.Batch, err, a.Violations)
	}
	return a
}

func reject(t testing.TB, l *Ledger, r ImportRequest, file string) Admission {
	t.Helper()
	a, err := l.Import(t.Context(), r, strings.NewReader(file))
	if !errors.Is(err, ErrRejected) || a.State != Rejected {
		t.Fatalf("import %s: %v, %+v, want it rejected", r.Batch, err, a)
	}
	return a
}

func refused(t testing.TB, err error, want string) {
	t.Helper()
	if !errors.Is(err, ErrRefused) || err.Error() != want {
		t.Errorf("got %v, want a refusal: %s", err, want)
	}
}

// says lists violations in few words.
func says(a Admission) (lines []string) {
	for _, v := range a.Violations {
		line := fmt.Sprintf("%d %s %s %s", v.Row, v.Serial, v.Credential, v.Rule)
		if v.First != nil {
			line += ": " + v.First.String()
			if v.First.Credential != "" {
				line += " " + v.First.Credential
			}
		}
		if v.Text != "" {
			line += ": " + v.Text
		}
		lines = append(lines, line)
	}
	return lines
}

func expect(t testing.TB, a Admission, total int, want ...string) {
	t.Helper()
	if got := says(a); a.Total != total || strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("%d violations:\n%s\nwant %d:\n%s", a.Total, strings.Join(got, "\n"), total, strings.Join(want, "\n"))
	}
}

const threeRows = "serial,admin,service\nSN1,AAAAAA,BBBBBB\nSN2,CCCCCC,DDDDDD\nSN3,eeeeee,ffffff\n"

// untouched checks that the ledger has nothing but what it should.
func untouched(t testing.TB, l *Ledger, claims int64, devices int) {
	t.Helper()
	c := clean(t, l)
	if c.Claims != claims || c.Devices != devices {
		t.Errorf("%d claims and %d devices, want %d and %d", c.Claims, c.Devices, claims, devices)
	}
}

func TestImportAdmitsAFileWhole(t *testing.T) {
	l := importer(t)
	var read int64
	r := batchOf(camera(), "B1")
	r.Progress = func(n int64) { read = n }
	got := admit(t, l, r, threeRows)
	if want := (Admission{Batch: "B1", State: Admitted, Devices: 3, Credentials: 6, Scope: "this ledger"}); !reflect.DeepEqual(got, want) {
		t.Errorf("admission is %+v, want %+v", got, want)
	}
	if read != int64(len(threeRows)) {
		t.Errorf("progress ended at %d, want %d", read, len(threeRows))
	}
	b, err := l.Batch(t.Context(), "B1")
	want := Batch{
		Number: 1, Name: "B1", Product: "camera", Profile: [32]byte{7}, State: Admitted, Kind: ImportedBatch, Quota: 3,
		Devices: 3, Claims: 6, By: "ann", Created: b.Created, Waiting: 3,
	}
	if err != nil || !reflect.DeepEqual(b, want) {
		t.Errorf("batch is %+v, %v, want %+v", b, err, want)
	}
	d, err := l.Device(t.Context(), "camera", "SN2")
	if err != nil || d.State != Waiting || d.Batch != "B1" || d.Row != 2 {
		t.Errorf("device is %+v, %v, want it waiting with row 2", d, err)
	}
	holds(t, l, 1, 3, map[string]string{"admin": "eeeeee", "service": "ffffff"})
	untouched(t, l, 6, 3)
}

// holds checks what a row decrypts to.
func holds(t testing.TB, l *Ledger, batch uint32, row int, want map[string]string) {
	t.Helper()
	var b *batchRecord
	if err := l.view(func(r reader) (err error) { b, err = getBatch(r, batch); return err }); err != nil {
		t.Fatal(err)
	}
	serial, _, err := l.readRow(batch, b.importOf(row), row)
	if err != nil {
		t.Fatal(err)
	}
	values, err := l.openRow(t.Context(), batch, row, string(serial))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for name, v := range values {
		got[name] = string(v.Bytes())
		v.Close()
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("row %d holds %v, want %v", row, got, want)
	}
}

// TestImportRejects has one file for each thing that can be wrong with rows.
func TestImportRejects(t *testing.T) {
	const head = "serial,admin,service\n"
	for _, tt := range []struct {
		name, file string
		total      int
		want       []string
	}{
		{"reuse of another batch", head + "SN7,GGGGGG,HHHHHH\nSN8,CCCCCC,IIIIII\n", 1, []string{"2 SN8 admin C-UNIQ: batch B1 row 2 admin"}},
		{"reuse under another credential", head + "SN7,DDDDDD,HHHHHH\n", 1, []string{"1 SN7 admin C-UNIQ: batch B1 row 2 service"}},
		{"reuse in other case", head + "SN7,cccccc,EEEEEE\n", 2, []string{"1 SN7 admin C-UNIQ: batch B1 row 2 admin", "1 SN7 service C-UNIQ: batch B1 row 3 admin"}},
		{"twice in the file", head + "SN7,GGGGGG,HHHHHH\nSN8,IIIIII,gggggg\nSN9,GGGGGG,JJJJJJ\n", 2,
			[]string{"2 SN8 service C-UNIQ: row 1 of the same file admin", "3 SN9 admin C-UNIQ: row 1 of the same file admin"}},
		{"equal in a row", head + "SN7,GGGGGG,gggggg\n", 1, []string{"1 SN7 service C-UNIQ: row 1 of the same file admin"}},
		{"reused and twice", head + "SN7,CCCCCC,HHHHHH\nSN8,CCCCCC,IIIIII\n", 2,
			[]string{"1 SN7 admin C-UNIQ: batch B1 row 2 admin", "2 SN8 admin C-UNIQ: batch B1 row 2 admin"}},
		{"wrong length", head + "SN7,GEHEIM7,HHHHHH\nSN8,IIIIII,GEHEIM\n", 1, []string{"1  admin C-FORMAT: value has 7 characters, want 6"}},
		{"not of the class", head + "SN7,GEHEI\u00df,HHHHHH\n", 1, []string{"1  admin C-FORMAT: value has a character that is not printable ASCII"}},
		{"serial twice", head + "SN7,GGGGGG,HHHHHH\nSN8,IIIIII,JJJJJJ\nSN7,KKKKKK,LLLLLL\nSN7,MMMMMM,NNNNNN\n", 2,
			[]string{"3 SN7  SERIAL: row 1 of the same file", "4 SN7  SERIAL: row 1 of the same file"}},
		{"serial known", head + "SN2,GGGGGG,HHHHHH\n", 1, []string{"1 SN2  SERIAL: batch B1 row 2: device is waiting"}},
		{"serial malformed", head + "GEHEIM!,GGGGGG,HHHHHH\n", 1, []string{"1   SERIAL: serial has another character than A-Z, a-z, 0-9 and - _ . : /"}},
		{"serial too long", head + strings.Repeat("S", 41) + ",GGGGGG,HHHHHH\n", 1, []string{"1   SERIAL: serial has 41 characters, want 1 to 40"}},
		{"everything at once", head + "SN2,CCCCCC,cccccc\nSN8,GEHEIM7,DDDDDD\n", 5, []string{
			"1 SN2  SERIAL: batch B1 row 2: device is waiting",
			"1 SN2 admin C-UNIQ: batch B1 row 2 admin", "1 SN2 service C-UNIQ: batch B1 row 2 admin",
			"2  admin C-FORMAT: value has 7 characters, want 6", "2  service C-UNIQ: batch B1 row 2 service",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := importer(t)
			admit(t, l, batchOf(camera(), "B1"), threeRows)
			for _, dry := range []bool{true, false} {
				r := batchOf(camera(), "B2")
				r.DryRun = dry
				a := reject(t, l, r, tt.file)
				expect(t, a, tt.total, tt.want...)
				if a.DryRun != dry || strings.Contains(fmt.Sprintf("%+v", a), "GEHEI") {
					t.Errorf("answer is %+v", a)
				}
			}
			b, err := l.Batch(t.Context(), "B2")
			if err != nil || b.State != Rejected || b.By != "ann" || !strings.HasPrefix(b.Reason, plural(tt.total, "violation")+" in ") {
				t.Errorf("batch is %+v, %v, want it rejected with a reason", b, err)
			}
			untouched(t, l, 6, 3)
			if n := l.rows.(*testRows).left(); n != 1 {
				t.Errorf("%d row keys are left, want that of B1", n)
			}
			if files := rowFiles(t, l); len(files) != 1 {
				t.Errorf("row files %v are left, want that of B1", files)
			}
			admit(t, l, batchOf(camera(), "B2"), "service,admin,serial\nYYYYYY,XXXXXX,SN7\n")
			untouched(t, l, 8, 4)
		})
	}
}

func TestImportRefusesWithoutTouchingAnything(t *testing.T) {
	noImports := camera()
	noImports.Credentials = noImports.Credentials[:1]
	future := camera()
	future.Credentials[1].Kind = "x509-identity"
	other := camera()
	other.ID = "doorbell"
	for _, tt := range []struct {
		name string
		req  ImportRequest
		file string
		want string
	}{
		{"batch name", batchOf(camera(), "no spaces"), threeRows, "batch name has ' ', want only A-Z, a-z, 0-9 and - _ . : /"},
		{"nothing to import", batchOf(noImports, "B2"), threeRows, "product camera has no imported credential"},
		{"unknown kind", batchOf(future, "B2"), threeRows, "credential admin is a x509-identity, which the ledger can't index yet"},
		{"no rows", batchOf(camera(), "B2"), "serial,admin,service\n", "file has no rows"},
		{"malformed file", batchOf(camera(), "B2"), "serial,admin,service\nSN7,GEHEIM\n", "line 2: row has 2 cells, want 3"},
		{"name of other content", batchOf(camera(), "B1"), strings.Replace(threeRows, "eeeeee", "EEEEEE", 1), "batch B1 was made from other content"},
		{"name of another product", batchOf(other, "B1"), threeRows, "batch B1 is of product camera"},
		{"name of a generated batch", batchOf(camera(), "G1"), threeRows, "batch G1 is a generated one"},
		{"history and replace", ImportRequest{Product: camera(), Batch: "B1", History: true, Replace: true}, threeRows, "history has no devices that could get new rows"},
		{"same content as history", ImportRequest{Product: camera(), Batch: "B1", History: true}, threeRows, "batch B1 was made from other content"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := importer(t)
			admit(t, l, batchOf(camera(), "B1"), threeRows)
			addBatch(t, l, batchRecord{Number: 9, Name: "G1", Product: "camera", State: Opened, Kind: GeneratedBatch, Quota: 5})
			before := l.last.seq
			_, err := l.Import(t.Context(), tt.req, strings.NewReader(tt.file))
			refused(t, err, tt.want)
			if l.last.seq != before {
				t.Error("something was written")
			}
			if n := l.rows.(*testRows).left(); n != 1 || len(rowFiles(t, l)) != 1 {
				t.Errorf("%d row keys and files %v are left, want one of each", n, rowFiles(t, l))
			}
		})
	}
}

func TestARetryGetsTheFirstAnswerAgain(t *testing.T) {
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, small())
	first := admit(t, l, batchOf(camera(), "B1"), threeRows)
	first.Already = true
	same := map[string]string{
		"same bytes":    threeRows,
		"CRLF and mark": "\xef\xbb\xbf" + strings.ReplaceAll(threeRows, "\n", "\r\n"),
		"other columns": "service,serial,admin\nBBBBBB,SN1,AAAAAA\n\"DDDDDD\",SN2,CCCCCC\nffffff,SN3,eeeeee",
	}
	again := func(t *testing.T) {
		for name, file := range same {
			before := l.last.seq
			if got := admit(t, l, batchOf(camera(), "B1"), file); !reflect.DeepEqual(got, first) {
				t.Errorf("%s: %+v, want %+v", name, got, first)
			}
			if l.last.seq != before {
				t.Errorf("%s: something was written", name)
			}
		}
	}
	t.Run("at once", again)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, dir, newTestKeys("a", 1, 2), rows, small())
	t.Run("after a restart and under a new key version", again)
	if _, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "B1"}); err != nil {
		t.Fatal(err)
	}
	t.Run("after the batch was opened", again)
	if _, err := l.CloseBatch(t.Context(), "B1", Actor{Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	t.Run("after the batch was closed", again)
	swapped := "serial,admin,service\nSN2,CCCCCC,DDDDDD\nSN1,AAAAAA,BBBBBB\nSN3,eeeeee,ffffff\n"
	_, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(swapped))
	refused(t, err, "batch B1 was made from other content")
}

// TestReuseIsFoundUnderEveryKeyVersion claims under one version and asks under
// the next.
func TestReuseIsFoundUnderEveryKeyVersion(t *testing.T) {
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a", 1), rows, small())
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	admit(t, l, batchOf(lock("door"), "D1"), "serial,code\nL1,1234-5678\n")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, dir, newTestKeys("a", 1, 2), rows, small())
	expect(t, reject(t, l, batchOf(camera(), "B2"), "serial,admin,service\nSN7,GGGGGG,aaaaaa\n"), 1, "1 SN7 service C-UNIQ: batch B1 row 1 admin")
	admit(t, l, batchOf(camera(), "B2"), "serial,admin,service\nSN7,GGGGGG,HHHHHH\n")
	expect(t, reject(t, l, batchOf(camera(), "B3"), "serial,admin,service\nSN8,GGGGGG,BBBBBB\n"), 2,
		"1 SN8 admin C-UNIQ: batch B2 row 1 admin", "1 SN8 service C-UNIQ: batch B1 row 1 service")
	if a := admit(t, l, batchOf(lock("gate"), "G1"), "serial,code\nL1,12345678\n"); a.Elsewhere != 1 {
		t.Errorf("%d values elsewhere, want the one of door", a.Elsewhere)
	}
	holds(t, l, 1, 1, map[string]string{"admin": "AAAAAA", "service": "BBBBBB"})
	untouched(t, l, 10, 6)
}

func TestADryRunClaimsNothing(t *testing.T) {
	l := importer(t)
	r := batchOf(camera(), "B1")
	r.DryRun = true
	a := admit(t, l, r, threeRows)
	if want := (Admission{Batch: "B1", State: Admitted, DryRun: true, Devices: 3, Credentials: 6, Scope: "this ledger"}); !reflect.DeepEqual(a, want) {
		t.Errorf("answer is %+v, want %+v", a, want)
	}
	if _, err := l.Batch(t.Context(), "B1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("batch after a dry run: %v, want ErrNotFound", err)
	}
	untouched(t, l, 0, 0)
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	if a := admit(t, l, r, threeRows); !a.Already || !a.DryRun {
		t.Errorf("dry run of an admitted file is %+v, want already", a)
	}
}

func TestHistoryIsClaimedWithoutRowsOrDevices(t *testing.T) {
	l := importer(t)
	r := batchOf(camera(), "H1")
	r.History = true
	const file = "serial,admin,service\nSN1,AAAAAA,BBBBBB\nSN1,CCCCCC,DDDDDD\n"
	r.DryRun = true
	admit(t, l, r, file)
	untouched(t, l, 0, 0)
	r.DryRun = false
	first := admit(t, l, r, file)
	again := admit(t, l, r, file)
	if !again.Already {
		t.Error("a retry is not known as one")
	}
	if b, err := l.Batch(t.Context(), "H1"); err != nil || first.State != b.State || again.State != b.State || b.State != Closed {
		t.Errorf("answers are %s and %s, batch is %s, %v, want all closed", first.State, again.State, b.State, err)
	}
	untouched(t, l, 4, 0)
	if n := l.rows.(*testRows).left(); n != 0 || len(rowFiles(t, l)) != 0 {
		t.Errorf("%d row keys and files %v, want none", n, rowFiles(t, l))
	}
	expect(t, reject(t, l, batchOf(camera(), "B1"), "serial,admin,service\nSN1,XXXXXX,cccccc\n"), 1, "1 SN1 service C-UNIQ: batch H1 row 2 admin")
	_, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "H1"})
	refused(t, err, "batch H1 is history: no device is made of it")
	if _, err := l.openRow(t.Context(), 1, 1, "SN1"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a row of history is %v, want ErrNotFound", err)
	}
}

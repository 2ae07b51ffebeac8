package records

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"mintmark/hsm/secret"
)

// onlyCodes has one generated code, unique within the product.
func onlyCodes(kind Kind, bits float64) Product {
	return Product{ID: "lock", Profile: [32]byte{9}, Credentials: []Spec{
		{Name: "code", Kind: kind, Origin: Generated, Bits: bits, ProductScope: true},
	}}
}

func TestOpenBatchMakesGeneratedBatchesAndOpensAdmittedOnes(t *testing.T) {
	edited := generated()
	edited.Profile[0]++
	editedCamera := camera()
	editedCamera.Profile[0]++
	ok := func(b Batch) error {
		if b.State != Opened {
			return fmt.Errorf("batch is %s", b.State)
		}
		return nil
	}
	open := func(p Product, name string, quota int, trial bool) func(t *testing.T, l *Ledger) error {
		return func(t *testing.T, l *Ledger) error {
			b, err := l.OpenBatch(t.Context(), OpenRequest{Product: p, Batch: name, Quota: quota, Trial: trial, Actor: Actor{Name: "ann"}})
			if err != nil {
				return err
			}
			return ok(b)
		}
	}
	hold := func(name string) func(t *testing.T, l *Ledger) error {
		return func(t *testing.T, l *Ledger) error {
			b, err := l.HoldBatch(t.Context(), name, "", Actor{Name: "bob"})
			if err == nil && (b.State != Held || b.Reason != "held by bob") {
				return fmt.Errorf("batch is %s: %s", b.State, b.Reason)
			}
			return err
		}
	}
	closing := func(name string) func(t *testing.T, l *Ledger) error {
		return func(t *testing.T, l *Ledger) error {
			_, err := l.CloseBatch(t.Context(), name, Actor{Name: "bob"})
			return err
		}
	}
	type steps []func(t *testing.T, l *Ledger) error
	for _, tt := range []struct {
		name  string
		steps steps
		want  string // what the last step says; empty is fine
	}{
		{"a new one", steps{open(generated(), "G1", 5, false)}, ""},
		{"a trial", steps{open(generated(), "G1", 5, true)}, ""},
		{"again", steps{open(generated(), "G1", 5, false), open(generated(), "G1", 0, false)}, ""},
		{"held and opened", steps{open(generated(), "G1", 5, false), hold("G1"), hold("G1"), open(generated(), "G1", 5, false)}, ""},
		{"no quota", steps{open(generated(), "G1", 0, false)}, "quota is 0, want 1 to 100000000"},
		{"too large a quota", steps{open(generated(), "G1", maxQuota+1, false)}, "quota is 100000001, want 1 to 100000000"},
		{"bad name", steps{open(generated(), "", 5, false)}, "batch name has 0 characters, want 1 to 64"},
		{"needs an import", steps{open(camera(), "G1", 5, false)}, "there is no batch G1, and product camera has imported credentials"},
		{"other quota", steps{open(generated(), "G1", 5, false), open(generated(), "G1", 6, false)}, "batch G1 has a quota of 5"},
		{"trial changed", steps{open(generated(), "G1", 5, false), open(generated(), "G1", 5, true)}, "batch G1 was opened before: whether it is a trial can't change"},
		{"profile edited", steps{open(generated(), "G1", 5, false), hold("G1"), open(edited, "G1", 5, false)}, "the profile is not the one that batch G1 pinned"},
		{"other product", steps{open(generated(), "G1", 5, false), open(camera(), "G1", 5, false)}, "batch G1 is of product cam"},
		{"closed", steps{open(generated(), "G1", 5, false), closing("G1"), open(generated(), "G1", 5, false)}, "batch G1 is closed"},
		{"imported", steps{open(camera(), "B1", 0, false)}, ""},
		{"imported as a trial", steps{open(camera(), "B1", 0, true), hold("B1"), open(camera(), "B1", 3, true)}, ""},
		{"imported, other quota", steps{open(camera(), "B1", 5, false)}, "batch B1 has a quota of 3"},
		{"imported, profile edited", steps{open(editedCamera, "B1", 0, false)}, "the profile is not the one that batch B1 pinned"},
		{"rejected name", steps{open(generated(), "R1", 5, false)}, ""},
		{"hold admitted", steps{hold("B1")}, "batch B1 is admitted, want it open"},
		{"hold closed", steps{closing("B1"), hold("B1")}, "batch B1 is closed, want it open"},
		{"hold unknown", steps{hold("X")}, "batch X: not in the ledger"},
		{"close unknown", steps{closing("X")}, "batch X: not in the ledger"},
		{"close rejected", steps{closing("R1")}, "batch R1 is rejected"},
		{"close twice", steps{closing("B1"), closing("B1")}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := importer(t)
			admit(t, l, batchOf(camera(), "B1"), threeRows)
			reject(t, l, batchOf(camera(), "R1"), threeRows)
			for i, step := range tt.steps {
				err := step(t, l)
				want := ""
				if i == len(tt.steps)-1 {
					want = tt.want
				}
				if got := fmt.Sprint(err); got != want && !(err == nil && want == "") {
					t.Errorf("step %d says %s, want %q", i+1, got, want)
				}
				if err != nil && !errors.Is(err, ErrRefused) && !errors.Is(err, ErrNotFound) {
					t.Errorf("%v is no refusal", err)
				}
			}
			clean(t, l)
		})
	}
}

func TestSmallScopesAreNotFilledUp(t *testing.T) {
	space := func(kind Kind) Product { return onlyCodes(kind, 16.61) } // 100,000 values
	imported := func(kind Kind) Product {
		p := space(kind)
		p.Credentials[0].Origin = Imported
		return p
	}
	for _, tt := range []struct {
		name  string
		p     Product
		quota int
		full  bool
		warn  bool
	}{
		{"a login password with room", space(LoginPassword), 90, false, false},
		{"a login password, warned", space(LoginPassword), 900, false, true},
		{"a login password, full", space(LoginPassword), 1100, true, false},
		{"a code with room", space(PIN), 90, false, false},
		{"a code, warned", space(PIN), 50_000, false, true},
		{"ledger scope", generated(), 50_000, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := importer(t)
			b, err := l.OpenBatch(t.Context(), OpenRequest{Product: tt.p, Batch: "G1", Quota: tt.quota})
			if errors.Is(err, ErrRefused) != tt.full || strings.Contains(b.Reason, "% of all values") != tt.warn {
				t.Errorf("OpenBatch = %q, %v", b.Reason, err)
			}
		})
	}
	t.Run("batches add up", func(t *testing.T) {
		l := importer(t)
		for i, full := range []bool{false, false, true} {
			_, err := l.OpenBatch(t.Context(), OpenRequest{Product: space(LoginPassword), Batch: fmt.Sprint("G", i), Quota: 450})
			if errors.Is(err, ErrRefused) != full {
				t.Errorf("batch %d: %v", i, err)
			}
		}
	})
	t.Run("imports count too", func(t *testing.T) {
		l := importer(t)
		file := "serial,code\n"
		for n := range 600 {
			file += fmt.Sprintf("L%d,%05d\n", n, n)
		}
		admit(t, l, batchOf(imported(LoginPassword), "I1"), file)
		if b, err := l.Batch(t.Context(), "I1"); err != nil || b.Reason != "600 devices use 0.6 % of all values of code in product lock" {
			t.Errorf("reason is %q, %v", b.Reason, err)
		}
		_, err := l.Import(t.Context(), batchOf(imported(LoginPassword), "I2"), strings.NewReader(strings.ReplaceAll(file, "L", "M")))
		refused(t, err, "1200 devices use 1.2 % of all values of code in product lock, want at most 1 %")
		if n := l.rows.(*testRows).left(); n != 1 || len(rowFiles(t, l)) != 1 {
			t.Errorf("%d row keys and files %v are left, want one of each", n, rowFiles(t, l))
		}
	})
}

func TestBatchesListsAllOldestFirst(t *testing.T) {
	l := importer(t)
	if list, err := l.Batches(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("batches are %v, %v, want none", list, err)
	}
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	reject(t, l, batchOf(camera(), "A1"), threeRows)
	if _, err := l.OpenBatch(t.Context(), OpenRequest{Product: generated(), Batch: "A1", Quota: 5}); err != nil {
		t.Fatal(err)
	}
	list, err := l.Batches(t.Context())
	var got []string
	for _, b := range list {
		got = append(got, fmt.Sprint(b.Number, " ", b.Name, " ", b.State))
	}
	if want := "[1 B1 admitted 2 A1 rejected 3 A1 open]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("batches are %v, %v, want %s", got, err, want)
	}
}

// begin takes an imported device through interlock and assign.
func begin(t testing.TB, l *Ledger, serial, hardwareID string) *Assignment {
	t.Helper()
	s := sight(camera(), serial, hardwareID)
	c, err := l.Interlock(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	wifi := secret.Join([]byte("WIFI OF " + serial + fmt.Sprint(l.last.seq)))
	defer wifi.Close()
	a, err := l.Assign(t.Context(), AssignRequest{Sight: s, Clearance: c, Generated: map[string]*secret.Value{"wifi": wifi}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// burn uses up the row of a device that has no trustworthy hardware id.
func burn(t testing.TB, l *Ledger, serial string) {
	t.Helper()
	a := begin(t, l, serial, "")
	mark(t, l, a, Injecting)
	if got := settle(t, l, a, false); got != Burned {
		t.Fatalf("device is %s, want it burned", got)
	}
	a.close()
}

// burnedTwo has a batch of three devices of which SN1 and SN3 are burned.
func burnedTwo(t *testing.T, l *Ledger) error {
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	if _, err := l.OpenBatch(t.Context(), OpenRequest{Product: camera(), Batch: "B1"}); err != nil {
		return err
	}
	burn(t, l, "SN1")
	burn(t, l, "SN3")
	return nil
}

const twoRows = "serial,admin,service\nSN3,GGGGGG,HHHHHH\nSN1,IIIIII,JJJJJJ\n"

func replacing() ImportRequest {
	r := batchOf(camera(), "B1")
	r.Replace = true
	return r
}

func TestReplaceGivesBurnedSerialsNewRows(t *testing.T) {
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, small())
	if err := burnedTwo(t, l); err != nil {
		t.Fatal(err)
	}
	expect(t, reject(t, l, replacing(), "serial,admin,service\nSN3,GGGGGG,aaaaaa\nSN2,IIIIII,JJJJJJ\nSN9,KKKKKK,LLLLLL\n"), 3,
		"1 SN3 service C-UNIQ: batch B1 row 1 admin",
		"2 SN2  SERIAL: batch B1 row 2: device is waiting", "3 SN9  SERIAL: no device of the batch has this serial")
	expect(t, reject(t, l, replacing(), "serial,admin,service\nSN1,AAAAAA,BBBBBB\n"), 2, // which it had
		"1 SN1 admin C-UNIQ: batch B1 row 1 admin", "1 SN1 service C-UNIQ: batch B1 row 1 service")
	if a := reject(t, l, replacing(), threeRows); a.Already || a.Total != 7 {
		t.Errorf("the batch's own file as a replacement is %+v, want 7 violations", a)
	}
	dry := replacing()
	dry.DryRun = true
	admit(t, l, dry, twoRows)
	untouched(t, l, 8, 3)

	if a := admit(t, l, replacing(), twoRows); a.Devices != 2 || a.Credentials != 4 || a.Already {
		t.Errorf("answer is %+v", a)
	}
	untouched(t, l, 12, 3)
	if a := admit(t, l, replacing(), twoRows); !a.Already || a.Devices != 2 {
		t.Errorf("retry is %+v, want the first answer", a)
	}
	b, err := l.Batch(t.Context(), "B1")
	if err != nil || b.State != Opened || b.Devices != 3 || b.Waiting != 3 || b.Burned != 0 || b.Claims != 10 {
		t.Errorf("batch is %+v, %v, want three devices waiting", b, err)
	}
	holds(t, l, 1, 4, map[string]string{"admin": "GGGGGG", "service": "HHHHHH"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l = openWith(t, dir, newTestKeys("a"), rows, small())
	a := begin(t, l, "SN1", "H1")
	if got := string(a.Values["admin"].Bytes()); got != "IIIIII" || a.Row != 5 {
		t.Errorf("SN1 gets %s of row %d, want IIIIII of row 5", got, a.Row)
	}
	mark(t, l, a, Injecting)
	settle(t, l, a, true)
	a.close()
	burn(t, l, "SN3")
	expect(t, reject(t, l, replacing(), "serial,admin,service\nSN3,gggggg,MMMMMM\n"), 1, "1 SN3 admin C-UNIQ: batch B1 row 4 admin")
	admit(t, l, replacing(), "serial,admin,service\nSN3,NNNNNN,MMMMMM\n")
	holds(t, l, 1, 6, map[string]string{"admin": "NNNNNN", "service": "MMMMMM"})
	records, err := l.batchRecords()
	if err != nil {
		t.Fatal(err)
	}
	if err := l.applyRows(t.Context(), 1, records[0].Imports[1]); err != nil { // as after a crash
		t.Fatal(err)
	}
	if d, err := l.Device(t.Context(), "camera", "SN3"); err != nil || d.Row != 6 {
		t.Errorf("SN3 has row %d, %v, want 6 still", d.Row, err)
	}
	edited := replacing()
	edited.Product.Profile[0]++
	_, err = l.Import(t.Context(), edited, strings.NewReader("serial,admin,service\nSN3,OOOOOO,PPPPPP\n"))
	refused(t, err, "the profile is not the one that batch B1 pinned")
	clean(t, l)
	if _, err := l.CloseBatch(t.Context(), "B1", Actor{}); err != nil {
		t.Fatal(err)
	}
	if keys, files := rows.left(), rowFiles(t, l); keys != 0 || len(files) != 0 {
		t.Errorf("%d row keys and files %v are left after closing, want none", keys, files)
	}
	_, err = l.Import(t.Context(), replacing(), strings.NewReader("serial,admin,service\nSN3,OOOOOO,PPPPPP\n"))
	refused(t, err, "batch B1 is closed")
}

func TestAReplacementKilledAnywhereIsThereWholeOrNotAtAll(t *testing.T) {
	killEverywhere(t, 14, burnedTwo,
		func(t *testing.T, l *Ledger) error {
			_, err := l.Import(t.Context(), replacing(), strings.NewReader(twoRows))
			return err
		},
		func(t *testing.T, l *Ledger, _ bool) {
			b, err := l.Batch(t.Context(), "B1")
			if err != nil || b.State != Opened || b.Waiting != 1 && b.Waiting != 3 {
				t.Fatalf("batch is %+v, %v, want one or three devices waiting", b, err)
			}
			whole := b.Waiting == 3
			left := map[bool]int{true: 2, false: 1}[whole]
			if keys, files := l.rows.(*testRows).left(), rowFiles(t, l); keys != left || len(files) != left {
				t.Errorf("%d row keys and files %v are left, want %d of each", keys, files, left)
			}
			if a := admit(t, l, replacing(), twoRows); a.Already != whole {
				t.Errorf("retry says %+v, but the replacement was there: %v", a, whole)
			}
			untouched(t, l, 12, 3)
			holds(t, l, 1, 5, map[string]string{"admin": "IIIIII", "service": "JJJJJJ"})
		})
}

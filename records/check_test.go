package records

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mintmark/hsm/secret"
)

func TestAProductScopeIsReportedElsewhereAndRefusedAtHome(t *testing.T) {
	l := importer(t)
	const codes = "serial,code\nL1,1111 2222\nL2,3333-4444\nL3,55556666\n"
	if a := admit(t, l, batchOf(lock("door"), "D1"), codes); a.Elsewhere != 0 {
		t.Errorf("%d values elsewhere, want none", a.Elsewhere)
	}
	wide := lock("safe")
	wide.Credentials[0].ProductScope = false
	admit(t, l, batchOf(wide, "S1"), "serial,code\nL1,7777-8888\n")
	if a := admit(t, l, batchOf(lock("gate"), "G1"), "serial,code\nL1,11112222\nL2,33334444\nL3,99990000\nL4,77778888\n"); a.Elsewhere != 3 {
		t.Errorf("%d values elsewhere, want 3", a.Elsewhere)
	}
	if a := admit(t, l, batchOf(lock("gate"), "G1"), "serial,code\nL1,11112222\nL2,33334444\nL3,99990000\nL4,77778888\n"); !a.Already || a.Elsewhere != 3 {
		t.Errorf("retry says %+v, want the first answer", a)
	}
	r := batchOf(lock("door"), "D2")
	r.Actor.Quality = true
	expect(t, reject(t, l, r, "serial,code\nL9,1111.2222\n"), 1, "1 L9 code C-UNIQ: batch D1 row 1 code")
	untouched(t, l, 8, 8)
}

// TestAGeneratedValueOfAProductScopeIsKnownElsewhere has one between others.
func TestAGeneratedValueOfAProductScopeIsKnownElsewhere(t *testing.T) {
	l := importer(t)
	for i, code := range []string{"11112222", "33334444", "55556666"} {
		v := secret.Join([]byte(code))
		defer v.Close()
		set, err := l.indexesOf(t.Context(), "door", lock("door").Credentials[0], v)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.commit(t.Context(), func(t *txn) error {
			t.noteWide(set.Wide[0], ownerRef{Batch: 1, Attempt: 1, Serial: fmt.Sprint("X", i)})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	r := batchOf(lock("gate"), "G1")
	if a := admit(t, l, r, "serial,code\nL1,99990000\nL2,33334444\nL3,12345678\nL4,55556666\n"); a.Elsewhere != 2 {
		t.Errorf("%d values elsewhere, want 2", a.Elsewhere)
	}
}

func TestEqualValuesInARowAreRefusedAcrossScopesAndClasses(t *testing.T) {
	p := lock("door")
	p.Credentials = append(p.Credentials,
		Spec{Name: "pin", Kind: PIN, Origin: Imported, Bits: 70},
		Spec{Name: "admin", Kind: LoginPassword, Origin: Imported, Bits: 70})
	l := importer(t)
	expect(t, reject(t, l, batchOf(p, "D1"), "serial,code,pin,admin\nL1,1111,11-11,AAAA\nL2,2222,3333,4444\nL3,5555,6666,55 55\n"), 2,
		"1 L1 pin C-UNIQ: row 1 of the same file code", "3 L3 admin C-UNIQ: row 3 of the same file code")
	untouched(t, l, 0, 0)
}

// TestAnswersAboutSmallSpacesAreSparing asks as anyone and as quality.
func TestAnswersAboutSmallSpacesAreSparing(t *testing.T) {
	l := importer(t)
	admit(t, l, batchOf(lock("door"), "D1"), "serial,code\nL1,11112222\nL2,33334444\n")
	const file = "serial,code\nL7,11112222\nL8,55556666\nL9,55556666\nL6,33334444\nL5,33334444\n"
	expect(t, reject(t, l, batchOf(lock("door"), "D2"), file), 4,
		"3 L9 code C-UNIQ: row 2 of the same file code", "5 L5 code C-UNIQ: row 4 of the same file code")
	r := batchOf(lock("door"), "D2")
	r.Actor.Quality = true
	expect(t, reject(t, l, r, file), 4,
		"1 L7 code C-UNIQ: batch D1 row 1 code", "3 L9 code C-UNIQ: row 2 of the same file code",
		"4 L6 code C-UNIQ: batch D1 row 2 code", "5 L5 code C-UNIQ: batch D1 row 2 code")
}

func TestTheFirstThousandViolationsAreNamedAndAllAreCounted(t *testing.T) {
	l := importer(t)
	var file strings.Builder
	file.WriteString("serial,admin,service\n")
	for n := range 5000 {
		fmt.Fprintf(&file, "SN%d,A%05d,B%05d\n", n, n, n)
	}
	admit(t, l, batchOf(camera(), "B1"), file.String())
	a := reject(t, l, batchOf(camera(), "B2"), file.String())
	if a.Total != 15000 || len(a.Violations) != 1000 {
		t.Fatalf("%d violations, %d named, want 15000 and 1000", a.Total, len(a.Violations))
	}
	last := a.Violations[999]
	if got := fmt.Sprint(last.Row, " ", last.Serial, ": ", *last.First); got != "334 SN333: batch B1 row 334" {
		t.Errorf("the last one named is %s, want the serial of row 334", got)
	}
	untouched(t, l, 10000, 5000)
}

// TestChecksAreRecordedAndLimited asks until it is refused, restarts, and asks
// again.
func TestChecksAreRecordedAndLimited(t *testing.T) {
	clock := time.Now()
	o := small()
	o.ChecksPerHour, o.Now = 3, func() time.Time { return clock }
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, o)
	dry := batchOf(camera(), "B2")
	dry.DryRun = true
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	clock = clock.Add(20 * time.Minute)
	reject(t, l, dry, threeRows)
	reject(t, l, batchOf(camera(), "B2"), threeRows)
	limited := func() {
		t.Helper()
		if a, err := l.Import(t.Context(), dry, strings.NewReader(threeRows)); !errors.Is(err, ErrLimited) || a.Total != 0 {
			t.Errorf("the fourth check is %v, %+v, want ErrLimited", err, a)
		}
		if err := l.recordCheck(t.Context(), dry.Actor, 1, 0); !errors.Is(err, ErrLimited) {
			t.Errorf("a scan is %v, want ErrLimited", err)
		}
	}
	limited()
	for range 5 {
		admit(t, l, batchOf(camera(), "B1"), threeRows) // a retry is no question
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, dir, newTestKeys("a"), rows, o)
	limited()
	other := dry
	other.Actor = Actor{Name: "bob", UID: 1001}
	reject(t, l, other, threeRows)
	clock = clock.Add(41 * time.Minute) // an hour after the first
	reject(t, l, dry, threeRows)
	limited()

	var got []string
	if err := l.view(func(r reader) error {
		return r.scan([]byte{keyCheck}, func(_, val []byte) error {
			c, err := decode[checkRecord](val)
			got = append(got, fmt.Sprint(c.By, c.UID, c.What, c.Product, c.Batch, c.Rows, c.Hits, c.Done))
			return err
		})
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"ann1000importcameraB13 0 true", "ann1000checkcameraB23 9 true", "ann1000importcameraB23 9 true",
		"bob1001checkcameraB23 9 true", "ann1000checkcameraB23 9 true",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("records are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// What is found in one segment is not looked for in the next; all else is.
func TestRowsOfManyBatchesAreAllFound(t *testing.T) {
	l := importer(t)
	var mixed strings.Builder
	mixed.WriteString("serial,admin\n")
	for b := range 4 {
		file := "serial,admin\n"
		for row := range 20 {
			file += fmt.Sprintf("S%d-%d,VALUE%dX%d\n", b, row, b, row)
			fmt.Fprintf(&mixed, "T%d-%d,VALUE%dX%d\nU%d-%d,NEW%dX%d\n", b, row, b, row, b, row, b, row)
		}
		admit(t, l, batchOf(single(), fmt.Sprintf("B%d", b)), file)
	}
	a := reject(t, l, batchOf(single(), "MIXED"), mixed.String())
	if a.Total != 80 {
		t.Errorf("%d violations, want 80", a.Total)
	}
	for _, v := range a.Violations {
		if want := "B" + v.Serial[1:2]; !strings.HasPrefix(v.Serial, "T") || v.First == nil || v.First.Batch != want {
			t.Errorf("row %d, %s, repeats %+v, want one of %s", v.Row, v.Serial, v.First, want)
		}
	}
}

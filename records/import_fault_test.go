package records

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

var errKilled = errors.New("killed")

// A killer lets a number of durable steps happen, then none at all, as if the
// process had died. The last one is lost, or kept but reported lost.
type killer struct {
	mu    sync.Mutex
	left  int
	kept  bool
	last  string // the step that was hit
	steps []string
}

func (k *killer) step(name string, do func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.steps = append(k.steps, name)
	if k.left--; k.left > 0 {
		return do()
	}
	if k.left == 0 {
		k.last = name
		if k.kept {
			return errors.Join(do(), errKilled)
		}
	}
	return errKilled
}

// aim puts the killer into every seam of l.
func (k *killer) aim(l *Ledger) {
	l.imports.fault = k.step
	commit, write := l.commitTxn, l.head.write
	l.commitTxn = func(txn *badger.Txn) error {
		return k.step("commit", func() error { return commit(txn) })
	}
	l.head.write = func(f *os.File, slot []byte, at int64) error {
		return k.step("head", func() error { return write(f, slot, at) })
	}
}

// killEverywhere does something again and again, each time on a ledger of its own
// that before made, and kills it one durable step later, in both ways. After
// each the ledger is opened again and must be sound.
func killEverywhere(t *testing.T, steps int, before, do func(t *testing.T, l *Ledger) error, after func(t *testing.T, l *Ledger, kept bool)) {
	t.Helper()
	killEverywhereWith(t, small, steps, before, do, after)
}

// killEverywhereWith is killEverywhere with other options.
func killEverywhereWith(t *testing.T, with func() Options, steps int, before, do func(t *testing.T, l *Ledger) error, after func(t *testing.T, l *Ledger, kept bool)) {
	t.Helper()
	for _, kept := range []bool{false, true} {
		for n := 1; ; n++ {
			dir, rows := create(t), newTestRows()
			l := openWith(t, dir, newTestKeys("a"), rows, with())
			if err := before(t, l); err != nil {
				t.Fatal(err)
			}
			k := &killer{left: n, kept: kept}
			k.aim(l)
			err := do(t, l)
			name := fmt.Sprintf("step %d (%s), kept %v", n, k.last, kept)
			if cerr := l.Close(); cerr != nil {
				t.Fatal(cerr)
			}
			l = openWith(t, dir, newTestKeys("a"), rows, with())
			clean(t, l)
			after(t, l, kept)
			if t.Failed() {
				t.Fatalf("%s: %v; the steps were %s", name, err, strings.Join(k.steps, ", "))
			}
			if cerr := l.Close(); cerr != nil {
				t.Fatal(cerr)
			}
			if k.last == "" { // it got to the end
				if n <= steps {
					t.Errorf("%d steps, want at least %d: %s", n-1, steps, strings.Join(k.steps, ", "))
				}
				break
			}
		}
	}
}

const fiveRows = "serial,admin,service\nL1,A00001,B00001\nL2,A00002,B00002\nL3,A00003,B00003\nL4,A00004,B00004\nL5,A00005,B00005\n"

func TestAnImportKilledAnywhereIsThereWholeOrNotAtAll(t *testing.T) {
	admitted := map[bool]int{}
	killEverywhere(t, 9,
		func(t *testing.T, l *Ledger) error {
			_, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows))
			return err
		},
		func(t *testing.T, l *Ledger) error {
			_, err := l.Import(t.Context(), batchOf(camera(), "B2"), strings.NewReader(fiveRows))
			return err
		},
		func(t *testing.T, l *Ledger, kept bool) {
			b, err := l.Batch(t.Context(), "B2")
			whole := err == nil && b.State == Admitted
			if !whole && err == nil && b.State != Rejected {
				t.Errorf("batch is %s, want it admitted or rejected", b.State)
			}
			rows, left := 5, 1
			if whole {
				admitted[kept]++
				left = 2
				untouched(t, l, int64(6+2*rows), 3+rows)
			} else {
				untouched(t, l, 6, 3)
			}
			if keys, files := l.rows.(*testRows).left(), rowFiles(t, l); keys != left || len(files) != left {
				t.Errorf("%d row keys and files %v are left, want %d of each", keys, files, left)
			}
			if a := admit(t, l, batchOf(camera(), "B2"), fiveRows); a.Already != whole || a.Devices != rows {
				t.Errorf("retry says %+v after admission %v", a, whole)
			}
			untouched(t, l, int64(6+2*rows), 3+rows)
			if b, err = l.Batch(t.Context(), "B2"); err != nil {
				t.Fatal(err)
			}
			holds(t, l, b.Number, rows, map[string]string{"admin": "A00005", "service": "B00005"})
		})
	// The last commit admits. Lost, it doesn't; its head, and whatever is kept, does.
	if admitted[false] < 1 || admitted[true] < 2 {
		t.Errorf("%v imports were found admitted, want those whose last commit was kept", admitted)
	}
}

// TestARejectionKilledAnywhereLeavesNothing rejects a file and dies.
func TestARejectionKilledAnywhereLeavesNothing(t *testing.T) {
	killEverywhere(t, 8,
		func(t *testing.T, l *Ledger) error {
			_, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows))
			return err
		},
		func(t *testing.T, l *Ledger) error {
			_, err := l.Import(t.Context(), batchOf(camera(), "B2"), strings.NewReader(threeRows))
			if errors.Is(err, ErrRejected) && !errors.Is(err, errKilled) {
				return nil
			}
			return err
		},
		func(t *testing.T, l *Ledger, _ bool) {
			untouched(t, l, 6, 3)
			if keys, files := l.rows.(*testRows).left(), rowFiles(t, l); keys != 1 || len(files) != 1 {
				t.Errorf("%d row keys and files %v are left, want those of B1", keys, files)
			}
			admit(t, l, batchOf(camera(), "B2"), "serial,admin,service\nSN7,XXXXXX,YYYYYY\n")
		})
}

// TestASweepKilledAnywhereIsDoneAgain leaves half an import and dies while it is
// swept.
func TestASweepKilledAnywhereIsDoneAgain(t *testing.T) {
	killEverywhere(t, 3,
		func(t *testing.T, l *Ledger) error {
			_, _, err := halfAnImport(t, l, batchOf(camera(), "B1"), fiveRows)
			return err
		},
		func(t *testing.T, l *Ledger) error {
			return errors.Join(l.sweepSegments(t.Context()), l.sweep(t.Context()))
		},
		func(t *testing.T, l *Ledger, _ bool) {
			untouched(t, l, 0, 0)
			if keys, files := l.rows.(*testRows).left(), append(rowFiles(t, l), segmentFiles(t, l)...); keys != 0 || len(files) != 0 {
				t.Errorf("%d row keys and files %v are left, want none", keys, files)
			}
			admit(t, l, batchOf(camera(), "B1"), fiveRows)
		})
}

func segmentFiles(t *testing.T, l *Ledger) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(l.dir, "segments"))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// halfAnImport leaves what an import has written before its last commit.
func halfAnImport(t *testing.T, l *Ledger, r ImportRequest, file string) (im *importing, g *numbered, err error) {
	im = &importing{l: l, r: r, number: 1, in: newIntake(r.Product, l.keys, Actor{}), rec: importRecord{First: 1}}
	burned := ""
	if r.Replace {
		im.rec.First, burned = 4, "B1"
	}
	if im.in.rows, err = l.createRows(t.Context(), 1, im.rec.First); err != nil {
		return im, nil, err
	}
	if err := im.in.read(t.Context(), strings.NewReader(file), nil); err != nil {
		return im, nil, err
	}
	im.rec.Rows, im.rec.Columns = im.in.serials.len(), im.in.places
	if err := im.in.rows.finish(&im.rec); err != nil {
		return im, nil, err
	}
	if err := l.judge(t.Context(), im.in, r.History, burned); err != nil {
		return im, nil, err
	}
	g, _, err = l.makeSegment(im.writeSegment)
	return im, g, err
}

// raced runs f just before the claims of the next import are written.
func raced(l *Ledger, f func()) {
	l.imports.fault = func(step string, do func() error) error {
		if step == "sync row file" {
			f()
		}
		return do()
	}
}

func TestAClaimThatComesBetweenRejectsTheImport(t *testing.T) {
	l := importer(t)
	addBatch(t, l, batchRecord{Number: 5, Name: "G1", Product: "cam", Profile: [32]byte{1}, State: Opened, Kind: GeneratedBatch, Quota: 9})
	raced(l, func() {
		settle(t, l, assign(t, l, sight(generated(), "X1", "H1"), "dddddd"), false)
		settle(t, l, assign(t, l, sight(generated(), "X2", "H2"), "EEEEEE"), false)
	})
	a := reject(t, l, batchOf(camera(), "B1"), threeRows)
	expect(t, a, 2, "2 SN2 service C-UNIQ: batch G1 serial X1 admin", "3 SN3 admin C-UNIQ: batch G1 serial X2 admin")
	untouched(t, l, 2, 2)
	if keys, files := l.rows.(*testRows).left(), rowFiles(t, l); keys != 0 || len(files) != 0 {
		t.Errorf("%d row keys and files %v are left, want none", keys, files)
	}
}

func TestASerialThatComesBetweenRejectsTheImport(t *testing.T) {
	l := importer(t)
	addBatch(t, l, batchRecord{Number: 5, Name: "G1", Product: "camera", State: Opened, Kind: GeneratedBatch, Quota: 9})
	raced(l, func() {
		if err := l.commit(t.Context(), func(t *txn) error {
			return putDevice(t, standing{}, &Device{Product: "camera", Serial: "SN2", State: Burned, Batch: "G1"})
		}); err != nil {
			t.Error(err)
		}
	})
	expect(t, reject(t, l, batchOf(camera(), "B1"), threeRows), 1, "2 SN2  SERIAL: batch G1 serial SN2: device is burned")
	untouched(t, l, 0, 1)
}

// TestImportsAndClaimsThatRaceNeverShareAValue lets slots claim what an import
// has, and two imports the same file.
func TestImportsAndClaimsThatRaceNeverShareAValue(t *testing.T) {
	l := importer(t)
	l.opts.ChecksPerHour = 1000
	addBatch(t, l, batchRecord{Number: 900, Name: "G1", Product: "cam", Profile: [32]byte{1}, State: Opened, Kind: GeneratedBatch, Quota: 1000})
	admitted, claimed := 0, 0
	for round := range 15 {
		file := fmt.Sprintf("serial,admin,service\nR%dA,%03dAAA,%03dBBB\nR%dB,%03dCCC,%03dDDD\n", round, round, round, round, round, round)
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i := range 2 {
			wg.Go(func() {
				_, errs[i] = l.Import(t.Context(), batchOf(camera(), fmt.Sprintf("R%d.%d", round, i)), strings.NewReader(file))
			})
		}
		wg.Go(func() {
			var a *Assignment
			if a, errs[2] = tryAssign(t, l, sight(generated(), fmt.Sprint("X", round), fmt.Sprint("H", round)), fmt.Sprintf("%03dddd", round)); errs[2] == nil {
				_, errs[2] = l.Settle(t.Context(), a, Settlement{})
			}
		})
		wg.Wait()
		won := 0
		for i, err := range errs {
			switch {
			case err == nil:
				won++
			case i < 2 && !errors.Is(err, ErrRejected), i == 2 && !errors.Is(err, ErrReused):
				t.Errorf("round %d: %v", round, err)
			}
		}
		if won != 1 {
			t.Errorf("round %d: %d of three got the value, want one: %v", round, won, errs)
		}
		if errs[2] == nil {
			claimed++
		} else {
			admitted++
		}
	}
	untouched(t, l, int64(4*admitted+claimed), 2*admitted+claimed)
}

func TestOneImportWritesAtATime(t *testing.T) {
	l := importer(t)
	raced(l, func() {
		l.imports.fault = nil
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		_, err := l.Import(ctx, batchOf(camera(), "B2"), strings.NewReader(fiveRows))
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("second import says %v, want it to wait for the first", err)
		}
	})
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	admit(t, l, batchOf(camera(), "B2"), fiveRows)
	untouched(t, l, 16, 8)
}

func TestTwoImportsOfOneNameDontMix(t *testing.T) {
	l := importer(t)
	raced(l, func() {
		_, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows))
		refused(t, err, "batch B1 is being made or imported right now")
		_, err = l.OpenBatch(t.Context(), OpenRequest{Product: generated(), Batch: "B1", Quota: 1})
		refused(t, err, "batch B1 is being made or imported right now")
		if _, err = l.OpenBatch(t.Context(), OpenRequest{Product: generated(), Batch: "G1", Quota: 1}); err != nil {
			t.Error(err)
		}
	})
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	if list, err := l.Batches(t.Context()); err != nil || len(list) != 2 {
		t.Errorf("batches are %+v, %v, want two with numbers of their own", list, err)
	}
	untouched(t, l, 6, 3)
}

func TestAnImportThatIsNotAdmittedDoesntCount(t *testing.T) {
	l := importer(t)
	addBatch(t, l, batchRecord{Number: 5, Name: "G1", Product: "cam", Profile: [32]byte{1}, State: Opened, Kind: GeneratedBatch, Quota: 9})
	raced(l, func() {
		clean(t, l)
		if _, err := l.openRow(t.Context(), 1, 1, "SN1"); !errors.Is(err, ErrNotFound) {
			t.Errorf("its row is %v, want ErrNotFound", err)
		}
		if _, err := l.Interlock(t.Context(), sight(camera(), "SN1", "H1")); !errors.Is(err, ErrRefused) {
			t.Errorf("its device is %v, want a refusal", err)
		}
	})
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	untouched(t, l, 6, 3)
}

func TestAnImportThatCompetesRefusesWhatIsItsOwn(t *testing.T) {
	l := importer(t)
	addBatch(t, l, batchRecord{Number: 5, Name: "G1", Product: "cam", Profile: [32]byte{1}, State: Opened, Kind: GeneratedBatch, Quota: 9})
	im, g, err := halfAnImport(t, l, batchOf(camera(), "B1"), threeRows)
	if err != nil {
		t.Fatal(err)
	}
	g.pending = "B1"
	if err := errors.Join(l.addToFilter(t.Context(), g, im.in.claims), im.compete(t.Context(), g)); err != nil {
		t.Fatal(err)
	}
	var reuse *ReuseError
	if _, err := tryAssign(t, l, sight(generated(), "X1", "H1"), "aaaaaa"); !errors.As(err, &reuse) || reuse.First.Batch != "B1" {
		t.Errorf("a claim of its value is %v, want a refusal that names B1", err)
	}
	refused(t, l.commit(t.Context(), func(t *txn) error {
		return putDevice(t, standing{}, &Device{Product: "camera", Serial: "SN2", State: Burned, Batch: "G1"})
	}), "its serial is in a batch that is being imported")
	clean(t, l)
	if _, err := l.Interlock(t.Context(), sight(camera(), "SN1", "H1")); !errors.Is(err, ErrRefused) {
		t.Errorf("its device is %v, want a refusal", err)
	}
}

func TestAnImportThatIsCancelledLeavesNothing(t *testing.T) {
	l := importer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("nobody waits any more")
	raced(l, func() { cancel(why) })
	if _, err := l.Import(ctx, batchOf(camera(), "B1"), strings.NewReader(threeRows)); !errors.Is(err, why) {
		t.Errorf("import says %v, want %v", err, why)
	}
	untouched(t, l, 0, 0)
	if keys, files := l.rows.(*testRows).left(), rowFiles(t, l); keys != 0 || len(files) != 0 {
		t.Errorf("%d row keys and files %v are left, want none", keys, files)
	}
	l.imports.fault = nil
	admit(t, l, batchOf(camera(), "B1"), threeRows)
}

func TestAnAuthorityThatIsAwayLeavesNothingBehindForEver(t *testing.T) {
	dir, rows := create(t), newTestRows()
	l := openWith(t, dir, newTestKeys("a"), rows, small())
	away := errors.New("authority is away")
	rows.away = away
	if _, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows)); !errors.Is(err, away) {
		t.Errorf("import says %v, want %v", err, away)
	}
	rows.away = nil
	admit(t, l, batchOf(camera(), "B1"), threeRows)
	l.imports.fault = func(step string, do func() error) error {
		if step == "destroy row key" {
			rows.away = away
		}
		return do()
	}
	_, err := l.Import(t.Context(), batchOf(camera(), "B2"), strings.NewReader("serial,admin,service\nSN1,XXXXXX,YYYYYY\n"))
	if !errors.Is(err, ErrRejected) || !errors.Is(err, away) {
		t.Errorf("import says %v, want it rejected, and its key not destroyed", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = openWith(t, dir, newTestKeys("a"), rows, small()) // the line doesn't stop for the authority
	untouched(t, l, 6, 3)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	rows.away = nil
	l = openWith(t, dir, newTestKeys("a"), rows, small())
	if keys, files := rows.left(), rowFiles(t, l); keys != 1 || len(files) != 1 {
		t.Errorf("%d row keys and files %v are left, want those of B1", keys, files)
	}
}

// TestACommitOfUnknownOutcomeNeverCostsTheRows fails each commit of an import in
// both ways, in a process that lives on and could tidy up too much.
func TestACommitOfUnknownOutcomeNeverCostsTheRows(t *testing.T) {
	found := 0
	for _, kept := range []bool{false, true} {
		for n := 1; n <= 4; n++ {
			dir, rows := create(t), newTestRows()
			l := openWith(t, dir, newTestKeys("a"), rows, small())
			commits := &killer{left: n, kept: kept}
			commit := l.commitTxn
			l.commitTxn = func(txn *badger.Txn) error { return commits.step("commit", func() error { return commit(txn) }) }
			_, err := l.Import(t.Context(), batchOf(camera(), "B1"), strings.NewReader(threeRows))
			if commits.last != "" && !errors.Is(err, ErrBroken) {
				t.Errorf("commit %d, kept %v: import says %v, want ErrBroken", n, kept, err)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			l = openWith(t, dir, newTestKeys("a"), rows, small())
			if b, err := l.Batch(t.Context(), "B1"); err == nil && b.State == Admitted {
				holds(t, l, b.Number, 1, map[string]string{"admin": "AAAAAA", "service": "BBBBBB"})
				untouched(t, l, 6, 3)
				found++
			} else {
				untouched(t, l, 0, 0)
			}
		}
	}
	if found != 5 {
		t.Errorf("%d imports were admitted, want 5: the one whose last commit was kept, and two of each kind in which none failed", found)
	}
}

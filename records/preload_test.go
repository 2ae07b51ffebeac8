package records

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"mintmark/records/segment"
)

// importOf is how many rows each import of a preloaded ledger had.
const importOf = 1_000_000

// preloaded returns the folder of a closed ledger with n claims, in segments such as
// imports of a million rows and merging leave: up to one of 64 of them, then
// of 8, then of one. It is shared: work on a clone.
func preloaded(tb testing.TB, n int) string {
	tb.Helper()
	keys := authority(tb)
	return shared.made(tb, "ledger-"+short(n), func(dir string) {
		if err := os.Mkdir(dir, 0o700); err != nil {
			tb.Fatal(err)
		}
		if err := Create(tb.Context(), dir, keys, small()); err != nil {
			tb.Fatal(err)
		}
		l := forBench(tb, dir)
		for done := 0; done < n; {
			size := n - done
			for _, imports := range []int{1, 8, 64} {
				if imports*importOf <= n-done {
					size = imports * importOf
				}
			}
			l.preload(tb, done, size)
			done += size
		}
		if err := l.Close(); err != nil {
			tb.Fatal(err)
		}
	})
}

// preload makes a segment of size claims real, with the batches that they came
// with. The filter is left to the next open.
func (l *Ledger) preload(tb testing.TB, first, size int) {
	tb.Helper()
	g, rec, err := l.makeSegment(func(path string) (segment.Manifest, error) { return writePreload(path, first, size) })
	if err != nil {
		tb.Fatal(err)
	}
	if err := l.commitNew(tb.Context(), func(t *txn) error {
		for row := first; row < first+size; row += importOf {
			putPreloaded(t, batchAt(row), min(importOf, first+size-row))
		}
		t.putSegment(g, rec)
		t.count.plus(g.count())
		t.next = t.known().with(g)
		return nil
	}); err != nil {
		tb.Fatal(err)
	}
}

// batchAt is the number of the batch that a row, numbered through, came with.
func batchAt(row int) uint32 { return uint32(1 + row/importOf) }

func putPreloaded(t *txn, number uint32, rows int) {
	b := &batchRecord{
		Number: number, Name: fmt.Sprintf("P%d", number), Product: single().ID, Kind: ImportedBatch, State: Admitted,
		Created: t.now(), Names: single().names(), Rows: rows, Claims: rows, Waiting: rows, Quota: rows,
		Imports: []importRecord{{First: 1, Rows: rows, Columns: []uint8{0}, Version: 1, By: "ann", Admitted: true, Applied: true}},
	}
	putBatch(t, b)
	t.name(b)
}

// writePreload writes a segment of random indexes with their rows.
func writePreload(path string, first, size int) (segment.Manifest, error) {
	w, err := segment.Create(path)
	if err != nil {
		return segment.Manifest{}, err
	}
	defer w.Discard()
	random, step := rand.New(rand.NewPCG(uint64(first), 2)), ^uint64(0)/uint64(size)
	buf := make([]segment.Entry, 0, yieldEvery)
	for i := range size {
		e := segment.Entry{Owner: uint32(uint64(i) * 2654435761 % uint64(size))}
		binary.BigEndian.PutUint64(e.Index[:], uint64(i)*step+random.Uint64N(step)) // so they need no sorting
		binary.BigEndian.PutUint64(e.Index[8:], random.Uint64())
		if buf = append(buf, e); len(buf) == cap(buf) || i == size-1 {
			if err := w.Claims(buf); err != nil {
				return segment.Manifest{}, err
			}
			buf = buf[:0]
		}
	}
	var serial []byte
	for i := range size {
		row := first + i
		if row%importOf == 0 {
			if err := w.Run(segment.Run{Batch: batchAt(row), FirstRow: 1, KeyVersion: 1, Product: single().ID, Devices: true}); err != nil {
				return segment.Manifest{}, err
			}
		}
		serial = appendSerial(serial[:0], row)
		if err := w.Owner(serial, uint32(row%importOf+1), 0); err != nil {
			return segment.Manifest{}, err
		}
	}
	return w.Finish()
}

func TestAPreloadedLedgerIsAsImportsMakeThem(t *testing.T) {
	const n = 5000
	l := closedAfter(t, forBench(t, cloned(t, preloaded(t, n))))
	imported(t, l, "B1", rowsFile(t, n, 100))
	report, err := l.Verify(t.Context(), nil)
	if err != nil || len(report.Problems) > 0 {
		t.Fatalf("Verify = %+v, %v, want no problem", report, err)
	}
	for _, row := range []int{0, n - 1} {
		d, err := l.Device(t.Context(), single().ID, string(appendSerial(nil, row)))
		if err != nil || d.State != Waiting || d.Row != row+1 {
			t.Errorf("device of row %d is %+v, %v, want it to wait", row+1, d, err)
		}
	}
}

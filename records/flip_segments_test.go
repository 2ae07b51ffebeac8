package records

import (
	"os"
	"path/filepath"
	"testing"
)

// segmented leaves a killed ledger of eleven claims: of an import, of a merge of
// two folds and of a fold in segments, and live ones.
func segmented(t *testing.T) (dir string, claims, devices int) {
	t.Helper()
	dir = t.TempDir()
	l := openWith(t, create(t), newTestKeys("a"), newTestRows(), never())
	openBatch(t, l, generated(), 100)
	admit(t, l, batchOf(camera(), "I1"), threeRows)
	for n := range 3 {
		claimMany(t, l, n, n+1)
		l.imports.writing <- struct{}{}
		err := l.fold(t.Context())
		if n == 1 && err == nil {
			err = l.mergeSegments(t.Context(), l.claims().segments[1:])
		}
		<-l.imports.writing
		if err != nil {
			t.Fatal(err)
		}
	}
	claimMany(t, l, 3, 5)
	copyLedger(t, l.dir, dir)
	return dir, 6 + 5, 3 + 5
}

// TestAFlippedBitOfASegmentLosesNoClaimUnnoticed flips bits of the files that hold
// the claims. What open doesn't find verify does; nothing there is harmless but
// what is behind the end.
func TestAFlippedBitOfASegmentLosesNoClaimUnnoticed(t *testing.T) {
	from, claims, devices := segmented(t)
	files, err := filepath.Glob(filepath.Join(from, "segments", "*.seg"))
	if err != nil || len(files) != 3 {
		t.Fatalf("segments are %v, %v, want three", files, err)
	}
	refused, said := 0, 0
	for _, file := range files {
		name, err := filepath.Rel(from, file)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range segmentPlaces(t, file) {
			dir := t.TempDir()
			copyLedger(t, from, dir)
			flip(t, filepath.Join(dir, name), at)
			switch found, err := reopened(t, dir); {
			case err != nil:
				refused++
			case len(found.Problems) > 0:
				said++
			default:
				t.Errorf("%s flipped at %d: %d claims of %d devices of %d and %d, and nobody said so", name, at, found.Claims, found.Devices, claims, devices)
			}
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d flips refused at open, %d found by verify", refused, said)
	if refused == 0 || said == 0 {
		t.Errorf("%d refused and %d said, want some of both", refused, said)
	}
}

// segmentPlaces are all bytes that say something, and a few of the zeros that
// fill a block, which its checksum covers too.
func segmentPlaces(t *testing.T, path string) (at []int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	step := 1
	if !*torture {
		step = 24
	}
	for n, zeros, used := 0, 0, 0; n < len(b); n++ {
		if b[n] == 0 {
			if zeros++; zeros > 8 && zeros%4096 != 0 {
				continue
			}
		} else {
			zeros = 0
		}
		if used%step == 0 {
			at = append(at, int64(n))
		}
		used++
	}
	return at
}

// TestASegmentedLedgerThatWasKilledIsWhole shows that what the flips are compared with is whole.
func TestASegmentedLedgerThatWasKilledIsWhole(t *testing.T) {
	dir, claims, devices := segmented(t)
	found, err := reopened(t, dir)
	if err != nil || len(found.Problems) > 0 || found.Claims != int64(claims) || found.Devices != devices {
		t.Errorf("reopened: %+v, %v, want %d claims of %d devices", found, err, claims, devices)
	}
}

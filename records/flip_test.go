package records

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// With -torture every byte is flipped, without it a sample.
var torture = flag.Bool("torture", false, "run the long form of tests that have one")

// copyLedger copies a ledger's folder as a kill would leave it. The ballast is
// left out, and of logs made ahead there is nothing to copy.
func copyLedger(t testing.TB, from, to string) {
	t.Helper()
	for _, name := range ledgerFiles(t, from) {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		size := int64(len(b))
		b = bytes.TrimRight(b, "\x00") // leave the copy sparse
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, size); err != nil {
			t.Fatal(err)
		}
	}
}

func ledgerFiles(t testing.TB, dir string) (names []string) {
	t.Helper()
	for _, pattern := range []string{"head", "badger/*", "rows/*", "segments/*"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			name, err := filepath.Rel(dir, path)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, name)
		}
	}
	return names
}

// places returns the offsets to flip in a file: every used byte or a sample of
// them, and a few behind the last.
func places(t testing.TB, path string, sample int) (at []int64) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	used := len(bytes.TrimRight(b, "\x00"))
	step := 1
	if !*torture {
		step = max(1, used/sample)
	}
	for n := 0; n < used; n += step {
		at = append(at, int64(n+rand.N(min(step, used-n))))
	}
	for n := used; n < len(b) && len(b)-n > 1; n += (len(b)-n)/2 + 1 {
		at = append(at, int64(n))
	}
	return at
}

func flip(t testing.TB, path string, at int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << rand.N(8)
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
}

// TestAFlippedBitLosesNoClaimUnnoticed flips bits of a ledger that was killed,
// whose claims are in the log, and of one that was closed, whose claims are in
// tables.
func TestAFlippedBitLosesNoClaimUnnoticed(t *testing.T) {
	const devices = 4
	killed, closed := t.TempDir(), create(t)
	l := open(t, closed)
	openBatch(t, l, generated(), 100)
	for n := range devices {
		seal(t, l, sight(generated(), fmt.Sprint("SN", n), fmt.Sprint("H", n)), fmt.Sprint("PASSWORD-", n))
	}
	copyLedger(t, closed, killed)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{"killed": killed, "closed": closed} {
		refused, said, harmless := 0, 0, 0
		for _, file := range ledgerFiles(t, from) {
			for _, at := range places(t, filepath.Join(from, file), 4) {
				dir := t.TempDir()
				copyLedger(t, from, dir)
				flip(t, filepath.Join(dir, file), at)
				switch found, err := reopened(t, dir); {
				case err != nil:
					refused++
				case len(found.Problems) > 0:
					said++
				case found.Claims != devices || found.Devices != devices:
					t.Errorf("%s: %s flipped at %d: %d claims of %d devices, want %d, and nobody said so", name, file, at, found.Claims, found.Devices, devices)
				default:
					harmless++
				}
				if err := os.RemoveAll(dir); err != nil {
					t.Fatal(err)
				}
			}
		}
		t.Logf("%s: %d flips refused at open, %d found by verify, %d harmless", name, refused, said, harmless)
		if refused == 0 || harmless == 0 {
			t.Errorf("%s: %d refused and %d harmless, want some of both", name, refused, harmless)
		}
	}
}

func reopened(t testing.TB, dir string) (Check, error) {
	t.Helper()
	l, err := Open(t.Context(), dir, newTestKeys("a"), nil, small())
	if err != nil {
		return Check{}, err
	}
	defer l.Close()
	return l.Verify(t.Context(), nil)
}

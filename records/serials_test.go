package records

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestSerialsAreSortedLikeStrings lists more serials than a page has.
func TestSerialsAreSortedLikeStrings(t *testing.T) {
	long := strings.Repeat("L", MaxSerial-5)
	for name, serial := range map[string]func(i int) string{
		"ascending":          func(i int) string { return fmt.Sprintf("SN%08d", i) },
		"mixed":              func(i int) string { return fmt.Sprintf("SN%08d", i*7919%3001) },
		"of several lengths": func(i int) string { return fmt.Sprintf("S%d", i*7919%3001) },
		"some twice":         func(i int) string { return fmt.Sprintf("S%d", i%700) },
		"longest":            func(i int) string { return fmt.Sprintf("%s%05d", long, i*7919%3001) },
		"alike for long":     func(i int) string { return fmt.Sprintf("%d%s%d", i%2, long, i*7919%3001) },
		"prefixes":           func(i int) string { return long[:1+i%len(long)] },
		"all equal":          func(int) string { return "SN" },
		"too long":           func(i int) string { return strings.Repeat("X", MaxSerial+i%2) },
	} {
		for _, n := range []int{1, 2, 3001} {
			var s serialList
			for i := range n {
				s.add([]byte(serial(i)))
			}
			if s.len() != n {
				t.Fatalf("%s: %d serials, want %d", name, s.len(), n)
			}
			want := make([]uint32, n)
			for i := range want {
				want[i] = uint32(i + 1)
				if kept := serial(i); string(s.at(want[i])) != kept && (len(kept) <= MaxSerial || len(s.at(want[i])) > 0) {
					t.Fatalf("%s: row %d is %q, want %q or, if it is too long, nothing", name, i+1, s.at(want[i]), kept)
				}
			}
			slices.SortStableFunc(want, func(a, b uint32) int { return bytes.Compare(s.at(a), s.at(b)) })
			if got := s.sorted(); !slices.Equal(got, want) {
				t.Errorf("%s: %d serials are in another order", name, n)
			}
		}
	}
}

// TestSerialsThatAreNoneAreSortedToo sorts bytes that no serial has.
func TestSerialsThatAreNoneAreSortedToo(t *testing.T) {
	random := rand.NewChaCha8([32]byte{2})
	var s serialList
	for i := range 2000 {
		serial := make([]byte, 1+i%MaxSerial)
		random.Read(serial)
		for i, b := range serial {
			serial[i] = max(b, 1)
		}
		s.add(serial)
	}
	if !slices.IsSortedFunc(s.sorted(), func(a, b uint32) int { return bytes.Compare(s.at(a), s.at(b)) }) {
		t.Error("serials are out of order")
	}
}

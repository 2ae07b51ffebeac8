package segment

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// example returns the bytes of the block of docs/ledger.md that follows the line
// "name:". What stands behind a ; is for the reader.
func example(t *testing.T, name string) []byte {
	t.Helper()
	doc, err := os.ReadFile("../../docs/ledger.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(doc), "\n"+name+":\n\n```\n")
	block, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatalf("docs/ledger.md has no block %q", name)
	}
	var b []byte
	for line := range strings.Lines(block) {
		text, _, _ := strings.Cut(line, ";")
		part, err := hex.DecodeString(strings.Join(strings.Fields(text), ""))
		if err != nil {
			t.Fatalf("%s: %q: %v", name, line, err)
		}
		b = append(b, part...)
	}
	return b
}

// TestTheDocumentedBytesAreTheBytes replays the example of docs/ledger.md: two
// claims and a wide entry of two owners.
func TestTheDocumentedBytesAreTheBytes(t *testing.T) {
	var i, j, wide [16]byte
	for n := range 16 {
		i[n], j[n], wide[n] = byte(n), byte(0xf0+n), byte(0x80+n)
	}
	m := model{
		claims: []Entry{{i, 1, 0}, {j, 0, 1}},
		wide:   []Entry{{wide, 0, 1}},
		runs: []modelRun{{
			Run{Batch: 1, FirstRow: 1, KeyVersion: 1, Product: "lock", Devices: true, Narrow: []uint8{1}, Owners: 2},
			[]Owner{{"SN10", 7, 0}, {"SN12", 6, 300}},
		}},
	}
	s := m.open(t, t.TempDir(), "a")
	defer s.Close()
	m.check(t, s)
	file, err := os.ReadFile(filepath.Clean(s.path))
	if err != nil {
		t.Fatal(err)
	}
	owners, footer := s.footer.wide.end(), s.footer.end()
	for name, got := range map[string][]byte{
		"Entries of the claim block": file[:2*entrySize],
		"End of the claim block":     file[countAt:blockSize],
		"Entries of the wide block":  file[blockSize : blockSize+entrySize],
		"End of the wide block":      file[blockSize+countAt : 2*blockSize],
		"Owner block":                file[owners:footer],
		"Footer":                     s.manifest.Footer,
		"Tail":                       file[footer+int64(len(s.manifest.Footer)):],
		"SHA-256 of the segment":     s.manifest.Sum[:],
	} {
		if want := example(t, name); !bytes.Equal(got, want) {
			t.Errorf("%s is\n%x, docs/ledger.md says\n%x", name, got, want)
		}
	}
	if padding := file[2*entrySize : countAt]; slices.Max(padding) != 0 {
		t.Error("the padding is not all 0")
	}
}

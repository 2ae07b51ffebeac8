package records

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
	"time"
)

// example returns the bytes of the block of docs/ledger.md that follows the line
// "name:". What stands behind a ; is for the reader.
func example(t *testing.T, name string) []byte {
	t.Helper()
	doc, err := os.ReadFile("../docs/ledger.md")
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

// TestTheDocumentedBytesAreTheBytes replays the examples of docs/ledger.md: the
// second group of a ledger, which claims one index.
func TestTheDocumentedBytesAreTheBytes(t *testing.T) {
	var ledger [16]byte
	var i Index
	for n := range 16 {
		ledger[n], i[n] = byte(n), byte(0xf0+n)
	}
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	owner := ownerRef{Batch: 1, Position: 0, KeyVersion: 1, Attempt: 2, Serial: "SN1"}

	first := genesis(ledger).next(at)
	first.digest = digest(map[string][]byte{"M": {}})
	first.seal(ledger)
	second := first.next(at.Add(time.Second))
	claims := encodeClaims(map[Index]ownerRef{i: owner})
	second.digest = digest(map[string][]byte{string(claimsKey(2)): claims, "kcam": nil})
	second.claims.add(i)
	second.seal(ledger)
	h := head{schema: 2, ledger: ledger, epoch: 0, seq: 2, hash: second.hash, claims: 1, anchor: 1}

	for name, got := range map[string][]byte{
		"Key of the claims":   claimsKey(2),
		"Value of the claims": claims,
		"Key of the group":    groupKey(2),
		"Value of the group":  second.encode(),
		"Slot of the head":    h.encode(),
	} {
		if want := example(t, name); !bytes.Equal(got, want) {
			t.Errorf("%s is\n%x, docs/ledger.md says\n%x", name, got, want)
		}
	}
}

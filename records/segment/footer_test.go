package segment

import (
	"bytes"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// FuzzFooter checks that a footer that is accepted is the only encoding of what it says.
func FuzzFooter(f *testing.F) {
	for _, m := range []model{{}, small(), newModel(rand.New(rand.NewPCG(1, 2)), 4000, 2000, 3, 9000, true)} {
		manifest, err := m.write(Disk{}, filepath.Join(f.TempDir(), "a"))
		if err != nil {
			f.Fatal(err)
		}
		if _, err := parseFooter(manifest.Footer); err != nil {
			f.Fatalf("parseFooter refuses a seed: %v", err)
		}
		f.Add(manifest.Footer)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		parsed, err := parseFooter(b)
		if err != nil {
			return
		}
		if again := parsed.encode(); !bytes.Equal(again, b) {
			t.Errorf("parseFooter accepted\n%x, which encodes as\n%x", b, again)
		}
	})
}

// FuzzOwners checks that no block of owners makes the reader panic, whatever its checksum.
func FuzzOwners(f *testing.F) {
	f.Add(appendOwner(nil, rawOwner{}, rawOwner{[]byte("SN1"), 7, 300}))
	f.Add(appendOwner(nil, rawOwner{}, rawOwner{nil, math.MaxUint32, math.MaxUint32}))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := ownerReader{rest: b}
		for r.next() == nil {
			if len(r.serial) > math.MaxUint8 {
				t.Fatalf("a serial has %d bytes", len(r.serial))
			}
		}
	})
}

// TestFooterRefuses breaks each rule of a footer.
func TestFooterRefuses(t *testing.T) {
	good := func() *footer {
		return &footer{
			claims: section{kind: claimKind, count: perBlock + 1, fences: []uint64{1, 2}},
			wide:   section{kind: wideKind, count: 1, fences: []uint64{5}},
			runs: []run{{
				Run:    Run{Product: "lock", Devices: true, Narrow: []uint8{1, 2}},
				blocks: []ownerBlock{{owners: 2, length: 20, first: "A"}, {owners: 1, length: 9, first: "B"}},
			}},
		}
	}
	if f, err := parseFooter(good().encode()); err != nil || f.owners != 3 || f.end() != 3*blockSize+29 {
		t.Fatalf("parseFooter = %+v, %v", f, err)
	}
	for name, spoil := range map[string]func(f *footer){
		"too few fences":          func(f *footer) { f.claims.count += perBlock },
		"too many fences":         func(f *footer) { f.wide.count = 0 },
		"a count beyond all":      func(f *footer) { f.claims.count = math.MaxUint64 },
		"fences descend":          func(f *footer) { f.claims.fences[1] = 0 },
		"places descend":          func(f *footer) { f.runs[0].Narrow[1] = 0 },
		"blocks descend":          func(f *footer) { f.runs[0].blocks[1].first = "0" },
		"a device twice":          func(f *footer) { f.runs[0].blocks[1].first = "A" },
		"a block without owners":  func(f *footer) { f.runs[0].blocks[0].owners = 0 },
		"a run without owners":    func(f *footer) { f.runs[0].blocks = nil },
		"a block that is short":   func(f *footer) { f.runs[0].blocks[0].length = 12 },
		"a block that is long":    func(f *footer) { f.runs[0].blocks[0].length = blockSize + 1 },
		"a run more than it says": func(f *footer) { f.runs = append(f.runs, run{}) },
	} {
		f := good()
		spoil(f)
		if got, err := parseFooter(f.encode()); err == nil {
			t.Errorf("%s: parseFooter = %+v, want an error", name, got)
		}
	}
	b := good().encode()
	for n := range b {
		if got, err := parseFooter(b[:n]); err == nil {
			t.Errorf("parseFooter of %d of %d bytes = %+v, want an error", n, len(b), got)
		}
	}
	flagged := bytes.Replace(b, []byte("\x01\x04lock"), []byte("\x02\x04lock"), 1)
	if got, err := parseFooter(flagged); err == nil {
		t.Errorf("parseFooter with flag 2 = %+v, want an error", got)
	}
	for what, at := range map[string]int{"runs": 36 + 3*8, "blocks": bytes.Index(b, []byte("\x01A")) - 8} {
		many := bytes.Clone(b)
		copy(many[at:], "\xff\xff\xff\xff") // must not be taken for a wish for memory
		if got, err := parseFooter(many); err == nil || got != nil {
			t.Errorf("parseFooter with 2^32 %s = %+v, want an error", what, got)
		}
	}
	if _, err := parseFooter(make([]byte, MaxFooter+1)); err == nil {
		t.Error("parseFooter of too many bytes: want an error")
	}
}

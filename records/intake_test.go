package records

import (
	"fmt"
	"strings"
	"testing"
)

func takeIn(t testing.TB, p Product, file string) (*intake, error) {
	t.Helper()
	in := newIntake(p, newTestKeys("a"), Actor{})
	return in, in.read(t.Context(), strings.NewReader(file), nil)
}

// TestTheDigestIsOfWhatTheFileSays compares files by the digest of their content.
func TestTheDigestIsOfWhatTheFileSays(t *testing.T) {
	p := camera()
	p.Credentials[1].Check, p.Credentials[2].Check = nil, nil
	other := p
	other.ID = "doorbell"
	digest := func(p Product, kind BatchKind, file string) [32]byte {
		in, err := takeIn(t, p, "serial,admin,service\n"+file)
		if err != nil {
			t.Fatal(err)
		}
		d, err := in.digest(t.Context(), kind, 1)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	first := digest(p, ImportedBatch, "S1,AB,CD\nS2,EF,GH\n")
	if digest(p, ImportedBatch, "\"S1\",AB,\"CD\"\r\nS2,EF,GH") != first {
		t.Error("quotes and line ends make another content")
	}
	for name, d := range map[string][32]byte{
		"borders moved": digest(p, ImportedBatch, "S1,ABC,D\nS2,EF,GH\n"),
		"serial moved":  digest(p, ImportedBatch, "S1A,B,CD\nS2,EF,GH\n"),
		"other case":    digest(p, ImportedBatch, "S1,ab,CD\nS2,EF,GH\n"),
		"other order":   digest(p, ImportedBatch, "S2,EF,GH\nS1,AB,CD\n"),
		"a row less":    digest(p, ImportedBatch, "S1,AB,CD\n"),
		"other product": digest(other, ImportedBatch, "S1,AB,CD\nS2,EF,GH\n"),
		"history":       digest(p, HistoryBatch, "S1,AB,CD\nS2,EF,GH\n"),
	} {
		if d == first {
			t.Errorf("%s makes the same content", name)
		}
	}
}

func TestAFileWithTooManyRowsIsRefused(t *testing.T) {
	in := newIntake(single(), newTestKeys("a"), Actor{})
	in.limit = 5000
	refused(t, in.read(t.Context(), &manyRows{n: 9000}, nil), "file has more than 5000 rows")
	in = newIntake(single(), newTestKeys("a"), Actor{})
	in.limit = 5000
	if err := in.read(t.Context(), &manyRows{n: 5000}, nil); err != nil {
		t.Error(err)
	}
}

func TestAProfileThatShowsTheValueIsNotRepeated(t *testing.T) {
	p := single()
	p.Credentials[0].Check = func(v []byte) error { return fmt.Errorf("%s is bad", v) }
	in, err := takeIn(t, p, "serial,admin\nS1,GEHEIM\n")
	if err != nil || in.objections.total != 1 || in.objections.hits[0].text != "value is not what the profile asks for" {
		t.Errorf("objections are %+v, %v", in.objections.hits, err)
	}
}

// TestTheIntakeHasEveryRowOnce reads more chunks than there are workers.
func TestTheIntakeHasEveryRowOnce(t *testing.T) {
	const n = 5*maxChunkRows + 7
	in := newIntake(single(), newTestKeys("a", 1, 2), Actor{})
	var read int64
	if err := in.read(t.Context(), &manyRows{n: n}, func(done int64) { read = done }); err != nil {
		t.Fatal(err)
	}
	for _, entries := range [][]entry{in.claims, in.older} {
		var rows bitset
		for _, e := range entries {
			if e.row < 1 || e.row > n || e.place != 0 || rows.note(int(e.row)) {
				t.Fatalf("entry %+v is out of place or there twice", e)
			}
		}
		if len(entries) != n {
			t.Errorf("%d entries, want %d", len(entries), n)
		}
	}
	if got := string(in.serials.at(n)); in.serials.len() != n || got != fmt.Sprintf("SN%08d", n) || read < 10*n {
		t.Errorf("%d serials, the last is %s, %d bytes read", in.serials.len(), got, read)
	}
}

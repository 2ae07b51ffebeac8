package records

import (
	"errors"
	"strings"
	"testing"
)

func TestStatsCount(t *testing.T) {
	l := open(t, create(t))
	p := generated()
	openBatch(t, l, p, 10)
	seal(t, l, sight(p, "SN1", "H1"), "PASSWORD-1")
	settle(t, l, assign(t, l, sight(p, "SN2", "H2"), "PASSWORD-2"), false)
	assign(t, l, sight(p, "SN3", "H3"), "PASSWORD-3")
	s, err := l.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Claims != 3 || s.Batches[Opened] != 1 || s.Devices[Sealed] != 1 || s.Devices[Burned] != 1 || s.Devices[Assigned] != 1 {
		t.Errorf("stats are %+v, want 3 claims, 1 open batch, a sealed, a burned and an assigned device", s)
	}
	if s.Groups != l.last.seq || s.ID == "" || s.Key != "test:a" || s.Epoch != 0 {
		t.Errorf("stats are %+v, want group %d, an id, key test:a and epoch 0", s, l.last.seq)
	}
	if s.Bytes < 4*memTable || s.Free <= 0 {
		t.Errorf("%d bytes are taken and %d free, want at least two logs and something", s.Bytes, s.Free)
	}
}

func TestStatsCountQuestions(t *testing.T) {
	l := admitted(t)
	reject(t, l, batchOf(camera(), "B2"), threeRows)
	check := batchOf(camera(), "B3")
	check.DryRun = true
	if _, err := l.Import(t.Context(), check, strings.NewReader(threeRows)); !errors.Is(err, ErrRejected) {
		t.Fatalf("check: %v, want ErrRejected", err)
	}
	s, err := l.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Checks != 3 || s.Rejected != 1 || s.Batches[Opened] != 1 || s.Batches[Rejected] != 1 || s.Devices[Waiting] != 3 {
		t.Errorf("stats are %+v, want 3 questions, 1 rejection, an open and a rejected batch, 3 waiting devices", s)
	}
}

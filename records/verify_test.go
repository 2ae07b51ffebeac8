package records

import (
	"slices"
	"strings"
	"testing"
)

// clean fails the test if the independent reader finds anything.
func clean(t testing.TB, l *Ledger) Check {
	t.Helper()
	c, err := l.Verify(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Problems {
		t.Errorf("verify: %s", p)
	}
	return c
}

// TestVerifyFindsWhatDoesNotFit breaks each reference of a sound ledger in turn,
// past the code that keeps them.
func TestVerifyFindsWhatDoesNotFit(t *testing.T) {
	p := generated()
	device := func(t *txn, f func(d *Device)) error {
		d, err := getDevice(t, p.ID, "SN1")
		f(d)
		t.set(deviceKey(p.ID, "SN1"), encode(d))
		return err
	}
	batch := func(t *txn, f func(b *batchRecord)) error {
		b, err := getBatch(t, 1)
		f(b)
		putBatch(t, b)
		return err
	}
	for _, tt := range []struct {
		name  string
		spoil func(t *txn) error
		want  string
	}{
		{"nothing", func(t *txn) error { return nil }, ""},
		{"claim without a device", func(t *txn) error {
			return t.claim(index(1), ownerRef{Batch: 1, KeyVersion: 1, Attempt: 1, Serial: "SN9"})
		}, "an attempt that no device has"},
		{"claim without a batch", func(t *txn) error {
			return t.claim(index(1), ownerRef{Batch: 7, Row: 1})
		}, "batch 7, which has no such credential"},
		{"claim for a row that isn't there", func(t *txn) error {
			return t.claim(index(1), ownerRef{Batch: 1, Row: 3})
		}, "row 3 of batch B1, which has 0"},
		{"claim past the count", func(t *txn) error {
			t.set(claimsKey(99), encodeClaims(map[Index]ownerRef{index(1): {Batch: 1}}))
			return nil
		}, "the last group says 1"},
		{"claim lost", func(t *txn) error {
			return spoilClaims(t, func(map[Index]ownerRef) map[Index]ownerRef { return nil })
		}, "holds a credential that is not claimed"},
		{"claim of another", func(t *txn) error {
			return spoilClaims(t, func(claims map[Index]ownerRef) map[Index]ownerRef {
				for i := range claims {
					claims[i] = ownerRef{Batch: 1, KeyVersion: 1, Attempt: 1, Serial: "SN2"}
				}
				return claims
			})
		}, "claimed for someone else"},
		{"two hardware ids", func(t *txn) error {
			return device(t, func(d *Device) {
				again := d.Attempts[0]
				again.Number, again.HardwareID = 2, "H2"
				d.Attempts = append(d.Attempts, again)
			})
		}, "assigned to two hardware ids"},
		{"hardware id unknown", func(t *txn) error { t.del(hardKey(p.ID, "H1")); return nil }, "can't be found by its hardware id"},
		{"hardware id astray", func(t *txn) error { t.set(hardKey(p.ID, "H7"), []byte("SN1")); return nil }, "a device that doesn't have it"},
		{"device under another key", func(t *txn) error {
			d, err := getDevice(t, p.ID, "SN1")
			t.set(deviceKey(p.ID, "SN3"), encode(d))
			return err
		}, "another identity than its key"},
		{"device of no batch", func(t *txn) error { return device(t, func(d *Device) { d.Batch = "B7" }) }, "which is not there"},
		{"state against attempt", func(t *txn) error { return device(t, func(d *Device) { d.Attempts[0].Outcome = "" }) }, "its attempt says otherwise"},
		{"attempt out of place", func(t *txn) error { return device(t, func(d *Device) { d.Attempts[0].Number = 2 }) }, "out of place"},
		{"open attempt of nobody", func(t *txn) error { t.set(pairKey(keyOpen, p.ID, "SN1"), nil); return nil }, "says otherwise"},
		{"open attempt of no device", func(t *txn) error { t.set(pairKey(keyOpen, p.ID, "SN8"), nil); return nil }, "listed as open"},
		{"count of started", func(t *txn) error { return batch(t, func(b *batchRecord) { b.Started++ }) }, "says 2 started, there are 1"},
		{"count of seals", func(t *txn) error { return batch(t, func(b *batchRecord) { b.Seals = 0 }) }, "says 0 seals, there are 1"},
		{"count of probed", func(t *txn) error { return batch(t, func(b *batchRecord) { b.Probed++ }) }, "says 1 probed, there are 0"},
		{"seal counted that is none", func(t *txn) error { return device(t, func(d *Device) { d.Attempts[0].Outcome = Doubtful }) }, "is counted as a seal and is none"},
		{"count of sealed", func(t *txn) error { return batch(t, func(b *batchRecord) { b.Sealed = 0 }) }, "says 0 sealed, there are 1"},
		{"batch without a name", func(t *txn) error { t.del(nameKey("B1")); return nil }, "can't be found by its name"},
		{"name without a batch", func(t *txn) error { t.set(nameKey("B8"), batchKey(8)[1:]); return nil }, "leads to no batch"},
		{"wide index of no batch", func(t *txn) error { t.noteWide(index(1), ownerRef{Batch: 5}); return nil }, "belongs to no batch"},
		{"meta lost", func(t *txn) error { t.del([]byte{keyMeta}); return nil }, "meta record is missing"},
		{"group lost", func(t *txn) error { t.del(groupKey(2)); return nil }, "group 3 follows group 1"},
		{"group changed", func(t *txn) error { t.set(groupKey(2), make([]byte, groupSize)); return nil }, "not linked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, create(t))
			openBatch(t, l, p, 10)
			seal(t, l, sight(p, "SN1", "H1"), "PASSWORD-1")
			if err := l.commit(t.Context(), tt.spoil); err != nil {
				t.Fatal(err)
			}
			c, err := l.Verify(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.Problems, "\n"); tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("verify found %q, want %q", got, tt.want)
			}
		})
	}
}

// TestVerifyHoldsTheChainToTheHead puts another head beside the store.
func TestVerifyHoldsTheChainToTheHead(t *testing.T) {
	for _, tt := range []struct {
		name string
		head func(h *head)
		want string
	}{
		{"ahead", func(h *head) { h.seq++ }, "the head file says"},
		{"other hash", func(h *head) { h.hash[0]++ }, "not the one that the head file names"},
		{"other epoch", func(h *head) { h.epoch++ }, "of another ledger or epoch"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, create(t))
			openBatch(t, l, generated(), 10)
			h := l.head.head
			tt.head(&h)
			if err := l.head.put(h); err != nil {
				t.Fatal(err)
			}
			if err := l.head.put(h); err != nil { // into both slots
				t.Fatal(err)
			}
			c, err := l.Verify(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(c.Problems, "\n"); !strings.Contains(got, tt.want) {
				t.Errorf("verify found %q, want %q", got, tt.want)
			}
		})
	}
}

// spoilClaims changes the record of claims of each group.
func spoilClaims(t *txn, f func(map[Index]ownerRef) map[Index]ownerRef) error {
	return reader{t.g.read, t.known()}.scan([]byte{keyClaim}, func(key, val []byte) error {
		claims := map[Index]ownerRef{}
		err := decodeClaims(val, func(i Index, o ownerRef) error { claims[i] = o; return nil })
		t.set(slices.Clone(key), encodeClaims(f(claims)))
		return err
	})
}

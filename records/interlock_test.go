package records

import (
	"errors"
	"fmt"
	"testing"
)

// TestInterlock has one row for everything that it can say.
func TestInterlock(t *testing.T) {
	p := generated()
	importing := p
	importing.Credentials = append([]Spec{{Name: "wifi", Kind: WifiPSK, Origin: Imported, Bits: 90}}, p.Credentials...)
	other := p
	other.Profile = [32]byte{9}
	batch := func(state BatchState, quota int) func(testing.TB, *Ledger) {
		return func(t testing.TB, l *Ledger) {
			addBatch(t, l, batchRecord{Number: 1, Name: "B1", Product: p.ID, Profile: p.Profile, State: state, Kind: GeneratedBatch, Quota: quota})
		}
	}
	device := func(d Device) func(testing.TB, *Ledger) {
		return func(t testing.TB, l *Ledger) {
			batch(Opened, 10)(t, l)
			d.Product, d.Batch = p.ID, "B1"
			if d.Serial == "" {
				d.Serial = "SN1"
			}
			if err := l.commit(t.Context(), func(t *txn) error {
				if d.HardwareID != "" {
					t.set(hardKey(p.ID, d.HardwareID), []byte(d.Serial))
				}
				return putDevice(t, standing{}, &d)
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	held := []Attempt{{Number: 1, Batch: "B1", Row: 4, HardwareID: "H1", Outcome: Kept, Mark: Injecting}}
	used := []Attempt{{Number: 1, Batch: "B1", Row: 4, HardwareID: "H1", Outcome: Sealed, Mark: Locking}}
	order := func(k ReworkKind) *Rework { return &Rework{Kind: k, Reason: "test"} }
	for _, tt := range []struct {
		name   string
		given  func(testing.TB, *Ledger)
		sight  Sight
		do     Do
		refuse string
	}{
		{"new device", batch(Opened, 10), sight(p, "SN1", "H1"), DoProvision, ""},
		{"new device without a hardware id", batch(Opened, 10), sight(p, "SN1", ""), DoProvision, ""},
		{"new device from the counter", batch(Opened, 10), Sight{Product: p, Counter: "A%d", HardwareID: "H1"}, DoProvision, ""},
		{"new device, no serial", batch(Opened, 10), sight(p, "", "H1"), "", "device is new and its serial is not known"},
		{"bad serial", batch(Opened, 10), sight(p, "SN 1", "H1"), "", `serial has ' ', want only A-Z, a-z, 0-9 and - _ . : /`},
		{"bad hardware id", batch(Opened, 10), sight(p, "SN1", "H\x00"), "", `hardware id has '\x00', want only A-Z, a-z, 0-9 and - _ . : /`},
		{"no batch", nil, sight(p, "SN1", "H1"), "", "no batch of product cam is open"},
		{"batch held", batch(Held, 10), sight(p, "SN1", "H1"), "", "batch B1 is held"},
		{"batch admitted, not open", batch(Admitted, 10), sight(p, "SN1", "H1"), "", "batch B1 is admitted"},
		{"batch closing", batch(Closing, 10), sight(p, "SN1", "H1"), "", "batch B1 is closing"},
		{"batch closed", batch(Closed, 10), sight(p, "SN1", "H1"), "", "no batch of product cam is open"},
		{"batch under check", batch(Checking, 10), sight(p, "SN1", "H1"), "", "batch B1 is checking"},
		{"quota used up", batch(Opened, 0), sight(p, "SN1", "H1"), "", "batch B1 has used up its quota of 0"},
		{"another profile", batch(Opened, 10), sight(other, "SN1", "H1"), "", "the profile is not the one that batch B1 pinned"},
		{"imported product, serial in no batch", batch(Opened, 10), sight(importing, "SN1", "H1"), "", "serial is in no imported batch"},
		{"row waits", device(Device{State: Waiting, Row: 4}), sight(importing, "SN1", "H1"), DoProvision, ""},
		{"row kept, same hardware id", device(Device{State: Kept, Row: 4, HardwareID: "H1", Attempts: held}), sight(importing, "SN1", "H1"), DoProvision, ""},
		{"row kept, serial read by hardware id", device(Device{State: Kept, Row: 4, HardwareID: "H1", Attempts: held}), sight(importing, "", "H1"), DoProvision, ""},
		{"row kept, another hardware id", device(Device{State: Kept, Row: 4, HardwareID: "H1", Attempts: held}), sight(importing, "SN1", "H2"), "", "serial is bound to another hardware id"},
		{"row kept, no hardware id", device(Device{State: Kept, Row: 4, HardwareID: "H1", Attempts: held}), sight(importing, "SN1", ""), "", "serial is bound to another hardware id"},
		{"row waits, its batch is held", func(t testing.TB, l *Ledger) {
			device(Device{State: Waiting, Row: 4})(t, l)
			addBatch(t, l, batchRecord{Number: 1, Name: "B1", Product: p.ID, Profile: p.Profile, State: Held, Kind: ImportedBatch})
		}, sight(importing, "SN1", "H1"), "", "batch B1 is held"},
		{"hardware id of another serial", device(Device{State: Sealed, HardwareID: "H1"}), sight(p, "SN2", "H1"), "", "hardware id is bound to another serial"},
		{"row burned", device(Device{State: Burned, Row: 4, HardwareID: "H1"}), sight(importing, "SN1", "H1"), "", "its imported credentials are used up, it waits for batch replace"},
		{"row frozen", device(Device{State: Frozen, Row: 4}), sight(importing, "SN1", "H1"), "", "its row is frozen, because the ledger was restored"},
		{"generated, burned", device(Device{State: Burned, HardwareID: "H1"}), sight(p, "SN1", "H1"), DoProvision, ""},
		{"attempt open", device(Device{State: Assigned, HardwareID: "H1", Attempts: []Attempt{{Number: 1, Batch: "B1"}}}), sight(p, "SN1", "H1"), "", "an attempt at this device is open"},
		{"sealed", device(Device{State: Sealed, HardwareID: "H1"}), sight(p, "SN1", "H1"), DoProve, ""},
		{"sealed, another profile", device(Device{State: Sealed, HardwareID: "H1"}), sight(other, "SN1", "H1"), DoProve, ""},
		{"doubtful", device(Device{State: Doubtful, HardwareID: "H1"}), sight(p, "SN1", "H1"), DoProve, ""},
		{"relabel", device(Device{State: Sealed, HardwareID: "H1", Rework: order(Relabel)}), sight(p, "SN1", "H1"), DoRelabel, ""},
		{"reprovision", device(Device{State: Sealed, HardwareID: "H1", Rework: order(Reprovision)}), sight(p, "SN1", "H1"), DoProvision, ""},
		{"refurbish a doubtful one", device(Device{State: Doubtful, HardwareID: "H1", Rework: order(Refurbish)}), sight(p, "SN1", "H1"), DoProvision, ""},
		{"board swap", device(Device{State: Sealed, HardwareID: "H1", Rework: order(BoardSwap)}), sight(p, "SN1", "H2"), DoProvision, ""},
		{"reprovision, its row is used up", device(Device{State: Sealed, Row: 4, HardwareID: "H1", Attempts: used, Rework: order(Reprovision)}), sight(importing, "SN1", "H1"), "", "its imported credentials are used up, it waits for batch replace"},
		{"reprovision, with a new row", device(Device{State: Sealed, Row: 5, HardwareID: "H1", Attempts: used, Rework: order(Reprovision)}), sight(importing, "SN1", "H1"), DoProvision, ""},
		{"board swap, its row belongs to the old board", device(Device{State: Kept, Row: 4, HardwareID: "H1", Attempts: held, Rework: order(BoardSwap)}), sight(importing, "SN1", "H2"), "", "its imported credentials are used up, it waits for batch replace"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := open(t, create(t))
			if tt.given != nil {
				tt.given(t, l)
			}
			c, err := l.Interlock(t.Context(), tt.sight)
			if got := fmt.Sprint(err); tt.refuse != "" && (got != tt.refuse || !errors.Is(err, ErrRefused)) {
				t.Errorf("interlock: %v, want refusal %q", err, tt.refuse)
			}
			if tt.refuse == "" && (err != nil || c.Do != tt.do) {
				t.Errorf("interlock says %q, %v, want %q", c.Do, err, tt.do)
			}
			var r *Refusal
			if errors.As(err, &r) && r.Hint == "" {
				t.Errorf("refusal %q has no remedy", r.Text)
			}
		})
	}
}

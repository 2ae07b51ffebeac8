package station_test

import (
	"testing"

	"mintmark/records"
	"mintmark/station"
)

func TestADeviceGetsItsOwnCredentials(t *testing.T) {
	in(t, func(t *testing.T, r *rig) {
		r.batch("B1", 10)
		r.start()
		d := newDevice("SN1")
		got := r.put(d)
		r.want(got, station.Pass, "", "SN1", records.Sealed)
		if got.Result != "sealed, label 1" || got.Good != 1 || got.Bad != 0 || got.Attempt != 1 || got.Batch != "B1" {
			t.Errorf("slot shows %+v", got)
		}
		if v := r.source.values; d.saved["admin"] != v[0] || d.saved["wifi"] != v[1] || !d.locked {
			t.Errorf("device holds %v, locked %v, want %v", d.saved, d.locked, v)
		}
	})
}

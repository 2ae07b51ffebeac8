package records

import (
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A meta record binds the store to its key and its head.
type meta struct {
	Schema  uint32             `cbor:"1,keyasint"`
	ID      [16]byte           `cbor:"2,keyasint"`
	Epoch   uint32             `cbor:"3,keyasint"` // 0 until the first restore, then as nextEpoch says
	Key     string             `cbor:"4,keyasint"` // Keys.ID of the key it was made with
	Checks  map[uint32][8]byte `cbor:"5,keyasint"` // check value of each key version
	Created time.Time          `cbor:"6,keyasint"`
}

// A batchRecord is a batch as it is stored.
type batchRecord struct {
	Number  uint32     `cbor:"1,keyasint"`
	Name    string     `cbor:"2,keyasint"`
	Product string     `cbor:"3,keyasint"`
	Profile [32]byte   `cbor:"4,keyasint"`
	State   BatchState `cbor:"5,keyasint"`
	Kind    BatchKind  `cbor:"6,keyasint"`
	Trial   bool       `cbor:"7,keyasint,omitempty"`
	Quota   int        `cbor:"8,keyasint,omitempty"`
	Rows    int        `cbor:"9,keyasint,omitempty"`  // of an imported batch
	Claims  int        `cbor:"10,keyasint,omitempty"` // made at admission
	Reason  string     `cbor:"11,keyasint,omitempty"`
	By      string     `cbor:"12,keyasint"`
	Created time.Time  `cbor:"13,keyasint"`
	Names   []string   `cbor:"14,keyasint"` // credentials of the product; claims refer to them by place

	// The devices that belong to the batch now, by state, kept by putDevice.
	Waiting  int `cbor:"15,keyasint,omitempty"`
	Assigned int `cbor:"16,keyasint,omitempty"`
	Kept     int `cbor:"17,keyasint,omitempty"`
	Doubtful int `cbor:"18,keyasint,omitempty"`
	Sealed   int `cbor:"19,keyasint,omitempty"`
	Burned   int `cbor:"20,keyasint,omitempty"`
	Frozen   int `cbor:"21,keyasint,omitempty"`

	// Started counts the devices that had at least one attempt in the batch.
	Started int `cbor:"22,keyasint,omitempty"`

	// Seals counts the attempts in the batch that ended in a seal, Probed those of
	// them whose device was probed by a factory reset; kept by countSeal. They
	// never go down, whatever rework does later.
	Seals  int `cbor:"26,keyasint,omitempty"`
	Probed int `cbor:"27,keyasint,omitempty"`

	// The import's own.
	Imports  []importRecord `cbor:"23,keyasint,omitempty"` // the first, then replacements
	Shredded *bool          `cbor:"24,keyasint,omitempty"`
	Warning  string         `cbor:"25,keyasint,omitempty"` // of capacity

	// RowsFrozen holds back the rows that have no device record, after a restore.
	RowsFrozen bool `cbor:"30,keyasint,omitempty"`
}

// devices returns the count of devices in a state.
func (b *batchRecord) devices(s DeviceState) *int {
	switch s {
	case Waiting:
		return &b.Waiting
	case Assigned:
		return &b.Assigned
	case Kept:
		return &b.Kept
	case Doubtful:
		return &b.Doubtful
	case Sealed:
		return &b.Sealed
	case Burned:
		return &b.Burned
	case Frozen:
		return &b.Frozen
	}
	panic("records: internal error: device state " + string(s))
}

// getBatch returns batch n, which something refers to, so it must be there.
func getBatch(g getter, n uint32) (*batchRecord, error) {
	val, found, err := g.get(batchKey(n))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fmt.Errorf("batch number %d: %w", n, ErrNotFound)
	}
	return decode[batchRecord](val)
}

func putBatch(t *txn, b *batchRecord) { t.set(batchKey(b.Number), encode(b)) }

// batchNamed returns the batch that has the name now, or ErrNotFound.
func batchNamed(g getter, name string) (*batchRecord, error) {
	val, found, err := g.get(nameKey(name))
	if err != nil {
		return nil, err
	}
	if !found || len(val) != 4 {
		return nil, fmt.Errorf("batch %s: %w", name, ErrNotFound)
	}
	return getBatch(g, be32(val))
}

// getDevice returns a device, or nil if the ledger doesn't know it.
func getDevice(g getter, product, serial string) (*Device, error) {
	val, found, err := g.get(deviceKey(product, serial))
	if err != nil {
		return nil, err
	}
	if !found {
		return waitingDevice(g, product, serial)
	}
	return decode[Device](val)
}

// The one encoding: CBOR with integer keys, deterministic, times as text to the
// millisecond. Neither is changed after start.
var (
	encMode = must(cbor.EncOptions{Sort: cbor.SortCoreDeterministic, Time: cbor.TimeRFC3339Nano}.EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		IndefLength:       cbor.IndefLengthForbidden,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic("records: internal error: " + err.Error())
	}
	return v
}

func encode(v any) []byte { return must(encMode.Marshal(v)) }

func decode[T any](b []byte) (*T, error) {
	v := new(T)
	if err := decMode.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("decode %T: %w", *v, err)
	}
	return v, nil
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

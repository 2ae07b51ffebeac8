package records

import (
	"context"

	"mintmark/hsm/secret"
)

// Keys computes keyed digests. It is what the ledger needs of an authority for
// the index; the key never leaves it (R-LED-01).
//
// Sum computes HMAC-SHA-256 of every message under the given key version. It is
// called before the ledger's writer is entered, may be called from several
// goroutines at once, returns soon after ctx is done, and neither keeps nor logs
// a message: the messages hold credentials and are wiped by the caller.
type Keys interface {
	// Versions lists the key versions, oldest first. New indexes are made under
	// the last one; look-ups are made under every one (R-LED-05).
	Versions() []uint32
	Sum(ctx context.Context, version uint32, msgs [][]byte, out [][32]byte) error
	// ID names the authority and key for records and reports, never the key itself.
	ID() string
}

// RowKeys keeps the keys of waiting rows: one object in the authority per
// import, so that closing a batch can destroy its key alone.
type RowKeys interface {
	// NewRowKey makes a fresh 32-byte key and an object of its own named object
	// that wraps it.
	NewRowKey(ctx context.Context, object string) (key *secret.Value, wrapped []byte, err error)
	// RowKey unwraps a key. The caller closes it.
	RowKey(ctx context.Context, object string, wrapped []byte) (*secret.Value, error)
	// Shred destroys the object and confirms it. Shredded is false where the
	// authority can't make a key unrecoverable (software). Shredding what is not
	// there, or again, is fine: a crash may have come between shred and record.
	Shred(ctx context.Context, object string) (shredded bool, err error)
}

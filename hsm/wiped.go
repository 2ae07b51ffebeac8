package hsm

import (
	"crypto/sha512"
	"hash"

	"mintmark/hsm/digest"
	"mintmark/hsm/secret"
)

// wiped gives a library hashes that keep their state, and the sums they return,
// in memory that is wiped at the end.
type wiped struct {
	hashes []*digest.Hash
	sums   *secret.Value
	used   int
}

// newWiped has room for the sums of one SHA-512 crypt: one a round and five
// around them.
func newWiped(rounds int) *wiped {
	return &wiped{sums: secret.New((rounds + 8) * sha512.Size)}
}

func (w *wiped) next() hash.Hash {
	h := digest.SHA512()
	w.hashes = append(w.hashes, h)
	return wipedHash{h, w}
}

func (w *wiped) close() {
	for _, h := range w.hashes {
		h.Close()
	}
	w.sums.Close()
}

type wipedHash struct {
	*digest.Hash
	w *wiped
}

// Sum keeps a new sum in wiped memory.
func (h wipedHash) Sum(b []byte) []byte {
	if len(b) > 0 {
		return h.Hash.Sum(b)
	}
	at := h.w.sums.Bytes()[h.w.used:]
	h.w.used += h.Size()
	return h.Hash.Sum(at[:0:h.Size()])
}

package digest

import "mintmark/hsm/secret"

// A Key is a key for HMAC-SHA-256, ready for use: the states of the inner and the
// outer hash after the padded key. It may be used by many goroutines at once.
type Key struct {
	states       *secret.Value
	inner, outer []byte // views of states
}

// NewKey prepares key, which may be of any length and stays the caller's.
func NewKey(key []byte) *Key {
	h := SHA256()
	defer h.Close()
	block := secret.New(h.BlockSize())
	defer block.Close()
	if len(key) > block.Len() {
		h.Write(key)
		h.Sum(block.Bytes()[:0])
	} else {
		copy(block.Bytes(), key)
	}
	n := len(h.fresh)
	k := &Key{states: secret.New(2 * n)}
	k.inner, k.outer = k.states.Bytes()[:n:n], k.states.Bytes()[n:]
	h.start(block.Bytes(), 0x36, k.inner)
	h.start(block.Bytes(), 0x36^0x5c, k.outer)
	return k
}

// start xors the padded key with the byte x, in place, and saves the state of a
// hash that took it.
func (h *Hash) start(block []byte, x byte, to []byte) {
	for i := range block {
		block[i] ^= x
	}
	h.Reset()
	h.Write(block)
	h.save(to)
}

// Close wipes the key. No MAC of it may be in use.
func (k *Key) Close() { k.states.Close() }

// A MAC computes HMAC-SHA-256 under a key. It is for one goroutine.
type MAC struct {
	key  *Key
	hash *Hash
}

// MAC returns a MAC under k. The caller closes it.
func (k *Key) MAC() *MAC { return &MAC{key: k, hash: SHA256()} }

// Sum writes the MAC of the parts, one after the other, to out. What it leaves
// behind of them is overwritten by the next Sum or by Close.
func (m *MAC) Sum(out *[32]byte, parts ...[]byte) {
	h := m.hash
	h.load(m.key.inner)
	for _, p := range parts {
		h.Write(p)
	}
	copy(out[:], h.finish())
	h.load(m.key.outer)
	h.Write(out[:])
	copy(out[:], h.finish())
}

// Close wipes what is left of keys and messages.
func (m *MAC) Close() { m.hash.Close() }

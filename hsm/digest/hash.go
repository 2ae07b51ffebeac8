// Package digest has hashes and MACs that can be wiped. Those of the standard
// library keep the last block of their input, and a key in a form that is as good
// as the key, in the heap for as long as the collector likes.
//
// It promises: after Close the state of a [Hash], [Key] or [MAC] is overwritten,
// and nothing was allocated that held a part of it. The stack and the registers
// of the compression function itself are beyond it, see docs/secrets.md.
package digest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"encoding/binary"
	"hash"

	"mintmark/hsm/secret"
)

// A state is what the standard library's hashes can do beyond hashing: they put
// their state into memory of our choice, and take it back. Taking one back
// overwrites the old one, its buffered input too.
type state interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// Layout of a saved state: 4 bytes magic, the chaining value, one block of
// buffered input, 8 bytes for the length of the input.
const magicLen = 4

// A Hash is a hash.Hash whose state is wiped by Close. It is for one goroutine.
type Hash struct {
	state  state
	length int // of the length in the padding
	fresh  []byte
	room   *secret.Value // two saved states
	pad    [128 + 16]byte
}

// SHA256 returns a fresh SHA-256.
func SHA256() *Hash { return newHash(sha256.New(), 8) }

// SHA512 returns a fresh SHA-512.
func SHA512() *Hash { return newHash(sha512.New(), 16) }

func newHash(h hash.Hash, length int) *Hash {
	s := h.(state)
	fresh, err := s.AppendBinary(nil)
	if err != nil || len(fresh) != magicLen+s.Size()+s.BlockSize()+8 {
		panic("digest: internal error: the standard library saves hashes in another form")
	}
	return &Hash{state: s, length: length, fresh: fresh, room: secret.New(2 * len(fresh))}
}

// Size returns the length of a sum.
func (h *Hash) Size() int { return h.state.Size() }

// BlockSize returns the length of a block.
func (h *Hash) BlockSize() int { return h.state.BlockSize() }

// Write never fails.
func (h *Hash) Write(p []byte) (int, error) { return h.state.Write(p) }

// Reset forgets all input and wipes what was left of it.
func (h *Hash) Reset() { h.load(h.fresh) }

// Sum appends the hash of the input so far to b.
func (h *Hash) Sum(b []byte) []byte {
	saved := h.save(h.room.Bytes()[:len(h.fresh)])
	b = append(b, h.finish()...)
	h.load(saved)
	return b
}

// Close wipes the state. The Hash must not be used afterwards.
func (h *Hash) Close() {
	h.Reset()
	h.room.Close()
}

// finish pads the input and returns a view of the chaining value, valid until
// the next call of finish. The Hash must be loaded or reset afterwards.
func (h *Hash) finish() []byte {
	at := h.room.Bytes()[len(h.fresh):]
	h.save(at)
	n := binary.BigEndian.Uint64(at[len(at)-8:])

	block, length := uint64(h.BlockSize()), uint64(h.length)
	end := block - (n+length)%block // where the length starts in the padding
	clear(h.pad[:])
	h.pad[0] = 0x80
	binary.BigEndian.PutUint64(h.pad[end+length-8:], n<<3)
	h.state.Write(h.pad[:end+length])
	return h.save(at)[magicLen : magicLen+h.Size()]
}

// save writes the state to exactly the bytes of to.
func (h *Hash) save(to []byte) []byte {
	out, err := h.state.AppendBinary(to[:0])
	if err != nil || len(out) != len(to) {
		panic("digest: internal error: a state of another size")
	}
	return out
}

func (h *Hash) load(from []byte) {
	if err := h.state.UnmarshalBinary(from); err != nil {
		panic("digest: internal error: " + err.Error())
	}
}

// Package secret holds credentials and keys in memory that is locked, kept out
// of core dumps, wiped on close and impossible to print.
//
// It promises:
//
//   - The bytes of a [Value] live outside the Go heap, in pages that are locked
//     into memory (as far as [Locked] says), left out of core dumps, empty in a
//     forked child, and fenced by pages that nobody may touch. The garbage
//     collector neither sees nor copies them.
//   - [Value.Close] overwrites them before the space is used again.
//   - No formatting verb, encoder or log handler shows them: text encoders get
//     "[secret]", binary encoders an error. There is no conversion to a string.
//
// What it can't promise is in docs/secrets.md: whoever copies [Value.Bytes]
// makes a copy that nobody wipes.
package secret

import (
	"crypto/subtle"
	"math"
	"sync/atomic"
)

// A Value is one secret. A value that is not closed is never freed: the
// collector can't know whether a view from Bytes is still in use.
//
// Methods may be called from several goroutines at once. Closing a value while
// another goroutine reads its view is a mistake of the caller: the view then
// shows zeros, or another secret. A Value must not be copied (go vet says so).
type Value struct {
	redacted
	home atomic.Pointer[slab] // nil once closed
	off  uint32
	size uint32
}

// New returns a Value of n zero bytes. Like any allocation it panics when there
// is no memory left; when the memory can't be locked, [Locked] says so.
func New(n int) *Value {
	if n < 0 || n > math.MaxInt32 {
		panic("secret: internal error: a value must have 0 to 2^31-1 bytes")
	}
	s, off := memory.take(n)
	v := &Value{off: off, size: uint32(n)}
	v.home.Store(s)
	return v
}

// From moves b into a Value: it copies b and wipes b.
func From(b []byte) *Value {
	v := Join(b)
	Wipe(b)
	return v
}

// Join returns a Value that holds the parts one after the other. The parts stay
// as they are.
func Join(parts ...[]byte) *Value {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	v := New(n)
	b := v.Bytes()
	for _, p := range parts {
		b = b[copy(b, p):]
	}
	wipeRegisters()
	return v
}

// Bytes is a view of the secret, valid until Close. It must not be kept,
// copied to the heap or turned into a string. It panics after Close.
func (v *Value) Bytes() []byte {
	if v == nil {
		panic("secret: internal error: bytes of no value")
	}
	s := v.home.Load()
	if s == nil {
		panic("secret: internal error: bytes of a closed value")
	}
	end := v.off + v.size
	return s.data[v.off:end:end]
}

// Len returns the length in bytes, also of a closed value; nil has none.
func (v *Value) Len() int {
	if v == nil {
		return 0
	}
	return int(v.size)
}

// Equal compares in constant time; only the lengths show. It panics when either
// is nil or closed.
func (v *Value) Equal(w *Value) bool {
	return subtle.ConstantTimeCompare(v.Bytes(), w.Bytes()) == 1
}

// Close wipes and frees the value. Closing twice or closing nil is fine; Bytes
// panics afterwards.
func (v *Value) Close() {
	if v == nil {
		return
	}
	if s := v.home.Swap(nil); s != nil {
		memory.give(s, v.off, v.size)
	}
}

// Held returns how many values of this process are not closed. A number that
// grows with the devices that were made is a leak.
func Held() int { return int(memory.held.Load()) }

// Wipe overwrites b with zeros, and so it does the registers that this thread copies
// with, which may hold the end of b. It is not inlined, so that the compiler can't
// see that nobody reads b afterwards and leave the zeros out.
//
//go:noinline
func Wipe(b []byte) {
	clear(b)
	wipeRegisters()
}

// wipeRegisters copies zeros, as many as a copy has in registers at once. Go uses
// some of those for nothing but copies, so a thread that idles would keep 256 bytes
// of what it copied last, and the next signal, or a core, would write them down.
func wipeRegisters() {
	var zeros, over [256]byte
	move(over[:], zeros[:])
}

// move is not inlined, so that the compiler can't see what it copies.
//
//go:noinline
func move(to, from []byte) { copy(to, from) }

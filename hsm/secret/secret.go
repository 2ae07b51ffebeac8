// Package secret holds credentials and keys in memory that is locked, kept out
// of core dumps, wiped on close and impossible to print.
package secret

// A Value is one secret. Its bytes live outside the Go heap.
type Value struct{ b []byte }

// New returns a Value of n zero bytes.
func New(n int) *Value { panic("todo") }

// From moves b into a Value: it copies b and wipes b.
func From(b []byte) *Value { panic("todo") }

// Bytes is a view of the secret, valid until Close. It must not be kept,
// copied to the heap or turned into a string.
func (v *Value) Bytes() []byte { panic("todo") }

// Len returns the length in bytes.
func (v *Value) Len() int { panic("todo") }

// Equal compares in constant time.
func (v *Value) Equal(w *Value) bool { panic("todo") }

// Close wipes and frees the value. Closing twice or closing nil is fine; Bytes
// panics afterwards.
func (v *Value) Close() { panic("todo") }

// Wipe overwrites b with zeros.
func Wipe(b []byte) { clear(b) }

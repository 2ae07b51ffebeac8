//go:build !goexperiment.runtimesecret

package secret

// Do calls f. In a program built with GOEXPERIMENT=runtimesecret the registers
// and the stack that f used are erased before Do returns, and its garbage is
// erased when it is collected; in this one they are not. f must start no
// goroutine and keep nothing that it allocated but its result.
func Do(f func()) { f() }

// Erasing says whether Do erases.
func Erasing() bool { return false }

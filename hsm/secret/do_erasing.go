//go:build goexperiment.runtimesecret

package secret

import "runtime/secret"

// Do calls f, erases the registers and the stack that f used before it returns,
// and has the garbage of f erased when it is collected. f must start no
// goroutine and keep nothing that it allocated but its result.
func Do(f func()) { secret.Do(f) }

// Erasing says whether Do erases.
func Erasing() bool { return true }

package records

import "fmt"

// Badger makes a table of a full log in a goroutine of its own, and when that
// fails it tries again for ever. Behind it the logs fill up; then a commit never
// returns, nor does a read that began after that commit, nor Badger's Close, which
// makes a table of the last log. It tells nobody but its logger. So the logger
// breaks the ledger at the first failure, and whoever waits for the store waits
// for that as well: the store is jammed.
//
// Nothing is lost by it, because the full log is still there, and the next open
// makes a table of it. But a jammed store can't be closed. Until the process ends
// it keeps Badger's goroutines, one of which tries again each second, its memory
// and mapped files, a goroutine for each call that has not returned, and the locks
// of the folder: a commit that was given up may still get through, so nobody else
// may open it.

// tableFails is how Badger's complaint about a table begins, before anything is
// filled in. It has no other sign of it; TestATableThatCantBeMade holds this to the
// module.
const tableFails = "error flushing memtable"

// jams breaks the ledger because a table can't be made. Badger calls it, from any
// goroutine and again with every try.
func (l *Ledger) jams(cause error) {
	l.breaks(fmt.Errorf("make a table of a full log: %w", cause))
	l.jam.Do(func() { close(l.jammed) }) // when Err says why
}

// await calls f, which calls the store, and returns what it says; if the store jams,
// it returns why and leaves f running. Then nothing that f uses may be touched.
func await[T any](l *Ledger, f func() (T, error)) (T, error) {
	type answer struct {
		v   T
		err error
	}
	done := make(chan answer, 1) // has room for an answer that nobody takes
	go func() {
		v, err := f()
		done <- answer{v, err}
	}()
	select {
	case a := <-done:
		return a.v, a.err
	case <-l.jammed:
		var none T
		return none, l.Err()
	}
}

// awaitDone is await for what has nothing but an error to say.
func (l *Ledger) awaitDone(f func() error) error {
	_, err := await(l, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// isJammed says whether the store has to be left as it is.
func (l *Ledger) isJammed() bool {
	select {
	case <-l.jammed:
		return true
	default:
		return false
	}
}

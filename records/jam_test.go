package records

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// obstruct puts folders in the way of the tables that Badger makes next; with
// every try it takes the next name, once a second.
func obstruct(t *testing.T, dir string) {
	t.Helper()
	for id := range 600 {
		name := filepath.Join(dir, "badger", fmt.Sprintf("%06d.sst", id))
		if err := os.Mkdir(name, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	// Badger goes on trying when the test is over. Then it finds no folder.
	t.Cleanup(func() {
		if err := os.Rename(filepath.Join(dir, "badger"), filepath.Join(dir, "jammed")); err != nil {
			t.Error(err)
		}
	})
}

// asFound is the ledger in dir in a folder of its own, as it would be found by the
// next process: the jammed one keeps its folder.
func asFound(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(to, "badger", "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		if st, err := os.Stat(name); err == nil && st.IsDir() {
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		}
	}
	return to
}

// jamming opens a ledger that can't make a table. What Badger complains of is held
// back until release is closed, and with it Badger's tries.
func jamming(t *testing.T, dir string, release <-chan struct{}) *Ledger {
	t.Helper()
	o := small()
	o.Log = slog.New(slog.NewTextHandler(gate(release), nil))
	l, err := Open(t.Context(), dir, newTestKeys("a"), nil, o)
	if err != nil {
		t.Fatal(err)
	}
	testBatch(t, l)
	obstruct(t, dir)
	return l
}

type gate <-chan struct{}

func (g gate) Write(p []byte) (int, error) {
	<-g
	return len(p), nil
}

// mebibyte commits a group of nearly a mebibyte; 16 of them fill a log.
func mebibyte(ctx context.Context, l *Ledger, n int) error {
	return l.commit(ctx, func(t *txn) error {
		t.set(fmt.Appendf(nil, "mebibyte%d", n), make([]byte, 1<<20-100))
		return nil
	})
}

// count opens the ledger in dir and returns how many of the first n of mebibyte it has.
func count(t *testing.T, dir string, n int) (got int) {
	t.Helper()
	err := open(t, dir).view(func(r reader) error {
		for i := range n {
			_, found, err := r.get(fmt.Appendf(nil, "mebibyte%d", i))
			if err != nil {
				return err
			}
			if found {
				got++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// TestATableThatCantBeMade is about the real Badger's complaint.
func TestATableThatCantBeMade(t *testing.T) {
	dir := create(t)
	release := make(chan struct{})
	close(release)
	l := jamming(t, dir, release)
	done := 0
	for ; done < 60; done++ {
		if err := mebibyte(t.Context(), l, done); err != nil {
			break
		}
	}
	<-l.Broken()
	if err := l.Err(); !errors.Is(err, ErrBroken) || !strings.Contains(err.Error(), "make a table of a full log: ") {
		t.Errorf("Err says %v, want ErrBroken and that a table can't be made", err)
	}
	if err := mebibyte(t.Context(), l, 99); !errors.Is(err, ErrBroken) {
		t.Errorf("commit afterwards = %v, want ErrBroken", err)
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close = %v, want nil: Err has said why", err)
	}
	if _, err := Open(t.Context(), dir, newTestKeys("a"), nil, small()); !errors.Is(err, ErrHeld) {
		t.Errorf("Open beside a jammed store = %v, want ErrHeld", err)
	}
	if got := count(t, asFound(t, dir), 60); got < done {
		t.Errorf("%d commits are there, want the %d that were answered", got, done)
	}
}

// TestWhatWaitsBehindAJam fills every log while Badger's complaint is held back,
// until a commit and a read hang in Badger.
func TestWhatWaitsBehindAJam(t *testing.T) {
	dir, release := create(t), make(chan struct{})
	l := jamming(t, dir, release)
	// A log that no table can be made of, two that wait for it, and the one in use
	// hold 64 of them and a few more.
	answers := make(chan error, 100)
	for n := range cap(answers) {
		go func() { answers <- mebibyte(t.Context(), l, n) }() // waited for below
	}
	for range 60 {
		if err := <-answers; err != nil {
			t.Fatal(err)
		}
	}
	awaitStack(`sync\.\(\*Cond\)\.Wait\(.*\n.*\n.*ensureRoomForWrite`)
	read := make(chan error, 1)
	go func() { read <- l.view(func(reader) error { return nil }) }() // waited for below
	awaitStack(`WaitForMark`)
	close(release)
	if err := <-read; !errors.Is(err, ErrBroken) {
		t.Errorf("read = %v, want ErrBroken", err)
	}
	done := 60
	for range cap(answers) - done {
		if err := <-answers; err == nil {
			done++
		} else if !errors.Is(err, ErrBroken) {
			t.Errorf("commit = %v, want ErrBroken", err)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close = %v, want nil: Err has said why", err)
	}
	again := asFound(t, dir)
	obstruct(t, again)
	if _, err := Open(t.Context(), again, newTestKeys("a"), nil, small()); !errors.Is(err, ErrBroken) {
		t.Errorf("Open where no table can be made = %v, want ErrBroken", err)
	}
	if got := count(t, asFound(t, dir), cap(answers)); got < done {
		t.Errorf("%d commits are there, want the %d that were answered", got, done)
	}
}

// awaitStack waits until a goroutine's stack matches.
func awaitStack(pattern string) {
	match := regexp.MustCompile(pattern)
	for buf := make([]byte, 1<<20); !match.Match(buf[:runtime.Stack(buf, true)]); {
		runtime.Gosched()
	}
}

// TestAJamAtClose closes a sound ledger whose last log can't be made a table of.
func TestAJamAtClose(t *testing.T) {
	dir, release := create(t), make(chan struct{})
	close(release)
	l := jamming(t, dir, release)
	if err := mebibyte(t.Context(), l, 0); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); !errors.Is(err, ErrBroken) {
		t.Errorf("Close = %v, want ErrBroken", err)
	}
	if count(t, asFound(t, dir), 1) != 1 {
		t.Error("the commit that was answered is gone")
	}
}

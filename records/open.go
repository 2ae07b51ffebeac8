package records

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// takeLock takes the folder for this process.
func takeLock(dir string) (*os.File, error) {
	if fi, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("ledger folder: %w", err)
	} else if !fi.IsDir() {
		return nil, fmt.Errorf("ledger folder %s is a file, want a folder", dir)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("ledger folder can't be written: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 20)) // who holds it is only good to know
		return nil, errors.Join(fmt.Errorf("%w: %s, in %s: stop it, or use it through its socket",
			ErrHeld, bytes.TrimSpace(pid), dir), f.Close())
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = fmt.Fprintf(f, "process %d\n", os.Getpid())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// check holds the store to its head, its key and its claims.
func (l *Ledger) check(ctx context.Context) error {
	if err := l.view(l.checkMeta); err != nil {
		return err
	}
	if err := l.checkKey(ctx); err != nil {
		return err
	}
	if err := l.view(l.checkChain); err != nil {
		return err
	}
	have, err := l.loadClaims(ctx)
	if err != nil {
		return err
	}
	if err := l.checkClaims(have); err != nil {
		return err
	}
	h := l.head.head
	h.schema = l.meta.Schema // it is behind, if a migration was cut off
	h.seq, h.hash, h.claims, h.anchor = l.last.seq, l.last.hash, l.last.claims.n, l.last.seq
	return l.head.put(h)
}

func (l *Ledger) checkMeta(r reader) error {
	val, found, err := r.get([]byte{keyMeta})
	if err != nil {
		return err
	}
	if !found && l.head.head.seq == 0 {
		return fmt.Errorf("%s was never finished: delete it and make it again", l.dir)
	}
	if !found {
		return behind("its first record is missing")
	}
	m, err := decode[meta](val)
	if err != nil {
		return err
	}
	if m.Schema > schema {
		return fmt.Errorf("%w: schema %d, want at most %d: install the program that wrote it", ErrNewer, m.Schema, schema)
	}
	if m.ID != l.head.head.ledger || m.Epoch != l.head.head.epoch {
		return behind("its head file is of another ledger, or from before a restore")
	}
	l.meta = *m
	return nil
}

// checkKey compares the check value of each key version that the ledger knows.
func (l *Ledger) checkKey(ctx context.Context) error {
	have, err := keyChecks(ctx, l.keys)
	if err != nil {
		return err
	}
	for v, want := range l.meta.Checks {
		got, ok := have[v]
		if !ok {
			return fmt.Errorf("%w: %s has no version %d, which %s has: look for the right key", ErrWrongKey, l.keys.ID(), v, l.meta.Key)
		}
		if got != want {
			return fmt.Errorf("%w: this is %s, it was made with %s: look for the right key", ErrWrongKey, l.keys.ID(), l.meta.Key)
		}
	}
	return nil
}

// bindVersions binds the ledger to key versions that are new.
func (l *Ledger) bindVersions(ctx context.Context) error {
	have, err := keyChecks(ctx, l.keys)
	if err != nil || maps.Equal(have, l.meta.Checks) {
		return err
	}
	l.meta.Checks = have
	m := l.meta
	return l.commit(ctx, func(t *txn) error {
		t.set([]byte{keyMeta}, encode(m))
		return nil
	})
}

// keyChecks returns what tells one key from another, for each version.
func keyChecks(ctx context.Context, keys Keys) (map[uint32][8]byte, error) {
	checks := map[uint32][8]byte{}
	for _, v := range keys.Versions() {
		var out [1][32]byte
		if err := keys.Sum(ctx, v, [][]byte{[]byte("mintmark/key check")}, out[:]); err != nil {
			return nil, fmt.Errorf("check index key: %w", err)
		}
		checks[v] = [8]byte(out[0][:8])
	}
	if len(checks) == 0 {
		return nil, fmt.Errorf("check index key: %s has no version", keys.ID())
	}
	return checks, nil
}

// checkChain follows the groups from the anchor to the newest, which must be
// the head's, or the one after it: a crash between commit and head.
func (l *Ledger) checkChain(r reader) error {
	h := l.head.head
	last := genesis(h.ledger)
	err := r.scanFrom([]byte{keyGroup}, groupKey(h.anchor), func(key, val []byte) error {
		seq := binary.BigEndian.Uint64(key[1:])
		g, err := decodeGroup(h.ledger, seq, val)
		if err != nil {
			return behind("%v", err)
		}
		if seq != h.anchor && (seq != last.seq+1 || g.prev != last.hash) {
			return behind("group %d doesn't follow group %d", seq, last.seq)
		}
		if seq == h.seq && g.hash != h.hash {
			return behind("group %d isn't the one that its head file names", seq)
		}
		last = g
		return nil
	})
	if err != nil {
		return err
	}
	if last.seq < h.seq {
		return behind("it ends at group %d, its head file says %d", last.seq, h.seq)
	}
	if last.seq > h.seq+1 {
		return behind("its head file says group %d, but group %d is there: the head file is an old copy", h.seq, last.seq)
	}
	l.last = last
	return nil
}

// checkClaims compares the number and the sum of all claims with what the newest
// group says.
func (l *Ledger) checkClaims(have claimCount) error {
	if want := l.last.claims; have.n != want.n {
		return behind("it has %d claims, group %d says %d", have.n, l.last.seq, want.n)
	} else if have != want {
		return behind("its %d claims aren't those that group %d adds up", have.n, l.last.seq)
	}
	return nil
}

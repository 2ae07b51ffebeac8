package records

import (
	"context"
	"encoding/binary"
	"fmt"
	"sync"
	"time"
)

// A checkRecord says who asked the ledger about values, and what came of it: a
// check is an oracle (R-LED-07). A retry of an admitted file is none.
type checkRecord struct {
	At      time.Time `cbor:"1,keyasint"`
	By      string    `cbor:"2,keyasint"`
	UID     int       `cbor:"3,keyasint"`
	What    string    `cbor:"4,keyasint"` // check, import, history, replace, value
	Product string    `cbor:"5,keyasint,omitempty"`
	Batch   string    `cbor:"6,keyasint,omitempty"`
	Rows    int       `cbor:"7,keyasint"`
	Hits    int       `cbor:"8,keyasint"`
	Done    bool      `cbor:"9,keyasint,omitempty"` // else it was cut off
}

func (c checkRecord) actor() string { return fmt.Sprintf("%d %s", c.UID, c.By) }

// counts says whether the question is one towards the limit. Who shows a value
// that the record has knew it before: a day of scanned labels is no guessing.
func (c checkRecord) counts() bool { return c.What != "value" || c.Hits == 0 }

func checkKey(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte{keyCheck}, seq) }

// checks counts questions per actor. It is made from the records when first
// asked, so that a restart resets nothing.
type checks struct {
	mu     sync.Mutex // guards below
	loaded bool
	next   uint64
	asked  map[string][]time.Time // oldest first, of the last hour
}

// ask records a question before it is answered and returns its number, or
// refuses with ErrLimited.
func (l *Ledger) ask(ctx context.Context, c checkRecord) (seq uint64, err error) {
	q := &l.imports.checks
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := l.loadChecks(q); err != nil {
		return 0, err
	}
	c.At = l.now()
	asked := q.asked[c.actor()]
	for len(asked) > 0 && !asked[0].After(c.At.Add(-time.Hour)) {
		asked = asked[1:]
	}
	if limit := l.opts.ChecksPerHour; c.counts() && len(asked) >= limit {
		again := asked[len(asked)-limit].Add(time.Hour)
		return 0, fmt.Errorf("%w: %d within the hour, want at most %d: ask again after %s", ErrLimited, len(asked), limit, again.Format(time.RFC3339))
	}
	if err := l.commit(ctx, func(t *txn) error { t.set(checkKey(q.next), encode(c)); return nil }); err != nil {
		return 0, err
	}
	if c.counts() {
		asked = append(asked, c.At)
	}
	q.asked[c.actor()] = asked
	q.next++
	return q.next - 1, nil
}

func (l *Ledger) loadChecks(q *checks) error {
	if q.loaded {
		return nil
	}
	q.next, q.asked = 1, map[string][]time.Time{}
	since := l.now().Add(-time.Hour)
	err := l.view(func(r reader) error {
		return r.scan([]byte{keyCheck}, func(key, val []byte) error {
			c, err := decode[checkRecord](val)
			if err != nil {
				return err
			}
			if c.counts() && c.At.After(since) {
				q.asked[c.actor()] = append(q.asked[c.actor()], c.At)
			}
			q.next = binary.BigEndian.Uint64(key[1:]) + 1
			return nil
		})
	})
	q.loaded = err == nil
	return err
}

// answer records what came of question seq.
func (t *txn) answer(seq uint64, rows, hits int) error {
	val, found, err := t.get(checkKey(seq))
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("check %d: %w", seq, ErrNotFound)
	}
	c, err := decode[checkRecord](val)
	if err != nil {
		return err
	}
	c.Rows, c.Hits, c.Done = rows, hits, true
	t.set(checkKey(seq), encode(c))
	return nil
}

// recordCheck records and limits a question about single values, as answered.
func (l *Ledger) recordCheck(ctx context.Context, by Actor, rows, hits int) error {
	_, err := l.ask(ctx, checkRecord{By: by.Name, UID: by.UID, What: "value", Rows: rows, Hits: hits, Done: true})
	return err
}

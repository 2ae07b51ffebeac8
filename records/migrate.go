package records

import (
	"bytes"
	"context"
	"slices"

	"mintmark/records/segment"
)

// Schema 1 kept each claim under a key of its own, 'c' and the index, and a device
// record for each row that waited; an import was written in pieces that didn't
// count until the last one.

// migrateClaims is how many claims of schema 1 become one segment.
const migrateClaims = 1 << 20

// migrate brings a ledger of schema 1 to the present one. Its claims become
// segments; device records stay as they are.
//
// | power fails | on restart |
// |---|---|
// | before the commit | it is of schema 1; files of segments have no record and are swept |
// | after it | it is of schema 2; claims of schema 1 are swept |
// | between commit and head | the head follows at open |
func (l *Ledger) migrate(ctx context.Context) error {
	if l.meta.Schema == schema {
		return nil
	}
	l.opts.Log.Info("ledger is brought to the present schema", "from", l.meta.Schema, "to", schema)
	batches, err := l.batchRecords()
	if err != nil {
		return err
	}
	for _, b := range batches {
		if b.unfinished() != nil {
			if err := l.dropDevices(ctx, b); err != nil {
				return err
			}
		}
	}
	old := &oldClaims{l: l, batches: map[uint32]*batchRecord{}}
	for _, b := range batches {
		old.batches[b.Number] = b
	}
	if err := old.write(ctx); err != nil {
		return err
	}
	m := l.meta
	m.Schema = schema
	if err := l.commit(ctx, func(t *txn) error {
		for i, g := range old.made {
			t.putSegment(g, old.records[i])
			t.next = t.known().with(g)
		}
		for _, b := range batches {
			if rec := b.unfinished(); rec != nil {
				b.forget(rec.First)
				putBatch(t, b)
			}
		}
		t.count.plus(old.dropped)
		t.set([]byte{keyMeta}, encode(m))
		return nil
	}); err != nil {
		return err
	}
	l.meta = m
	h := l.head.head
	h.schema = schema
	return l.head.put(h)
}

// unfinished returns the import of schema 1 that was cut off, or nil.
func (b *batchRecord) unfinished() *importRecord {
	for i := range b.Imports {
		if !b.Imports[i].Admitted {
			return &b.Imports[i]
		}
	}
	return nil
}

// forget takes an import off its batch; a batch that was to begin with it is
// rejected.
func (b *batchRecord) forget(first int) {
	b.Imports = slices.DeleteFunc(b.Imports, func(rec importRecord) bool { return rec.First == first })
	if first == 1 {
		b.State, b.Reason = Rejected, "import did not finish: the station stopped"
	}
}

// dropDevices removes the devices of a batch whose first import was cut off.
func (l *Ledger) dropDevices(ctx context.Context, b *batchRecord) error {
	if b.unfinished().First != 1 {
		return nil
	}
	var keys [][]byte
	if err := l.view(func(r reader) error {
		return r.scan(deviceKey(b.Product, ""), func(key, val []byte) error {
			d, err := decode[Device](val)
			if err == nil && d.Batch == b.Name {
				keys = append(keys, bytes.Clone(key))
			}
			return err
		})
	}); err != nil {
		return err
	}
	return l.remove(ctx, keys)
}

// oldClaims are the claims of schema 1 on their way into segments.
type oldClaims struct {
	l       *Ledger
	batches map[uint32]*batchRecord
	claims  []owned
	dropped claimCount // of imports that were cut off, as what is to be added
	made    []*numbered
	records []segmentRecord
}

func (o *oldClaims) write(ctx context.Context) error {
	if err := o.l.view(func(r reader) error {
		return r.oldClaims(func(i Index, owner ownerRef) error {
			b := o.batches[owner.Batch]
			if rec := b.unfinished(); rec != nil && owner.Row > 0 && int(owner.Row) >= rec.First {
				o.dropped.sub(i)
				return nil
			}
			o.claims = append(o.claims, owned{index: i, owner: owner})
			if len(o.claims) < migrateClaims {
				return nil
			}
			return o.flush(ctx)
		})
	}); err != nil {
		return err
	}
	return o.flush(ctx)
}

// flush makes a segment of the claims that were gathered.
func (o *oldClaims) flush(ctx context.Context) error {
	if len(o.claims) == 0 {
		return nil
	}
	products := map[uint32]string{}
	for n, b := range o.batches {
		products[n] = b.Product
	}
	if err := o.l.space.spare(int64(len(o.claims)) * entrySize); err != nil {
		return err
	}
	g, rec, err := o.l.makeSegment(func(path string) (segment.Manifest, error) { return writeFold(path, o.claims, products) })
	if err != nil {
		return err
	}
	o.made, o.records, o.claims = append(o.made, g), append(o.records, rec), o.claims[:0]
	segments := append(slices.Clip(o.l.claims().segments), o.made...)
	return o.l.growFilter(ctx, len(segments)*migrateClaims, segments)
}

// oldClaims calls f for each claim that is kept as schema 1 did, in order.
func (r reader) oldClaims(f func(Index, ownerRef) error) error {
	return r.scan([]byte{keyClaim}, func(key, val []byte) error {
		if len(key) != 1+len(Index{}) {
			return nil
		}
		o, err := decodeOwner(val)
		if err != nil {
			return err
		}
		return f(Index(key[1:]), o)
	})
}

// remove removes keys from the store, many to an operation.
func (l *Ledger) remove(ctx context.Context, keys [][]byte) error {
	for part := range slices.Chunk(keys, sweepChunk) {
		if err := l.commit(ctx, func(t *txn) error {
			for _, key := range part {
				t.del(key)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

package segment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

// Verify reads the whole segment, once, and checks all that can be: the SHA-256,
// every checksum, the order of indexes and serials, counts and sum, that every entry has an owner. progress,
// which may be nil, is called now and then with the number of bytes read so far.
func (s *Segment) Verify(ctx context.Context, progress func(int64)) error {
	v := &verifier{Segment: s, ctx: ctx, progress: progress, digest: newDigest()}
	err := v.all()
	sum := v.digest.sum()
	if err == nil && sum != s.manifest.Sum {
		err = s.damage("file", errors.New("its SHA-256 is not the manifest's"))
	}
	return err
}

// A verifier is a Verify.
type verifier struct {
	*Segment
	ctx      context.Context // of Verify, which it doesn't outlive
	progress func(int64)
	digest   *digest
	read     int64
}

func (v *verifier) all() error {
	hi, lo, err := v.section(&v.footer.claims)
	if err != nil {
		return err
	}
	if hi != v.footer.sumHi || lo != v.footer.sumLo {
		return v.damage("claim blocks", errors.New("another sum than the footer says"))
	}
	if _, _, err := v.section(&v.footer.wide); err != nil {
		return err
	}
	for i := range v.footer.runs {
		if err := v.run(i); err != nil {
			return err
		}
	}
	return v.end()
}

// chunk returns n bytes to read into.
func (v *verifier) chunk(n int) []byte { return slices.Grow(v.digest.chunk(), n)[:n] }

// hash hands on a chunk that was checked.
func (v *verifier) hash(b []byte) error {
	v.read += int64(len(b))
	v.digest.put(b)
	if v.progress != nil {
		v.progress(v.read)
	}
	return context.Cause(v.ctx)
}

// section checks claims or wide entries and returns the sum of their indexes.
func (v *verifier) section(sec *section) (hi, lo uint64, err error) {
	o := sec.order()
	for first := 0; first < len(sec.fences); first += chunkSize / blockSize {
		n := min(len(sec.fences)-first, chunkSize/blockSize)
		b := v.chunk(n * blockSize)
		block := first - 1
		err := v.scan(sec, first, b, &o, func(e Entries) error {
			block++
			if owner := e.highest(); owner >= v.footer.owners {
				return v.damage(sec.where(block), fmt.Errorf("owner %d, want less than %d", owner, v.footer.owners))
			}
			hi, lo = sum(hi, lo, e)
			return nil
		})
		if err != nil {
			return 0, 0, err
		}
		if err := v.hash(b); err != nil {
			return 0, 0, err
		}
	}
	return hi, lo, nil
}

// run checks the owners of a run.
func (v *verifier) run(i int) error {
	r := &v.footer.runs[i]
	var before []byte
	seen := false
	for j, b := range r.blocks {
		buf := v.chunk(int(b.length))
		owners, err := v.readOwners(b, buf)
		for n := 0; n < int(b.owners) && err == nil; n++ {
			err = owners.next()
			if err == nil && seen && !r.follows(bytes.Compare(owners.serial, before)) {
				err = errOrder
			}
			before, seen = append(before[:0], owners.serial...), true
		}
		if err == nil && len(owners.rest) > 0 {
			err = errors.New("more owners than the footer says")
		}
		if err != nil {
			return v.damage(ownerWhere(i, j), err)
		}
		if err := v.hash(buf); err != nil {
			return err
		}
	}
	return nil
}

// end compares footer and tail with the manifest again, and that nothing follows.
func (v *verifier) end() error {
	want := append(bytes.Clone(v.manifest.Footer), tail(v.manifest.Footer)...)
	b := v.chunk(len(want))
	if err := v.Segment.read(b, v.footer.end()); err != nil {
		return v.damage("footer", err)
	}
	if !bytes.Equal(b, want) {
		return v.damage("footer", errors.New("not the manifest's"))
	}
	if size, err := v.size(); err != nil || size != v.manifest.Size {
		return v.damage("size", errors.Join(err, fmt.Errorf("%d bytes, want %d", size, v.manifest.Size)))
	}
	return v.hash(b)
}

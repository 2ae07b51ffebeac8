package records

import (
	"cmp"
	"errors"
	"math/big"
	"slices"

	"mintmark/records/segment"
)

// claims counts and adds up the claims, finds for each who has it, and looks for
// any that is there twice.
func (v *verifier) claims() error {
	for _, g := range v.r.set.segments {
		if err := v.segment(g); err != nil {
			return err
		}
	}
	v.live = map[Index]ownerRef{}
	if err := v.r.liveClaims(func(i Index, o ownerRef) error {
		v.add(i)
		v.live[i] = o
		return v.claim(i, o)
	}); err != nil {
		return err
	}
	if v.added.And(&v.added, mod128); v.added.Cmp(v.sum) != 0 {
		v.problem("the claims don't add up to what the last group says")
	}
	if uint64(v.Claims) != v.count {
		v.problem("there are %d claims, the last group says %d", v.Claims, v.count)
	}
	return v.twice()
}

// owner finds whose a claim is, by what is on disk.
func (v *verifier) owner(i Index) (o ownerRef, found bool, err error) {
	if o, found = v.live[i]; found {
		return o, true, nil
	}
	for _, g := range v.r.set.segments {
		e, found, err := g.Find(i)
		if err != nil {
			return o, false, err
		}
		if found {
			o, err = g.owner(e)
			return o, true, err
		}
	}
	return o, false, nil
}

// mod128 is 2^128 - 1.
var mod128 = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1))

func (v *verifier) add(i Index) {
	v.Claims++
	v.added.Add(&v.added, new(big.Int).SetBytes(i[:]))
}

// twice compares all claims with each other.
func (v *verifier) twice() error {
	a, err := v.r.audit(v.ctx)
	if err != nil {
		return v.damaged(err)
	}
	if a.Twice > 0 {
		v.problem("%d indexes are claimed twice", a.Twice)
	}
	if int64(a.Claims) != v.Claims {
		v.problem("there are %d claims, in order there are %d", v.Claims, a.Claims)
	}
	return nil
}

// damaged turns damage of a segment into a problem.
func (v *verifier) damaged(err error) error {
	if !errors.Is(err, segment.ErrDamaged) {
		return err
	}
	v.problem("%v", err)
	return nil
}

// ownersAtOnce is how many owners of a segment are looked at together: whole runs,
// at least one.
const ownersAtOnce = 1 << 20

// segment reads a segment whole, against what is said of it, and checks its claims,
// those of some runs at a time.
func (v *verifier) segment(g *numbered) error {
	if err := g.Verify(v.ctx, nil); err != nil {
		return v.damaged(err)
	}
	runs := g.Runs()
	for first := 0; first < len(runs); {
		end, owners := first+1, runs[first].Owners
		for ; end < len(runs) && owners+runs[end].Owners <= ownersAtOnce; end++ {
			owners += runs[end].Owners
		}
		if err := v.runs(g, runs, first, end); err != nil {
			return v.damaged(err)
		}
		first = end
	}
	return nil
}

// runs checks the claims of the runs from first to end.
func (v *verifier) runs(g *numbered, runs []segment.Run, first, end int) error {
	from, to := runs[first].FirstOwner, runs[end-1].FirstOwner+runs[end-1].Owners
	claims, err := g.claimsOf(from, to)
	if err != nil {
		return err
	}
	for n := first; n < end; n++ {
		owner := runs[n].FirstOwner
		if err := g.Devices(n, "", func(o segment.Owner) error {
			for ; len(claims) > 0 && claims[0].Owner == owner; claims = claims[1:] {
				e := claims[0]
				v.add(e.Index)
				if err := v.claim(e.Index, runOwner(runs[n], o, e.Place)); err != nil {
					return err
				}
			}
			owner++
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// claimsOf returns the claims of some owners, in their order.
func (g *numbered) claimsOf(from, to uint32) (claims []segment.Entry, err error) {
	var buf segment.Buffer
	err = g.Scan(0, g.Blocks(), &buf, func(list segment.Entries) error {
		for n := range list.Len() {
			if e := list.Entry(n); e.Owner >= from && e.Owner < to {
				claims = append(claims, e)
			}
		}
		return nil
	})
	slices.SortFunc(claims, func(a, b segment.Entry) int { return cmp.Compare(a.Owner, b.Owner) })
	return claims, err
}

// claim checks that a claim has an owner, and is the only one in its place.
func (v *verifier) claim(i Index, o ownerRef) error {
	t := v.batches[o.Batch]
	if t == nil || int(o.Position) >= len(t.Names) {
		v.problem("a claim belongs to batch %d, which has no such credential", o.Batch)
		return nil
	}
	if o.Row > 0 {
		if int(o.Row) > t.Rows {
			v.problem("a claim belongs to row %d of batch %s, which has %d", o.Row, t.Name, t.Rows)
		} else if t.owned.note(int(o.Row)*len(t.Names) + int(o.Position)) {
			v.problem("batch %s row %d has two claims of %s", t.Name, o.Row, t.Names[o.Position])
		}
		t.is.Claims++
		return nil
	}
	d, err := getDevice(v.r, t.Product, o.Serial)
	if err != nil {
		return err
	}
	if d == nil || int(o.Attempt) > len(d.Attempts) || o.Attempt < 1 {
		v.problem("a claim of batch %s belongs to an attempt that no device has", t.Name)
		return nil
	}
	at := d.Attempts[o.Attempt-1]
	if at.Batch != t.Name || at.find(i) == nil || at.find(i).Name != t.Names[o.Position] {
		v.problem("device %s of batch %s doesn't have a credential that is claimed for it", d.Serial, t.Name)
	}
	return nil
}

// waiting counts the devices of rows that nothing was done with.
func (v *verifier) waiting() error {
	products, err := v.r.products()
	if err != nil {
		return err
	}
	for _, product := range products {
		if err := v.waitingOf(product); err != nil {
			return v.damaged(err)
		}
	}
	return nil
}

func (v *verifier) waitingOf(product string) error {
	w, err := v.r.waiters(product)
	if err != nil {
		return err
	}
	defer w.stop()
	count := func(d *Device) error {
		v.Devices++
		if t := v.named[d.Batch]; t != nil {
			*t.is.devices(d.State)++
		}
		v.rows(d)
		return nil
	}
	prefix := deviceKey(product, "")
	if err := v.r.keys(prefix, func(key []byte) error { return w.until(string(key[len(prefix):]), count) }); err != nil {
		return err
	}
	return w.until("", count)
}

package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sort"
)

// minOwner is the size of the smallest owner in a block.
const minOwner = 4

// A rawOwner is an owner in the memory of a block.
type rawOwner struct {
	serial       []byte
	row, attempt uint32
}

func (o rawOwner) owner() Owner { return Owner{string(o.serial), o.row, o.attempt} }

// appendOwner appends an owner to a block. before is the one in front of it, or
// the zero owner at the block's beginning.
func appendOwner(b []byte, before, o rawOwner) []byte {
	shared := 0
	for shared < min(len(before.serial), len(o.serial)) && before.serial[shared] == o.serial[shared] {
		shared++
	}
	b = append(b, byte(shared), byte(len(o.serial)-shared))
	b = append(b, o.serial[shared:]...)
	b = binary.AppendVarint(b, int64(o.row)-int64(before.row))
	return binary.AppendUvarint(b, uint64(o.attempt))
}

// An ownerReader reads the owners of a block one after the other.
type ownerReader struct {
	rest     []byte
	rawOwner // that next read, valid until it reads another one
}

var errOwner = errors.New("an owner is cut off or impossible")

// next reads an owner. Call it as often as there are owners.
func (r *ownerReader) next() error {
	if len(r.rest) < minOwner {
		return errOwner
	}
	shared, end := int(r.rest[0]), 2+int(r.rest[1])
	if shared > len(r.serial) || end-2+shared > math.MaxUint8 || end > len(r.rest) {
		return errOwner
	}
	r.serial = append(r.serial[:shared], r.rest[2:end]...)
	r.rest = r.rest[end:]
	delta, n := binary.Varint(r.rest)
	if n <= 0 {
		return errOwner
	}
	r.rest = r.rest[n:]
	attempt, n := binary.Uvarint(r.rest)
	if n <= 0 || attempt > math.MaxUint32 {
		return errOwner
	}
	r.rest = r.rest[n:]
	if delta < math.MinInt32*2 || delta > math.MaxUint32 || int64(r.row)+delta < 0 || int64(r.row)+delta > math.MaxUint32 {
		return errOwner
	}
	r.row, r.attempt = uint32(int64(r.row)+delta), uint32(attempt)
	return nil
}

// readOwners reads a block of owners into buf and checks it, but not its order.
func (s *Segment) readOwners(b ownerBlock, buf []byte) (*ownerReader, error) {
	buf = buf[:b.length]
	if err := s.read(buf, b.at); err != nil {
		return nil, err
	}
	return b.owned(buf)
}

// owned checks the bytes of a block of owners.
func (b ownerBlock) owned(buf []byte) (*ownerReader, error) {
	body, sum := buf[:len(buf)-4], binary.BigEndian.Uint32(buf[len(buf)-4:])
	if checksum(ownerKind, b.number, body) != sum {
		return nil, errChecksum
	}
	// What the footer says about the block must be true, or it is another's.
	first := ownerReader{rest: body}
	if err := first.next(); err != nil {
		return nil, err
	}
	if string(first.serial) != b.first {
		return nil, errors.New("begins with another serial than the footer says")
	}
	return &ownerReader{rest: body}, nil
}

func ownerWhere(run, block int) string { return fmt.Sprintf("run %d, owner block %d", run, block) }

// OwnerOf returns an owner by its number, and the run that it is in.
func (s *Segment) OwnerOf(n uint32) (Run, Owner, error) {
	if n >= s.footer.owners {
		return Run{}, Owner{}, s.damage("owners", fmt.Errorf("number %d, want less than %d", n, s.footer.owners))
	}
	i := sort.Search(len(s.footer.runs), func(i int) bool { return s.footer.runs[i].FirstOwner > n }) - 1
	r := &s.footer.runs[i]
	n -= r.FirstOwner
	j := sort.Search(len(r.blocks), func(j int) bool { return r.blocks[j].number > n }) - 1
	var o Owner
	err := s.eachOwner(i, j, func(at uint32, r *ownerReader) bool {
		if at == n {
			o = r.owner()
		}
		return at < n
	})
	return r.Run, o, err
}

// Device finds a device by its serial in the runs of its product whose serials
// are devices. Where several runs have it the last one answers.
func (s *Segment) Device(product, serial string) (Run, Owner, bool, error) {
	for i := len(s.footer.runs) - 1; i >= 0; i-- {
		r := &s.footer.runs[i]
		if !r.Devices || r.Product != product {
			continue
		}
		o, found, err := s.deviceIn(i, serial)
		if found || err != nil {
			return r.Run, o, found, err
		}
	}
	return Run{}, Owner{}, false, nil
}

func (s *Segment) deviceIn(run int, serial string) (o Owner, found bool, err error) {
	j := s.footer.runs[run].blockOf(serial)
	if j < 0 {
		return Owner{}, false, nil
	}
	err = s.eachOwner(run, j, func(_ uint32, r *ownerReader) bool {
		if string(r.serial) == serial {
			o, found = r.owner(), true
		}
		return string(r.serial) < serial
	})
	return o, found, err
}

// blockOf returns the last block that begins at or below serial, -1 if none does.
func (r *run) blockOf(serial string) int {
	return sort.Search(len(r.blocks), func(j int) bool { return r.blocks[j].first > serial }) - 1
}

// Devices calls f for the owners of a run in the order of their serials, from
// the first one that is not below from. It stops at f's first error.
func (s *Segment) Devices(run int, from string, f func(Owner) error) error {
	if run < 0 || run >= len(s.footer.runs) {
		return fmt.Errorf("segment %s: run %d, want 0 to %d", s.path, run, len(s.footer.runs)-1)
	}
	blocks := s.footer.runs[run].blocks
	// Equal serials may have begun in a block before.
	j := sort.Search(len(blocks), func(j int) bool { return blocks[j].first >= from }) - 1
	for j = max(j, 0); j < len(blocks); j++ {
		var ferr error
		err := s.eachOwner(run, j, func(_ uint32, r *ownerReader) bool {
			if string(r.serial) >= from {
				ferr = f(r.owner())
			}
			return ferr == nil
		})
		if err != nil || ferr != nil {
			return errors.Join(err, ferr)
		}
	}
	return nil
}

// eachOwner calls f with the owners of a block and their numbers within the run,
// until it answers false.
func (s *Segment) eachOwner(run, block int, f func(n uint32, r *ownerReader) bool) error {
	buf := s.spare.Get().(*[blockSize]byte)
	defer s.spare.Put(buf)
	b := s.footer.runs[run].blocks[block]
	r, err := s.readOwners(b, buf[:])
	for n := range uint32(b.owners) {
		if err == nil {
			err = r.next()
		}
		if err != nil {
			return s.damage(ownerWhere(run, block), err)
		}
		if !f(b.number+n, r) {
			break
		}
	}
	return nil
}

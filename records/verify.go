package records

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"math/big"
	"os"
	"path/filepath"
	"slices"
)

// A Check is what Verify found.
type Check struct {
	Groups      uint64   `json:"groups"`
	Claims      int64    `json:"claims"`
	Batches     int      `json:"batches"`
	Devices     int      `json:"devices"`
	Open        int      `json:"open_assignments"`
	Problems    []string `json:"problems,omitempty"` // empty means clean
	HeadGroup   uint64   `json:"head_group"`
	Epoch       int      `json:"epoch"`
	KeyVersions []uint32 `json:"key_versions"`
}

// maxProblems is how many problems a Check names.
const maxProblems = 100

// Verify reads the whole ledger: the chain of commit groups against the head,
// every cross-reference, counts, and that no claimed index is owned twice.
// Progress is called with keys read; nil is fine.
//
// It reads group records and the head file with code of its own, by
// docs/ledger.md, so that a mistake of the writer isn't made twice.
func (l *Ledger) Verify(ctx context.Context, progress func(done int64)) (Check, error) {
	v := &verifier{ctx: ctx, progress: progress, batches: map[uint32]*tally{}, named: map[string]*tally{}}
	if err := v.readHead(l.dir); err != nil {
		return Check{}, fmt.Errorf("verify ledger: %w", err)
	}
	err := l.view(func(r reader) error {
		v.r = r
		for _, pass := range []func() error{v.readMeta, v.groups, v.readBatches, v.claims, v.devices, v.waiting, v.hardwareIDs, v.openAttempts, v.wide, v.counts} {
			if err := pass(); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		err = v.rowFiles(l)
	}
	if err != nil {
		return Check{}, fmt.Errorf("verify ledger: %w", err)
	}
	return v.Check, nil
}

// A verifier is one Verify under way.
type verifier struct {
	Check
	ctx      context.Context
	progress func(int64)
	done     int64
	r        reader

	ledger   [16]byte
	headHash []byte
	count    uint64             // of claims, as the last group says
	sum      *big.Int           // of their indexes
	added    big.Int            // as they really add up
	live     map[Index]ownerRef // claims that are in no segment
	batches  map[uint32]*tally
	named    map[string]*tally
}

// A tally is a batch as its record says, and as its claims and devices add up.
type tally struct {
	batchRecord
	is    batchRecord // only the counts
	rows  bitset      // that a device has
	owned bitset      // row and credential of each claim
}

// A bitset notes numbers and says whether they were noted before.
type bitset []uint64

func (b *bitset) note(n int) (again bool) {
	for n>>6 >= len(*b) {
		*b = append(*b, make([]uint64, len(*b)+1)...)
	}
	again = (*b)[n>>6]&(1<<(n&63)) != 0
	(*b)[n>>6] |= 1 << (n & 63)
	return again
}

func (b bitset) has(n int) bool { return n>>6 < len(b) && b[n>>6]&(1<<(n&63)) != 0 }

func (v *verifier) problem(format string, args ...any) {
	if len(v.Problems) < maxProblems {
		v.Problems = append(v.Problems, fmt.Sprintf(format, args...))
	}
}

// scan is reader.scan with progress and cancelling.
func (v *verifier) scan(prefix byte, f func(key, val []byte) error) error {
	return v.r.scan([]byte{prefix}, func(key, val []byte) error {
		if v.done++; v.done%1000 == 0 {
			if err := context.Cause(v.ctx); err != nil {
				return err
			}
			if v.progress != nil {
				v.progress(v.done)
			}
		}
		return f(key[1:], val)
	})
}

// readHead takes the newer slot of the head file whose checksum is right.
func (v *verifier) readHead(dir string) error {
	b, err := os.ReadFile(filepath.Join(dir, "head"))
	if err != nil {
		return err
	}
	good := false
	for _, at := range []int{0, 4096} {
		if len(b) < at+100 || crc32.Checksum(b[at:at+96], crc32.MakeTable(crc32.Castagnoli)) != binary.BigEndian.Uint32(b[at+96:]) {
			continue
		}
		s := b[at:]
		if seq := binary.BigEndian.Uint64(s[40:]); !good || seq > v.HeadGroup {
			good, v.HeadGroup, v.headHash = true, seq, s[48:80]
			v.Epoch = int(binary.BigEndian.Uint32(s[36:]))
			copy(v.ledger[:], s[20:])
		}
	}
	if !good {
		v.problem("no slot of the head file is good")
	}
	return nil
}

func (v *verifier) readMeta() error {
	val, found, err := v.r.get([]byte{keyMeta})
	if err != nil {
		return err
	}
	if !found {
		v.problem("the meta record is missing")
		return nil
	}
	m, err := decode[meta](val)
	if err != nil {
		return err
	}
	if m.ID != v.ledger || int(m.Epoch) != v.Epoch {
		v.problem("the head file is of another ledger or epoch")
	}
	for version := range m.Checks {
		v.KeyVersions = append(v.KeyVersions, version)
	}
	slices.Sort(v.KeyVersions)
	return nil
}

// groups follows the chain from the first group. The ledger may be ahead of the
// head that was read before.
func (v *verifier) groups() error {
	prev := sha256.Sum256(append([]byte("mintmark/ledger\x00"), v.ledger[:]...))
	var last []byte
	if err := v.scan(keyGroup, func(key, val []byte) error {
		seq := binary.BigEndian.Uint64(key)
		if v.Groups++; seq != v.Groups {
			v.problem("group %d follows group %d", seq, v.Groups-1)
			v.Groups = seq
		}
		if len(val) != 128 {
			v.problem("group %d has %d bytes, want 128", seq, len(val))
			return nil
		}
		sum := sha256.Sum256(slices.Concat([]byte("mintmark/group\x00"), v.ledger[:], key, val[:96]))
		if !bytes.Equal(val[:32], prev[:]) || !bytes.Equal(val[96:], sum[:]) {
			v.problem("group %d is not linked to its predecessor", seq)
		}
		if seq == v.HeadGroup && !bytes.Equal(sum[:], v.headHash) {
			v.problem("group %d is not the one that the head file names", seq)
		}
		prev, last = sum, bytes.Clone(val)
		return nil
	}); err != nil {
		return err
	}
	if v.Groups < v.HeadGroup {
		v.problem("the last group is %d, the head file says %d", v.Groups, v.HeadGroup)
	}
	v.sum = new(big.Int)
	if last != nil {
		v.count = binary.BigEndian.Uint64(last[72:])
		v.sum.SetBytes(last[80:96])
	}
	return nil
}

func (v *verifier) readBatches() error {
	if err := v.scan(keyBatch, func(key, val []byte) error {
		b, err := decode[batchRecord](val)
		if err != nil {
			return err
		}
		t := &tally{batchRecord: *b}
		if b.Number != binary.BigEndian.Uint32(key) {
			v.problem("batch %s has another number than its key", b.Name)
		}
		v.Batches++
		v.batches[b.Number] = t
		return nil
	}); err != nil {
		return err
	}
	if err := v.scan(keyName, func(key, val []byte) error {
		t := v.batches[binary.BigEndian.Uint32(val)]
		if t == nil || t.Name != string(key) {
			v.problem("the name %s leads to no batch of that name", key)
			return nil
		}
		v.named[t.Name] = t
		return nil
	}); err != nil {
		return err
	}
	for _, t := range v.batches {
		if v.named[t.Name] == nil || v.named[t.Name] != t && t.State != Rejected {
			v.problem("batch %d can't be found by its name", t.Number)
		}
	}
	return nil
}

// wide checks that second, ledger-wide indexes belong to a batch.
func (v *verifier) wide() error {
	return v.scan(keyWide, func(key, _ []byte) error {
		if len(key) < 24 || v.batches[binary.BigEndian.Uint32(key[16:])] == nil {
			v.problem("a ledger-wide index belongs to no batch")
		}
		return nil
	})
}

// counts compares what batches say with what their claims and devices add up to.
// A batch under import is not counted yet.
func (v *verifier) counts() error {
	for _, n := range slices.Sorted(maps.Keys(v.batches)) {
		t := v.batches[n]
		if t.State == Checking || t.State == Rejected {
			continue
		}
		for _, c := range []struct {
			what     string
			says, is int
		}{
			{"claims", t.Claims, t.is.Claims}, {"started", t.Started, t.is.Started},
			{"seals", t.Seals, t.is.Seals}, {"probed", t.Probed, t.is.Probed},
			{"waiting", t.Waiting, t.is.Waiting}, {"assigned", t.Assigned, t.is.Assigned}, {"kept", t.Kept, t.is.Kept},
			{"doubtful", t.Doubtful, t.is.Doubtful}, {"sealed", t.Sealed, t.is.Sealed}, {"burned", t.Burned, t.is.Burned},
			{"frozen", t.Frozen, t.is.Frozen},
		} {
			if c.says != c.is {
				v.problem("batch %s says %d %s, there are %d", t.Name, c.says, c.what, c.is)
			}
		}
	}
	return nil
}

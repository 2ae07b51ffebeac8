package records

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// schema is the version of everything on disk. An older one is migrated, a
// newer one refused.
const schema = 2

// A groupRecord stands in the store beside what its group wrote. Groups are
// linked by their hashes, so a group that is lost is noticed.
type groupRecord struct {
	seq    uint64
	prev   [32]byte
	time   time.Time  // never before its predecessor's
	digest [32]byte   // of the group's writes
	claims claimCount // after the group
	hash   [32]byte
}

const groupSize = 32 + 8 + 32 + 24 + 32

// genesis is what the first group follows.
func genesis(ledger [16]byte) groupRecord {
	return groupRecord{hash: sha256.Sum256(append([]byte("mintmark/ledger\x00"), ledger[:]...))}
}

func (r groupRecord) next(now time.Time) groupRecord {
	return groupRecord{seq: r.seq + 1, prev: r.hash, time: now, claims: r.claims}
}

// body is the record without its hash.
func (r groupRecord) body() []byte {
	b := make([]byte, 0, groupSize)
	b = append(b, r.prev[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(r.time.UnixMilli()))
	b = append(b, r.digest[:]...)
	b = binary.BigEndian.AppendUint64(b, r.claims.n)
	b = binary.BigEndian.AppendUint64(b, r.claims.hi)
	return binary.BigEndian.AppendUint64(b, r.claims.lo)
}

func (r groupRecord) sum(ledger [16]byte) [32]byte {
	b := append([]byte("mintmark/group\x00"), ledger[:]...)
	b = binary.BigEndian.AppendUint64(b, r.seq)
	return sha256.Sum256(append(b, r.body()...))
}

func (r *groupRecord) seal(ledger [16]byte) { r.hash = r.sum(ledger) }

func (r groupRecord) encode() []byte { return append(r.body(), r.hash[:]...) }

// decodeGroup reads the record of group seq and checks it against itself.
func decodeGroup(ledger [16]byte, seq uint64, b []byte) (groupRecord, error) {
	if len(b) != groupSize {
		return groupRecord{}, fmt.Errorf("group %d has %d bytes, want %d", seq, len(b), groupSize)
	}
	r := groupRecord{seq: seq, time: time.UnixMilli(int64(binary.BigEndian.Uint64(b[32:]))).UTC()}
	copy(r.prev[:], b)
	copy(r.digest[:], b[40:])
	r.claims = claimCount{binary.BigEndian.Uint64(b[72:]), binary.BigEndian.Uint64(b[80:]), binary.BigEndian.Uint64(b[88:])}
	copy(r.hash[:], b[96:])
	if r.hash != r.sum(ledger) {
		return groupRecord{}, fmt.Errorf("group %d doesn't have the hash it says", seq)
	}
	return r, nil
}

// A head is what the ledger must at least hold. It lives outside Badger, which
// forgets the tail of a damaged log without a word.
type head struct {
	schema uint32
	ledger [16]byte
	epoch  uint32
	seq    uint64
	hash   [32]byte
	claims uint64
	anchor uint64 // the group up to which the chain was checked at the last open
}

const (
	headMagic  = "mintmark head\n\x00\x00"
	headSector = 4096 // slots lie in different sectors, so one torn write can't hurt both
	headSize   = 16 + 4 + 16 + 4 + 8 + 32 + 8 + 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (h head) encode() []byte {
	b := make([]byte, 0, headSize)
	b = append(b, headMagic...)
	b = binary.BigEndian.AppendUint32(b, h.schema)
	b = append(b, h.ledger[:]...)
	b = binary.BigEndian.AppendUint32(b, h.epoch)
	b = binary.BigEndian.AppendUint64(b, h.seq)
	b = append(b, h.hash[:]...)
	b = binary.BigEndian.AppendUint64(b, h.claims)
	b = binary.BigEndian.AppendUint64(b, h.anchor)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeHead reads a slot; ok is false for one that was torn or never written.
func decodeHead(b []byte) (h head, ok bool) {
	if len(b) < headSize || !bytes.HasPrefix(b, []byte(headMagic)) {
		return head{}, false
	}
	if crc32.Checksum(b[:headSize-4], castagnoli) != binary.BigEndian.Uint32(b[headSize-4:]) {
		return head{}, false
	}
	h.schema = binary.BigEndian.Uint32(b[16:])
	copy(h.ledger[:], b[20:])
	h.epoch = binary.BigEndian.Uint32(b[36:])
	h.seq = binary.BigEndian.Uint64(b[40:])
	copy(h.hash[:], b[48:])
	h.claims = binary.BigEndian.Uint64(b[80:])
	h.anchor = binary.BigEndian.Uint64(b[88:])
	return h, true
}

// A headFile is the open head file. Its two slots are written in turn.
type headFile struct {
	file *os.File
	head head
	slot int // the one that holds head

	// write makes a slot durable: pwrite and fdatasync, or a fault of a test.
	write func(f *os.File, slot []byte, at int64) error
}

// The head of a ledger that is being made or restored has another name, so that
// one that was never finished can't be opened.
const (
	headName       = "head"
	unfinishedHead = "head.unfinished"
)

// publishHead makes a finished ledger one that can be opened.
func publishHead(dir string) error {
	if err := os.Rename(filepath.Join(dir, unfinishedHead), filepath.Join(dir, headName)); err != nil {
		return err
	}
	return syncDir(dir)
}

func createHead(dir string, h head) error {
	f, err := os.OpenFile(filepath.Join(dir, unfinishedHead), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	b := make([]byte, 2*headSector)
	copy(b, h.encode())
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close(), syncDir(dir))
}

// openHead reads the newer of the two slots. A missing or unreadable file means
// that nobody knows what the ledger must hold.
func openHead(dir, name string) (*headFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, noHead(dir)
	}
	if err != nil {
		return nil, err
	}
	h := &headFile{file: f, slot: -1, write: writeSynced}
	for slot := range 2 {
		b := make([]byte, headSize)
		if _, err := f.ReadAt(b, int64(slot)*headSector); err != nil {
			continue // short: as good as torn
		}
		if s, ok := decodeHead(b); ok && (h.slot < 0 || s.seq >= h.head.seq) {
			h.head, h.slot = s, slot
		}
	}
	if h.slot < 0 {
		return nil, errors.Join(behind("both slots of its head file are damaged"), f.Close())
	}
	return h, nil
}

// noHead says why there is no head file.
func noHead(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, unfinishedHead)); err == nil {
		return fmt.Errorf("ledger in %s was never finished: empty the folder, then make or restore it again", dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "badger")); err == nil {
		return behind("its head file is missing")
	}
	return fmt.Errorf("no ledger in %s: make one with mintmark init", dir)
}

// advance makes r the head, durably, in the slot that doesn't hold the current one.
func (h *headFile) advance(r groupRecord) error {
	n := h.head
	n.seq, n.hash, n.claims = r.seq, r.hash, r.claims.n
	return h.put(n)
}

func (h *headFile) put(n head) error {
	slot := 1 - h.slot
	if err := h.write(h.file, n.encode(), int64(slot)*headSector); err != nil {
		return fmt.Errorf("write head: %w", err)
	}
	h.head, h.slot = n, slot
	return nil
}

func writeSynced(f *os.File, b []byte, at int64) error {
	if _, err := f.WriteAt(b, at); err != nil {
		return err
	}
	return unix.Fdatasync(int(f.Fd()))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// behind says what is lost and what to do.
func behind(format string, args ...any) error {
	return fmt.Errorf("%w: %s: restore it from the newest backup (mintmark ledger restore) and keep this folder for examination",
		ErrBehind, fmt.Sprintf(format, args...))
}

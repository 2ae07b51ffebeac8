package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"
)

// MaxFooter is how many bytes a footer may have: less than a value of the store.
// A block takes 8 of them, so 100 million claims of 50 million owners fit.
const MaxFooter = 900 << 10

const (
	version  = 1
	magic    = "mintmark segment"
	tailSize = 4 + 4 + len(magic)

	minRun        = 4 + 4 + 4 + 1 + 1 + 1 + 4
	minOwnerBlock = 2 + 2 + 1
)

// A footer is what there is to know about a segment without reading its blocks.
type footer struct {
	claims, wide section
	sumHi, sumLo uint64 // of the claims' indexes
	runs         []run
	owners       uint32
}

// A run is a Run with its blocks.
type run struct {
	Run
	blocks []ownerBlock
}

// An ownerBlock is where some of a run's owners are.
type ownerBlock struct {
	owners uint16
	length uint16 // with the checksum
	first  string // the first serial

	number uint32 // of the first owner within the run; part of the checksum
	at     int64  // offset in the file
}

// end is where the footer begins.
func (f *footer) end() int64 {
	at := f.wide.end()
	for _, r := range f.runs {
		for _, b := range r.blocks {
			at += int64(b.length)
		}
	}
	return at
}

func (f *footer) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, version)
	b = binary.BigEndian.AppendUint64(b, f.claims.count)
	b = binary.BigEndian.AppendUint64(b, f.wide.count)
	b = binary.BigEndian.AppendUint64(b, f.sumHi)
	b = binary.BigEndian.AppendUint64(b, f.sumLo)
	for _, s := range []section{f.claims, f.wide} {
		for _, fence := range s.fences {
			b = binary.BigEndian.AppendUint64(b, fence)
		}
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.runs)))
	for _, r := range f.runs {
		b = r.append(b)
	}
	return b
}

func (r *run) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, r.Batch)
	b = binary.BigEndian.AppendUint32(b, r.FirstRow)
	b = binary.BigEndian.AppendUint32(b, r.KeyVersion)
	if r.Devices {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = append(append(b, byte(len(r.Product))), r.Product...)
	b = append(append(b, byte(len(r.Narrow))), r.Narrow...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.blocks)))
	for _, o := range r.blocks {
		b = binary.BigEndian.AppendUint16(b, o.owners)
		b = binary.BigEndian.AppendUint16(b, o.length)
		b = append(append(b, byte(len(o.first))), o.first...)
	}
	return b
}

// size is how long run r is in a footer.
func (r *run) size() int {
	n := minRun + len(r.Product) + len(r.Narrow)
	for _, b := range r.blocks {
		n += minOwnerBlock + len(b.first)
	}
	return n
}

// tail is what stands behind the footer, at the end of the file.
func tail(footer []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(footer)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(footer, castagnoli))
	return append(b, magic...)
}

// parseFooter accepts what encode writes and nothing else.
func parseFooter(b []byte) (*footer, error) {
	if len(b) > MaxFooter {
		return nil, fmt.Errorf("%d bytes, want at most %d", len(b), MaxFooter)
	}
	d := decoder{rest: b}
	if v := d.u32(); v != version && d.err == nil {
		return nil, fmt.Errorf("version %d, want %d", v, version)
	}
	f := &footer{claims: section{kind: claimKind}, wide: section{kind: wideKind}}
	f.claims.count, f.wide.count = d.u64(), d.u64()
	f.sumHi, f.sumLo = d.u64(), d.u64()
	f.claims.fences = d.fences(f.claims.count)
	f.wide.start = f.claims.end()
	f.wide.fences = d.fences(f.wide.count)
	f.runs = make([]run, d.count(minRun))
	at := f.wide.end()
	for i := range f.runs {
		f.runs[i] = d.run(f.owners, &at)
		if f.runs[i].Owners > math.MaxUint32-f.owners {
			d.fail("more than 2^32 owners")
		}
		f.owners += f.runs[i].Owners
	}
	if len(d.rest) > 0 {
		d.fail("bytes behind its end")
	}
	if d.err != nil {
		return nil, d.err
	}
	return f, nil
}

// A decoder reads a footer. After the first mistake it reads zeros.
type decoder struct {
	rest []byte
	err  error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = errors.New(what)
	}
	d.rest = nil
}

var zeros [math.MaxUint8]byte

// take returns the next n bytes, at most 255.
func (d *decoder) take(n int) []byte {
	if n > len(d.rest) {
		d.fail("too short")
		return zeros[:n]
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

func (d *decoder) u8() byte    { return d.take(1)[0] }
func (d *decoder) u16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }
func (d *decoder) u32() uint32 { return binary.BigEndian.Uint32(d.take(4)) }
func (d *decoder) u64() uint64 { return binary.BigEndian.Uint64(d.take(8)) }

// count returns a number of things that have at least size bytes each.
func (d *decoder) count(size int) int {
	n := uint64(d.u32())
	if n > uint64(len(d.rest)/size) {
		d.fail("too short")
		return 0
	}
	return int(n)
}

func (d *decoder) fences(entries uint64) []uint64 {
	n := blocksOf(entries)
	if n > uint64(len(d.rest)/8) {
		d.fail("too short")
		return nil
	}
	fences := make([]uint64, n)
	for i := range fences {
		fences[i] = d.u64()
		if i > 0 && fences[i] < fences[i-1] {
			d.fail("blocks are not in order")
		}
	}
	return fences
}

// run reads a run whose owners count from first and whose blocks begin at *at.
func (d *decoder) run(first uint32, at *int64) run {
	r := run{Run: Run{Batch: d.u32(), FirstRow: d.u32(), KeyVersion: d.u32(), FirstOwner: first}}
	devices := d.u8()
	if devices > 1 {
		d.fail("a run has an unknown flag")
	}
	r.Devices = devices == 1
	r.Product = string(d.take(int(d.u8())))
	r.Narrow = append(r.Narrow, d.take(int(d.u8()))...)
	if !ascending(r.Narrow) {
		d.fail("places of a run are not in order")
	}
	r.blocks = make([]ownerBlock, d.count(minOwnerBlock))
	for i := range r.blocks {
		b := ownerBlock{owners: d.u16(), length: d.u16(), number: r.Owners, at: *at}
		b.first = string(d.take(int(d.u8())))
		if b.owners == 0 || b.length > blockSize || int(b.length) < int(b.owners)*minOwner+4+len(b.first) {
			d.fail("an owner block has an impossible size")
		}
		if i > 0 && !r.follows(strings.Compare(b.first, r.blocks[i-1].first)) {
			d.fail("owner blocks are not in order")
		}
		if uint32(b.owners) > math.MaxUint32-r.Owners {
			d.fail("more than 2^32 owners")
		}
		r.Owners += uint32(b.owners)
		*at += int64(b.length)
		r.blocks[i] = b
	}
	if r.Owners == 0 {
		d.fail("a run has no owners")
	}
	return r
}

// follows is whether a serial may follow another one, to which it compares as c.
func (r *Run) follows(c int) bool { return c > 0 || c == 0 && !r.Devices }

func ascending(places []uint8) bool {
	for i := 1; i < len(places); i++ {
		if places[i] <= places[i-1] {
			return false
		}
	}
	return true
}

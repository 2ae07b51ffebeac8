package records

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// A hitKind is one way for a row to be wrong. Of several at the same value that
// break the same rule, the first is told.
type hitKind uint8

const (
	inLedger    hitKind = iota // claimed before
	sameRow                    // equal to another credential of its row
	sameFile                   // equal to a value of an earlier row
	badFormat                  // not what the profile asks for
	badSerial                  // malformed
	serialTwice                // there in an earlier row
	serialKnown                // a device of the product has it
	notBurned                  // a replacement for a device that needs none
)

func (k hitKind) rule() string {
	switch {
	case k <= sameFile:
		return "C-UNIQ"
	case k == badFormat:
		return "C-FORMAT"
	default:
		return "SERIAL"
	}
}

// noPlace is the place of a hit that is about the serial.
const noPlace = -1

// A hit is a violation found.
type hit struct {
	row   uint32
	place int16 // in Product.Credentials, or noPlace
	kind  hitKind
	other uint8  // place in row first
	first uint32 // row of the file that it repeats
	index Index  // that is claimed
	text  string // never the value
}

func compareHits(a, b hit) int {
	return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.place, b.place), cmp.Compare(a.kind, b.kind))
}

// maxViolations is how many violations an answer names.
const maxViolations = 1000

// sparingBits is the size of a space below which an answer about the ledger
// would be an oracle: only quality is told which values it has.
const sparingBits = 60

// Objections count all violations and keep the first, so that a million of them
// need little memory. They may be added to from several goroutines.
type objections struct {
	product Product
	by      Actor

	mu    sync.Mutex // guards below
	mixed bitset     // rows with a malformed cell: what they have as a serial may be a value
	seen  bitset     // a violation is a rule that one value, or one serial, breaks
	total int
	hits  []hit // at least those that are told, and which by may know
	last  hit   // once there are enough of them, what comes after it is told no more
}

// tallied is how many hits always suffice to tell maxViolations: a violation has
// at most three kinds of hit.
const tallied = 3 * maxViolations

func (o *objections) add(h hit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	rules := 2 * (1 + len(o.product.Credentials))
	n := int(h.row)*rules + 2*int(h.place+1)
	if h.kind == badFormat {
		n++
	}
	if !o.seen.note(n) {
		o.total++
	}
	if h.kind == badFormat || h.kind == badSerial {
		o.mixed.note(int(h.row))
	}
	if h.kind == inLedger && o.product.Credentials[h.place].Bits < sparingBits && !o.by.Quality {
		return
	}
	if o.last.row > 0 && compareHits(h, o.last) > 0 {
		return
	}
	if o.hits = append(o.hits, h); len(o.hits) == 4*tallied {
		o.trim()
	}
}

// any says whether there is a violation already.
func (o *objections) any() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.total > 0
}

// trim keeps the first hits, in the order of rows, each once.
func (o *objections) trim() {
	slices.SortFunc(o.hits, compareHits)
	o.hits = slices.CompactFunc(o.hits, func(a, b hit) bool { return compareHits(a, b) == 0 })
	if len(o.hits) >= tallied {
		o.hits, o.last = o.hits[:tallied], o.hits[tallied-1]
	}
}

// violations names the first ones, as far as the asker may know them.
func (l *Ledger) violations(in *intake) (list []Violation, err error) {
	in.objections.trim()
	hits := slices.CompactFunc(in.objections.hits, func(a, b hit) bool {
		return a.row == b.row && a.place == b.place && a.kind.rule() == b.kind.rule()
	})
	err = l.view(func(r reader) error {
		for _, h := range hits[:min(len(hits), maxViolations)] {
			v, err := in.violation(r, h)
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return nil
	})
	return list, err
}

// violation puts a hit into words. A row with a malformed cell may have its
// columns mixed up, so its serial is in none of its violations.
func (in *intake) violation(r reader, h hit) (Violation, error) {
	v := Violation{Row: int(h.row), Rule: h.kind.rule(), Text: h.text}
	serial, mixed := string(in.serials.at(h.row)), in.objections.mixed.has(int(h.row))
	if h.place != noPlace {
		v.Credential = in.product.Credentials[h.place].Name
	}
	if !mixed {
		v.Serial = serial
	}
	switch h.kind {
	case inLedger:
		o, found, err := r.claimOwner(h.index)
		if err != nil || !found {
			return v, cmp.Or(err, fmt.Errorf("a claim vanished"))
		}
		w, err := o.owner(r)
		v.First = &w
		return v, err
	case sameRow, sameFile:
		v.First = &Owner{Row: int(h.first), Credential: in.product.Credentials[h.other].Name}
	case serialTwice:
		v.First = &Owner{Row: int(h.first)}
	case serialKnown, notBurned:
		d, err := getDevice(r, in.product.ID, serial)
		if err != nil || d == nil {
			v.Text = "no device of the batch has this serial"
			return v, err
		}
		v.First = &Owner{Batch: d.Batch, Row: d.Row, Serial: v.Serial}
		v.Text = fmt.Sprintf("device is %s", d.State)
	}
	return v, nil
}

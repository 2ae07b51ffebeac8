package records

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"

	"mintmark/records/segment"
)

// A device whose row only waits has no record of its own: its serial stands in
// the segment of its import, and the device is what that says. Its first change
// gives it a record, which is from then on what counts.

func (t *txn) rowOf(product, serial string) (batch, row uint32, found bool, err error) {
	return t.known().rowOf(product, serial)
}

func (r reader) rowOf(product, serial string) (batch, row uint32, found bool, err error) {
	return r.set.rowOf(product, serial)
}

// rowOf finds the row that was imported for a serial.
func (s *claimSet) rowOf(product, serial string) (batch, row uint32, found bool, err error) {
	for _, g := range s.segments {
		run, o, found, err := g.Device(product, serial)
		if err != nil || found {
			return run.Batch, o.Row, found, err
		}
	}
	return 0, 0, false, nil
}

// noRival refuses a new device whose serial an import under way has.
func (t *txn) noRival(d *Device) error {
	g := t.known().pending
	if g == nil {
		return nil
	}
	_, _, found, err := g.Device(d.Product, d.Serial)
	if err == nil && found {
		err = refuse("put the device in again once the import is done", "its serial is in a batch that is being imported")
	}
	return err
}

// waitingDevice is the device of a row that nothing was done with, or nil.
func waitingDevice(g getter, product, serial string) (*Device, error) {
	batch, row, found, err := g.rowOf(product, serial)
	if err != nil || !found {
		return nil, err
	}
	b, err := getBatch(g, batch)
	if err != nil {
		return nil, err
	}
	return b.waiting(serial, row), nil
}

// waiting is a device whose row only waits.
func (b *batchRecord) waiting(serial string, row uint32) *Device {
	state := Waiting
	if b.RowsFrozen {
		state = Frozen
	}
	return &Device{Product: b.Product, Serial: serial, State: state, Batch: b.Name, Row: int(row)}
}

// A deviceRun is a run of serials in a segment.
type deviceRun struct {
	*numbered
	number int
	run    segment.Run
}

// deviceRuns returns the runs of imported devices of a product, of all if it is empty.
func (s *claimSet) deviceRuns(product string) (runs []deviceRun) {
	for _, g := range s.segments {
		for n, run := range g.Runs() {
			if run.Devices && (product == "" || run.Product == product) {
				runs = append(runs, deviceRun{g, n, run})
			}
		}
	}
	return runs
}

// owners returns the devices of a run from a serial on, in their order.
func (d deviceRun) owners(from string) iter.Seq2[segment.Owner, error] {
	return func(yield func(segment.Owner, error) bool) {
		err := d.Devices(d.number, from, func(o segment.Owner) error {
			if !yield(o, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(segment.Owner{}, err)
		}
	}
}

// products lists the products that have devices, in order.
func (r reader) products() (products []string, err error) {
	for _, d := range r.set.deviceRuns("") {
		products = append(products, d.run.Product)
	}
	for from := []byte{keyDevice}; ; {
		key, err := r.first([]byte{keyDevice}, from)
		if err != nil {
			return nil, err
		}
		if key == nil {
			slices.Sort(products)
			return slices.Compact(products), nil
		}
		product, _, _ := strings.Cut(string(key[1:]), "\x00")
		products = append(products, product)
		from = append(append([]byte{keyDevice}, product...), 1) // behind every serial of the product
	}
}

// Devices calls f for each device of a batch in serial order, of all batches by
// product if batch is empty, until f returns false.
func (l *Ledger) Devices(ctx context.Context, batch string, f func(Device) bool) error {
	err := l.view(func(r reader) error {
		products, err := r.products()
		if err != nil {
			return err
		}
		for _, product := range products {
			if err := r.devices(product, func(d *Device) error {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if (batch == "" || d.Batch == batch) && !f(*d) {
					return errStop
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return nil
	}
	return err
}

// devices calls f for each device of a product in serial order: those that have a
// record, and between them those that only wait.
func (r reader) devices(product string, f func(*Device) error) error {
	w, err := r.waiters(product)
	if err != nil {
		return err
	}
	defer w.stop()
	if err := r.scan(deviceKey(product, ""), func(_, val []byte) error {
		d, err := decode[Device](val)
		if err != nil {
			return err
		}
		if err := w.until(d.Serial, f); err != nil {
			return err
		}
		return f(d)
	}); err != nil {
		return err
	}
	return w.until("", f)
}

// waiters are the imported devices of a product, from all its runs.
type waiters struct {
	runs []*waitingRun
}

type waitingRun struct {
	batch *batchRecord
	next  func() (segment.Owner, error, bool)
	stop  func()
	owner segment.Owner
	done  bool
}

func (r reader) waiters(product string) (*waiters, error) {
	w := &waiters{}
	for _, d := range r.set.deviceRuns(product) {
		b, err := getBatch(r, d.run.Batch)
		if err != nil {
			w.stop()
			return nil, err
		}
		run := &waitingRun{batch: b}
		run.next, run.stop = iter.Pull2(d.owners(""))
		w.runs = append(w.runs, run)
		if err := run.advance(); err != nil {
			w.stop()
			return nil, err
		}
	}
	return w, nil
}

func (w *waiters) stop() {
	for _, run := range w.runs {
		run.stop()
	}
}

func (run *waitingRun) advance() (err error) {
	o, err, ok := run.next()
	run.owner, run.done = o, !ok
	return err
}

// until calls f for the devices before a serial, of all that are left if it is
// empty, and passes over the one that has it.
func (w *waiters) until(serial string, f func(*Device) error) error {
	for {
		first := w.first()
		if first == nil || serial != "" && first.owner.Serial > serial {
			return nil
		}
		if first.owner.Serial != serial {
			if err := f(first.batch.waiting(first.owner.Serial, first.owner.Row)); err != nil {
				return err
			}
		}
		if err := first.advance(); err != nil {
			return err
		}
	}
}

// first returns the run whose next serial comes first, or nil.
func (w *waiters) first() (first *waitingRun) {
	for _, run := range w.runs {
		if !run.done && (first == nil || run.owner.Serial < first.owner.Serial) {
			first = run
		}
	}
	return first
}

// recorded calls f with each of some rows, in the order of their serials, whose
// device of the product has a record. Where few of them have, most are never
// looked at.
func (r reader) recorded(ctx context.Context, product string, rows []uint32, serial func(uint32) []byte, f func(row uint32)) error {
	prefix := deviceKey(product, "")
	o := badger.DefaultIteratorOptions
	o.Prefix, o.PrefetchValues = prefix, false
	it := r.txn.NewIterator(o)
	defer it.Close()
	for turn := 0; len(rows) > 0; turn++ {
		if err := sometimes(ctx, turn); err != nil {
			return err
		}
		it.Seek(append(slices.Clip(prefix), serial(rows[0])...))
		if !it.Valid() {
			return nil
		}
		rows = passTo(rows, serial, it.Item().Key()[len(prefix):], f)
	}
	return nil
}

// passTo drops the rows before a serial, and calls f for those that have it.
func passTo(rows []uint32, serial func(uint32) []byte, to []byte, f func(row uint32)) []uint32 {
	n, _ := slices.BinarySearchFunc(rows, to, func(row uint32, to []byte) int { return bytes.Compare(serial(row), to) })
	for rows = rows[n:]; len(rows) > 0 && bytes.Equal(serial(rows[0]), to); rows = rows[1:] {
		f(rows[0])
	}
	return rows
}

// imported is recorded for the devices of one run.
func (d deviceRun) imported(ctx context.Context, rows []uint32, serial func(uint32) []byte, f func(row uint32)) error {
	if len(rows) == 0 {
		return nil
	}
	turn := 0
	for o, err := range d.owners(string(serial(rows[0]))) {
		if err != nil {
			return err
		}
		if turn++; len(rows) == 0 {
			return nil
		}
		if err := sometimes(ctx, turn); err != nil {
			return err
		}
		if s := serial(rows[0]); bytes.Compare(s, []byte(o.Serial)) > 0 {
			continue
		}
		rows = passTo(rows, serial, []byte(o.Serial), f)
	}
	return nil
}

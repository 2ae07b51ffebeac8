package crash_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"mintmark/daemon/api"
	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
)

// A world is all that goes on while daemons come and go: operators at eight
// slots, and quality who imports batches, some of which reuse a credential. It
// remembers what it was answered.
type world struct {
	t      *testing.T
	f      *factory.Factory
	random *rand.Rand // of the importer
	queues map[string]chan *line.Device

	began     chan struct{} // an import was sent
	importing int           // kills during an import

	mu   sync.Mutex // guards the field below
	told answers
}

// answers are what the world was told, and what it asked for.
type answers struct {
	devices  map[string]*line.Device // that ever were on the line
	passed   map[string]bool         // serials whose slot said PASS
	asked    map[string]int          // batches, with their devices; 0 for one that reuses
	admitted map[string]int          // batches that were answered as admitted, with their devices
	rejected map[string]bool         // batches that were answered as rejected
	waiting  string                  // batch that is being imported
	closing  map[string]bool         // batches that were to be closed
	closed   map[string]bool         // batches that were answered as closed
	backups  int                     // that were complete
	backup   []byte                  // the last one
}

// tell changes what the world knows.
func (w *world) tell(f func(*answers)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.told)
}

// answers returns a copy of what the world knows.
func (w *world) answers() answers {
	w.mu.Lock()
	defer w.mu.Unlock()
	return answers{
		devices: maps.Clone(w.told.devices), passed: maps.Clone(w.told.passed), asked: maps.Clone(w.told.asked),
		admitted: maps.Clone(w.told.admitted), rejected: maps.Clone(w.told.rejected), waiting: w.told.waiting,
		closing: maps.Clone(w.told.closing), closed: maps.Clone(w.told.closed), backups: w.told.backups, backup: w.told.backup,
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	f, err := factory.Build(t.Context(), filepath.Join(t.TempDir(), "s"), factory.Options{ResetShare: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return &world{
		t: t, f: f, random: rand.New(rand.NewPCG(rand.Uint64(), 1)),
		queues: map[string]chan *line.Device{
			factory.Generated: make(chan *line.Device), factory.Imported: make(chan *line.Device, 4),
		},
		began: make(chan struct{}),
		told: answers{
			devices: map[string]*line.Device{}, passed: map[string]bool{},
			asked: map[string]int{}, admitted: map[string]int{}, rejected: map[string]bool{},
			closing: map[string]bool{}, closed: map[string]bool{},
		},
	}
}

// run goes on until stop is done, and then until the devices in the slots are
// done.
func (w *world) run(ctx, stop context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i := range w.f.Slots {
		o := line.Operator{
			Sockets: w.f.Sockets[i : i+1], Queue: w.queues[w.f.Slots[i]], Done: w.done,
			Await: func(ctx context.Context, _ int, want ...string) (string, error) { return w.await(ctx, i, want) },
			Scan:  func(ctx context.Context, _ int, d *line.Device, nth int) error { return w.scan(ctx, i, d, nth) },
		}
		g.Go(func() error { return w.fails("operator", o.Run(ctx)) })
	}
	g.Go(func() error { return w.fails("generated devices", w.generate(ctx, stop)) })
	g.Go(func() error { return w.fails("imports", w.imports(ctx, stop)) })
	g.Go(func() error { return w.fails("backups", w.backups(ctx, stop)) })
	return g.Wait()
}

// fails reports at once what went wrong, unless the world ends.
func (w *world) fails(what string, err error) error {
	if err != nil && !errors.Is(err, context.Canceled) {
		w.t.Errorf("%s: %v", what, err)
	}
	return err
}

// persist asks the daemon, whichever runs, until one answers.
func (w *world) persist(ctx context.Context, ask func(*api.Client) error) error {
	for {
		c, err := api.Dial(ctx, w.f.Socket)
		if err == nil {
			err = ask(c)
		}
		var answer *api.Error
		if err == nil || errors.As(err, &answer) || ctx.Err() != nil {
			return err
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await is what an operator sees on the screen, however often it goes dark.
func (w *world) await(ctx context.Context, slot int, want []string) (state string, err error) {
	tag := ""
	for err == nil && !slices.Contains(want, state) {
		err = w.persist(ctx, func(c *api.Client) error {
			st, err := c.Status(ctx, tag)
			if err != nil {
				tag = "" // it was the tag of a daemon that is gone
				return err
			}
			tag, state = st.Tag, string(st.Slots[slot].State)
			return nil
		})
	}
	return state, err
}

// scan holds the device's newest label before the scanner: password, then key.
func (w *world) scan(ctx context.Context, slot int, d *line.Device, nth int) error {
	for _, l := range slices.Backward(w.f.Printer.Labels()) {
		if l.Fields[0] == d.Serial {
			return w.scanText(ctx, slot, l.Fields[1+(nth+1)%2])
		}
	}
	return w.scanText(ctx, slot, "no label")
}

// scanText takes a refusal for an answer: the slot may have stopped waiting.
func (w *world) scanText(ctx context.Context, slot int, text string) error {
	err := w.persist(ctx, func(c *api.Client) error {
		return c.Scan(ctx, fmt.Sprint(slot+1), strings.NewReader(text))
	})
	var refused *api.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}

func (w *world) done(d *line.Device, _ int, state string) {
	if state == line.Pass {
		w.tell(func(a *answers) { a.passed[d.Serial] = true })
	}
}

// generate feeds devices of a batch whose credentials are made on the station.
func (w *world) generate(ctx, stop context.Context) error {
	defer close(w.queues[factory.Generated])
	if err := w.openBatch(ctx, "G1", factory.Generated, 1_000_000); err != nil {
		return err
	}
	for n := 1; stop.Err() == nil; n++ {
		d := factory.Device(factory.Generated, n)
		w.knows([]*line.Device{d})
		select {
		case w.queues[factory.Generated] <- d:
		case <-stop.Done():
		}
	}
	return nil
}

// openBatch opens a batch; that it is open already is fine.
func (w *world) openBatch(ctx context.Context, name, product string, quota int) error {
	err := w.persist(ctx, func(c *api.Client) error {
		_, err := c.OpenBatch(ctx, name, product, quota, false)
		if err == nil {
			return nil
		}
		if b, berr := c.Batch(ctx, name); berr == nil && b.State == "open" {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("open batch %s: %w", name, err)
	}
	return nil
}

// knows remembers devices before they are on the line.
func (w *world) knows(devices []*line.Device) {
	w.tell(func(a *answers) {
		for _, d := range devices {
			a.devices[d.Serial] = d
		}
	})
}

// imports asks for one batch after the other, with a breath in between. Every
// third holds a credential of an earlier one.
func (w *world) imports(ctx, stop context.Context) error {
	queue := w.queues[factory.Imported]
	defer func() {
		for len(queue) > 0 {
			<-queue
		}
		close(queue)
	}()
	for n, first := uint64(1), 1; stop.Err() == nil; n++ {
		pause(stop, time.Duration(w.random.Int64N(int64(300*time.Millisecond))))
		size := []int{1, 50, 2500}[w.random.IntN(3)]
		devices := factory.Devices(factory.Imported, first, size)
		first += size
		file := factory.CSV(devices, n)
		if n%3 == 0 {
			if err := w.reuse(ctx, fmt.Sprintf("R%d", n), file, factory.CSV(devices, n-1)); err != nil {
				return err
			}
			continue
		}
		if err := w.admit(ctx, fmt.Sprintf("B%d", n), file, size); err != nil {
			return err
		}
		if n%4 == 1 {
			if err := w.closeBatch(ctx, fmt.Sprintf("B%d", n)); err != nil {
				return err
			}
			continue
		}
		w.knows(devices[:1])
		select {
		case queue <- devices[0]:
		default: // there are enough
		}
	}
	return nil
}

// admit imports a batch that nothing is wrong with, and opens it.
func (w *world) admit(ctx context.Context, name, file string, size int) error {
	w.asks(name, size)
	defer w.asks("", 0)
	err := w.persist(ctx, func(c *api.Client) error {
		a, err := c.Import(ctx, api.Import{
			Batch: name, Product: factory.Imported, Action: "import", File: strings.NewReader(file), Size: int64(len(file)),
		}, nil)
		if err == nil && (a.State != "admitted" && a.State != "open" || a.Devices != size || a.Credentials != size) {
			return fmt.Errorf("answer is %+v, want %d devices admitted", a, size)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("import %s: %w", name, err)
	}
	w.tell(func(a *answers) { a.admitted[name] = size })
	return w.openBatch(ctx, name, factory.Imported, 0)
}

// reuse imports a batch whose last row has the credential of another batch's
// first row.
func (w *world) reuse(ctx context.Context, name, file, earlier string) error {
	_, used, _ := strings.Cut(strings.Split(earlier, "\n")[1], ",")
	file = file[:strings.LastIndexByte(file, ',')+1] + used + "\n"
	w.asks(name, 0)
	defer w.asks("", 0)
	var seen struct{ total, row int }
	err := w.persist(ctx, func(c *api.Client) error {
		got, err := c.Import(ctx, api.Import{
			Batch: name, Product: factory.Imported, Action: "import", File: strings.NewReader(file), Size: int64(len(file)),
		}, nil)
		if len(got.Violations) > 0 {
			seen.total, seen.row = got.Total, got.Violations[0].Row
		}
		return err
	})
	if rows := strings.Count(file, "\n") - 1; err == nil || seen.total != 1 || seen.row != rows {
		return fmt.Errorf("import %s with a reused credential in row %d = %+v, %v", name, rows, seen, err)
	}
	w.tell(func(a *answers) { a.rejected[name] = true })
	return nil
}

// asks remembers what was asked for before there is an answer.
func (w *world) asks(name string, size int) {
	w.tell(func(a *answers) {
		a.waiting = name
		if name != "" {
			a.asked[name] = size
		}
	})
	if name == "" {
		return
	}
	select {
	case w.began <- struct{}{}:
	default:
	}
}

package canary_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mintmark/daemon/api"
	"mintmark/fixtures/canary"
	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
)

// A world is all that is around a daemon: station folder, devices, printer,
// people, and the files of credentials that they bring. It knows every secret.
type world struct {
	*factory.Factory
	inputs string // folder of the files with credentials; nobody looks for secrets there

	mu      sync.Mutex // guards the fields below
	devices map[*line.Device]bool
	rows    map[string]string // secret by where it stands
}

func newWorld(t *testing.T, o factory.Options) *world {
	t.Helper()
	f, err := factory.Build(t.Context(), filepath.Join(t.TempDir(), "station"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return &world{Factory: f, inputs: t.TempDir(), devices: map[*line.Device]bool{}, rows: map[string]string{}}
}

// patient gives the devices of a product more time than it takes to look through
// a process.
func (w *world) patient(t *testing.T, product string) {
	t.Helper()
	path := filepath.Join(w.Dir, "profiles", product+".toml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const preset = "preset = \"shell\"\n"
	longer := strings.Replace(string(text), preset, preset+"timeout = \"5m\"\n", 1) + "\n[timeouts]\ninject = \"5m\"\n"
	if err := os.WriteFile(path, []byte(longer), 0o600); err != nil {
		t.Fatal(err)
	}
}

// file writes a file of credentials and plants what is in it: every cell but
// serials and the header's names.
func (w *world) file(t *testing.T, name, text string) (path string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	known := slices.Collect(maps.Values(w.rows))
	for i, row := range strings.Split(text, "\n") {
		for _, value := range strings.Split(row, ",")[1:] {
			if value = strings.Trim(strings.ReplaceAll(value, "\xff", ""), "\" "); len(value) >= 10 && !slices.Contains(known, value) {
				w.rows[fmt.Sprintf("line %d of %s", i+1, name)] = value
			}
		}
	}
	path = filepath.Join(w.inputs, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// secrets are all values that must be nowhere, by names that may be shown: those
// of files, and those that were made on the station, as devices were told them.
func (w *world) secrets() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, known := maps.Clone(w.rows), map[string]bool{}
	for _, value := range all {
		known[value] = true
	}
	for d := range w.devices {
		for i, g := range d.Told() {
			if !known[g.Value] {
				all[fmt.Sprintf("%s of %s (%s), the %d. that it was told", g.Name, d.Serial, d.HardwareID, i+1)] = g.Value
				known[g.Value] = true
			}
		}
	}
	return all
}

// net finds every secret in every form.
func (w *world) net() *canary.Net {
	n := canary.New()
	for name, value := range w.secrets() {
		n.Add(name, []byte(value))
	}
	return n
}

// ask asks the daemon, whichever runs, until one answers.
func (w *world) ask(ctx context.Context, question func(*api.Client) error) error {
	for {
		c, err := api.Dial(ctx, w.Socket)
		if err == nil {
			err = question(c)
		}
		var answer *api.Error
		if err == nil || errors.As(err, &answer) {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// await waits for a state of a slot, as an operator does, however often the
// screen goes dark.
func (w *world) await(ctx context.Context, slot int, want ...string) (state string, err error) {
	tag := ""
	for err == nil && !slices.Contains(want, state) {
		err = w.ask(ctx, func(c *api.Client) error {
			st, err := c.Status(ctx, tag)
			tag = "" // of a daemon that may be gone
			if err == nil {
				tag, state = st.Tag, string(st.Slots[slot].State)
			}
			return err
		})
	}
	return state, err
}

// A scanner is what an operator does when a slot waits for a scan.
type scanner func(ctx context.Context, slot int, d *line.Device, nth int) error

// make has operators put devices into the slots of a product, and returns how
// each ended.
func (w *world) make(ctx context.Context, product string, devices []*line.Device, scan scanner) (map[*line.Device]string, error) {
	w.mu.Lock()
	queue := make(chan *line.Device, len(devices))
	for _, d := range devices {
		queue <- d
		w.devices[d] = true
	}
	w.mu.Unlock()
	close(queue)
	var mu sync.Mutex
	ended := map[*line.Device]string{}
	var slots []int
	o := line.Operator{Queue: queue, Done: func(d *line.Device, _ int, state string) {
		mu.Lock()
		defer mu.Unlock()
		ended[d] = state
	}}
	for i, p := range w.Slots {
		if p == product {
			slots, o.Sockets = append(slots, i), append(o.Sockets, w.Sockets[i])
		}
	}
	o.Await = func(ctx context.Context, slot int, want ...string) (string, error) {
		return w.await(ctx, slots[slot], want...)
	}
	o.Scan = func(ctx context.Context, slot int, d *line.Device, nth int) error {
		return scan(ctx, slots[slot], d, nth)
	}
	err := o.Run(ctx)
	return ended, err
}

// label returns what stands on the newest label of a device: password and key.
func (w *world) label(serial string) [2]string {
	for _, l := range slices.Backward(w.Printer.Labels()) {
		if len(l.Fields) == 4 && l.Fields[0] == serial {
			return [2]string{l.Fields[1], l.Fields[2]}
		}
	}
	return [2]string{"no label", "no label"}
}

package canary_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"mintmark/daemon/api"
	"mintmark/fixtures/canary"
	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
	"mintmark/records"
)

// TestADaemonForgetsWhatIsClosed has a daemon import, refuse, provision, scan and
// rework. When no device is in a slot, no secret may be anywhere in its memory.
func TestADaemonForgetsWhatIsClosed(t *testing.T) {
	g, i := factory.Generated, factory.Imported
	w := newWorld(t, factory.Options{Slots: []string{g, g, g, g, i, i}, ResetShare: 0.5})
	k := startWorker(t, w, "run", w.Config)
	k.imports()
	k.allows("daemon, after imports", k.look(k.net()))
	k.provision()
	k.allows("daemon, after devices", k.look(k.net()))
	k.again()
	k.allows("daemon, after devices seen again", k.look(k.net()))
	k.pulled(50)
	k.allows("daemon, after a device that was pulled in the middle", k.look(k.net()))
	k.allowsInCore("core of a daemon, no device in a slot")
}

// A core that is taken at the worst moment has what a step has just received, and
// nothing from secret pages.
func TestACoreOfABusyDaemonHoldsNoSecretPage(t *testing.T) {
	w := newWorld(t, factory.Options{Slots: []string{factory.Imported}})
	w.patient(t, factory.Imported)
	k := startWorker(t, w, "run", w.Config)
	one := csv(1, 10, 1, nil)
	k.file(t, "I1.csv", one)
	k.bring("I1", factory.Imported, one, true, "")
	k.open("I1", "", 0)
	c := k.stuck(5)
	if len(c.secret) == 0 {
		t.Error("no secret of the device in the slot was found in secret pages, so that they are clean at other times says nothing")
	}
	c.secret = nil
	k.allows("daemon, while a device echoes its password", c)
	k.allowsInCore("core of a daemon, while a device echoes its password")
	w.Sockets[0].Pull()
}

// A command that opens the ledger itself leaves nothing either.
func TestAnImportWithoutADaemonForgetsItsRows(t *testing.T) {
	w := newWorld(t, factory.Options{Slots: []string{factory.Imported}})
	file := w.file(t, "I1.csv", csv(1, 2000, 1, nil))
	k := startWorker(t, w, "send", w.Config, factory.Imported, "I1", file)
	k.allows("command that imports by itself", k.look(k.net()))
}

// What a command sends to a daemon goes through buffers of net/http, which stay
// until the command ends, right afterwards.
func TestACommandHoldsTheLastOfWhatItSent(t *testing.T) {
	w := newWorld(t, factory.Options{Slots: []string{factory.Imported}})
	daemon := startWorker(t, w, "run", w.Config)
	file := w.file(t, "I1.csv", csv(1, 5000, 1, nil))
	k := startWorker(t, w, "send", w.Config, factory.Imported, "I1", file)
	k.allows("command that sent a file of 5,000 rows", k.look(k.net()))
	daemon.allows("daemon, after imports", daemon.look(daemon.net()))
}

// documented is how many whole secrets docs/secrets.md says may be in the heap.
func documented(t *testing.T, when string) int {
	t.Helper()
	text, err := os.ReadFile("../../docs/secrets.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "| "+when+" | "); ok {
			cell, _, _ := strings.Cut(rest, " |")
			n, err := strconv.Atoi(strings.ReplaceAll(cell, ",", ""))
			if err != nil {
				t.Fatalf("docs/secrets.md has %q for %s, want a number", cell, when)
			}
			return n
		}
	}
	t.Fatalf("docs/secrets.md has no row %q", when)
	return 0
}

// allows wants nothing in secret pages, and no more in the heap than is
// documented; where that is nothing, no pieces either.
func (k *worker) allows(when string, c census) {
	k.t.Helper()
	most := documented(k.t, when)
	k.t.Logf("%s: %d secrets, %d hits in secret pages, %d in the heap, %d with pieces",
		when, len(k.secrets()), len(c.secret), len(c.whole()), len(c.heap))
	wrong := c.secret
	if len(c.whole()) > most || most == 0 {
		wrong = append(wrong, c.heap...)
	}
	for _, f := range wrong[:min(len(wrong), 10)] {
		k.t.Errorf("%s: %s", when, k.around(f))
	}
}

// allowsInCore takes a core and wants no page of secrets in it, and of the rest
// what allows wants.
func (k *worker) allowsInCore(when string) {
	k.t.Helper()
	mappings, err := canary.Mappings(k.cmd.Process.Pid)
	if err != nil {
		k.t.Fatal(err)
	}
	path, most := k.core(), documented(k.t, when)
	hits := k.inCore(path, mappings)
	whole := 0
	for _, h := range hits {
		if !strings.HasPrefix(h.Secret, part) {
			whole++
		}
	}
	k.t.Logf("%s: %d hits, %d with pieces", when, whole, len(hits))
	if whole <= most && (most > 0 || len(hits) == 0) {
		return
	}
	for _, h := range hits[:min(len(hits), 10)] {
		k.t.Errorf("%s: %v: %s", when, h, k.neighbours(path, h.Offset))
	}
}

func (k *worker) ask(question func(*api.Client) error) {
	k.t.Helper()
	if err := k.world.ask(k.t.Context(), question); err != nil {
		k.t.Fatal(err)
	}
}

func (k *worker) open(batch, product string, quota int) {
	k.t.Helper()
	k.ask(func(c *api.Client) error {
		_, err := c.OpenBatch(k.t.Context(), batch, product, quota, false)
		return err
	})
}

// imports has a file admitted, one rejected that comes in pieces of unknown
// length, and two refused before they are read.
func (k *worker) imports() {
	k.t.Helper()
	one := csv(1, 2000, 1, nil)
	k.file(k.t, "I1.csv", one)
	k.bring("I1", factory.Imported, one, true, "")
	reuse := csv(5001, 400, 2, map[int]string{7: value(one, 1500)})
	k.file(k.t, "R1.csv", reuse)
	k.bring("R1", factory.Imported, reuse, false, "batch rejected")
	k.bring("R2", "nosuch", reuse, true, "no product nosuch")
	bad := csv(5401, 400, 3, map[int]string{300: "a\"b"})
	k.file(k.t, "BAD.csv", bad)
	k.bring("R2", factory.Imported, bad, true, "line 301")
	k.open("I1", "", 0)
	k.open("G1", factory.Generated, 20)
}

func (k *worker) bring(batch, product, text string, sized bool, refusal string) {
	k.t.Helper()
	c, err := api.Dial(k.t.Context(), k.Socket)
	if err != nil {
		k.t.Fatal(err)
	}
	i := api.Import{Batch: batch, Product: product, Action: "import", File: strings.NewReader(text)}
	if sized {
		i.Size = int64(len(text))
	}
	_, err = c.Import(k.t.Context(), i, nil)
	if (err == nil) != (refusal == "") || err != nil && !strings.Contains(err.Error(), refusal) {
		k.t.Fatalf("import of %s = %v, want %q", batch, err, refusal)
	}
}

func (k *worker) scan(ctx context.Context, slot int, d *line.Device, nth int) error {
	err := k.world.ask(ctx, func(c *api.Client) error {
		return c.Scan(ctx, fmt.Sprint(slot+1), strings.NewReader(k.label(d.Serial)[nth%2]))
	})
	if err != nil && strings.Contains(err.Error(), "waits for no scan") {
		return nil
	}
	return err
}

// devices puts devices into slots and wants those to pass that nothing is wrong
// with.
func (k *worker) devices(product string, devices ...*line.Device) error {
	ctx, cancel := context.WithTimeout(k.t.Context(), 3*time.Minute)
	defer cancel()
	ended, err := k.make(ctx, product, devices, k.scan)
	for d, state := range ended {
		if d.Faults == nil && state != line.Pass {
			err = errors.Join(err, fmt.Errorf("%s ended as %s, want PASS", d.Serial, state))
		}
	}
	return err
}

func (k *worker) provision() {
	k.t.Helper()
	var g errgroup.Group
	g.Go(func() error {
		return k.devices(factory.Generated, broken(factory.Generated, 1,
			nil, nil, fault{line.Inject: line.EchoesSecrets}, fault{line.Inject: line.Refusal}, fault{line.Prove: line.Unplug},
			fault{line.Inject: line.Noise}, fault{line.Inject: line.Chatter})...)
	})
	g.Go(func() error {
		return k.devices(factory.Imported, broken(factory.Imported, 1,
			nil, fault{line.Inject: line.EchoesSecrets}, fault{line.Inject: line.RebootsInTheMiddle})...)
	})
	if err := g.Wait(); err != nil {
		k.t.Fatal(err)
	}
}

// again puts sealed devices in: as they are, to be relabelled, and for new
// credentials.
func (k *worker) again() {
	k.t.Helper()
	find := func(serial string) *line.Device {
		for d := range k.world.devices {
			if d.Serial == serial {
				return d
			}
		}
		panic("no device " + serial)
	}
	one, two := find("CG000001"), find("CG000002")
	seen := k.devices(factory.Generated, one, two)
	seen = errors.Join(seen, k.devices(factory.Imported, find("CI000001")))
	for d, kind := range map[*line.Device]records.ReworkKind{one: records.Relabel, two: records.Reprovision} {
		k.ask(func(c *api.Client) error {
			_, err := c.Rework(k.t.Context(), "", d.Serial, kind, "canary")
			return err
		})
	}
	two.Service()
	if err := errors.Join(seen, k.devices(factory.Generated, one, two)); err != nil {
		k.t.Fatal(err)
	}
}

// mute puts a device into the last slot that answers nothing any more once it has
// echoed its password, and waits until it is sent that.
func (k *worker) mute(n int) (slot int) {
	k.t.Helper()
	d := factory.Device(factory.Imported, n)
	d.Faults = fault{line.Inject: line.Mute}
	slot = len(k.Sockets) - 1
	if err := k.Sockets[slot].Plug(k.t.Context(), d); err != nil {
		k.t.Fatal(err)
	}
	for step, tag := "", ""; step != "inject"; {
		k.ask(func(c *api.Client) error {
			st, err := c.Status(k.t.Context(), tag)
			if err == nil {
				tag, step = st.Tag, st.Slots[slot].Step
			}
			return err
		})
	}
	return slot
}

// pulled is a mute device that is pulled.
func (k *worker) pulled(n int) {
	k.t.Helper()
	slot := k.mute(n)
	k.Sockets[slot].Pull()
	if _, err := k.await(k.t.Context(), slot, line.Empty); err != nil {
		k.t.Fatal(err)
	}
}

// stuck looks while the station waits for a mute device.
func (k *worker) stuck(n int) census {
	k.t.Helper()
	k.mute(n)
	ctx, cancel := context.WithTimeout(k.t.Context(), 2*time.Minute)
	defer cancel()
	for net := k.net(); ctx.Err() == nil; {
		if len(k.look(net).whole()) > 0 {
			return k.look(net) // now that nothing is on its way from one buffer to another
		}
	}
	k.t.Fatal("nothing of what the device echoes was seen in the heap")
	return census{}
}

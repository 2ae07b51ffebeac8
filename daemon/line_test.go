package daemon_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"mintmark/daemon"
	"mintmark/daemon/api"
	"mintmark/fixtures/factory"
	"mintmark/fixtures/line"
	"mintmark/records"
	"mintmark/station"
)

// A plant is a factory with its daemon running.
type plant struct {
	*factory.Factory
	client *api.Client
	log    *bytes.Buffer // to be read after stop
	stop   func() error
	wait   func() error // until it ends by itself
}

// run starts the daemon of a factory, after edits of its files, and waits until it
// answers.
func run(t *testing.T, o factory.Options, edit ...func(f *factory.Factory)) *plant {
	t.Helper()
	f, err := factory.Build(t.Context(), filepath.Join(t.TempDir(), "d"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	for _, e := range edit {
		e(f)
	}
	c, err := daemon.ReadConfig(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	p := &plant{Factory: f, log: &bytes.Buffer{}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	up := make(chan struct{})
	var g errgroup.Group
	g.Go(func() error {
		defer cancel()
		return daemon.Run(ctx, c, daemon.Parts{
			Log: slog.New(slog.NewTextHandler(p.log, nil)), Started: func(*api.Client) { close(up) },
		})
	})
	p.wait = g.Wait
	p.stop = func() error { cancel(); return g.Wait() }
	t.Cleanup(func() { p.stop() })
	select {
	case <-up:
	case <-ctx.Done():
		t.Fatalf("Run = %v", g.Wait())
	}
	if p.client, err = api.Dial(t.Context(), f.Socket); err != nil {
		t.Fatal(err)
	}
	return p
}

// change edits a file of a factory.
func change(t *testing.T, path string, edit func(string) string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(edit(string(text))), 0o600); err != nil {
		t.Fatal(err)
	}
}

// await waits for the state of a slot, as an operator does.
func (p *plant) await(ctx context.Context, slot int, want ...string) (string, error) {
	tag := ""
	for {
		st, err := p.client.Status(ctx, tag)
		if err != nil {
			return "", err
		}
		if state := string(st.Slots[slot].State); slices.Contains(want, state) {
			return state, nil
		}
		tag = st.Tag
	}
}

// make has an operator put devices into one slot, and returns how they ended.
func (p *plant) make(t *testing.T, slot int, devices []*line.Device) map[string]string {
	t.Helper()
	queue := make(chan *line.Device, len(devices))
	for _, d := range devices {
		queue <- d
	}
	close(queue)
	ended := map[string]string{}
	o := line.Operator{
		Sockets: p.Sockets[slot : slot+1], Queue: queue,
		Await: func(ctx context.Context, _ int, want ...string) (string, error) { return p.await(ctx, slot, want...) },
		Done:  func(d *line.Device, _ int, state string) { ended[d.Serial] = state },
	}
	if err := o.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return ended
}

func TestALineSealsDevicesFromPlugToLabel(t *testing.T) {
	p := run(t, factory.Options{Slots: []string{factory.Generated, factory.Imported}, ResetShare: 0.5})
	generated, imported := factory.Devices(factory.Generated, 1, 3), factory.Devices(factory.Imported, 1, 3)
	generated[1].Faults = map[line.Phase]line.Fault{line.Inject: line.Refusal}
	if _, err := p.client.OpenBatch(t.Context(), "G1", factory.Generated, 3, false); err != nil {
		t.Fatal(err)
	}
	file := factory.CSV(imported, 1)
	if _, err := p.client.Import(t.Context(), api.Import{Batch: "I1", Product: factory.Imported, Action: "import", File: strings.NewReader(file)}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.OpenBatch(t.Context(), "I1", "", 0, false); err != nil {
		t.Fatal(err)
	}
	got := p.make(t, 0, generated)
	for serial, state := range p.make(t, 1, imported) {
		got[serial] = state
	}
	want := "map[CG000001:PASS CG000002:FAIL CG000003:PASS CI000001:PASS CI000002:PASS CI000003:PASS]"
	if fmt.Sprint(got) != want {
		t.Errorf("devices ended as %v, want %s", got, want)
	}
	var sealed []string
	if err := p.client.Devices(t.Context(), "", func(d records.Device) error {
		if d.State == records.Sealed {
			sealed = append(sealed, d.Serial)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(sealed) != 5 {
		t.Errorf("sealed are %v, want five", sealed)
	}
	for _, problem := range factory.Judge(slices.Concat(generated, imported), p.Printer.Labels(), sealed) {
		t.Error(problem)
	}
	if check, err := p.client.Verify(t.Context(), nil); err != nil || len(check.Problems) > 0 || check.Open != 0 {
		t.Errorf("Verify = %+v, %v", check, err)
	}
	if err := p.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
	if log := p.log.String(); strings.Count(log, "device done") != 6 || !strings.Contains(log, "DEVELOPMENT") {
		t.Errorf("log is\n%s\nwant a line for each device, and what the authority is", log)
	}
}

func TestASlotThatCantBeWatchedDoesntEndTheLine(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := run(t, factory.Options{Slots: []string{factory.Generated}}, func(f *factory.Factory) {
		change(t, f.Config, func(s string) string {
			return s + fmt.Sprintf("\n[[slot]]\nname = \"bad\"\nport = %q\nproduct = \"cam\"\n", file)
		})
	})
	if _, err := p.await(t.Context(), 1, string(station.Fail)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.client.OpenBatch(t.Context(), "G1", factory.Generated, 1, false); err != nil {
		t.Fatal(err)
	}
	if got := p.make(t, 0, factory.Devices(factory.Generated, 1, 1)); got["CG000001"] != line.Pass {
		t.Errorf("the other slot says %v, want PASS", got)
	}
	if err := p.stop(); err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestAProfileEditedUnderARunningDaemonIsRefused(t *testing.T) {
	p := run(t, factory.Options{Slots: []string{factory.Generated}})
	change(t, filepath.Join(p.Dir, "profiles", "cam.toml"), func(s string) string { return s + "\n" })
	_, err := p.client.OpenBatch(t.Context(), "G1", factory.Generated, 1, false)
	var e *api.Error
	if !errors.As(err, &e) || !strings.Contains(e.Text, "was edited since the daemon read it") || e.Hint == "" {
		t.Errorf("OpenBatch = %v, want a refusal with a hint", err)
	}
}

func TestRunSaysEverythingThatIsWrongWithItsSlots(t *testing.T) {
	f, err := factory.Build(t.Context(), filepath.Join(t.TempDir(), "d"), factory.Options{Slots: []string{"nosuch", factory.Generated}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	change(t, f.Config, func(s string) string { return strings.Replace(s, "address = ", "#", 1) })
	c, err := daemon.ReadConfig(f.Config)
	if err != nil {
		t.Fatal(err)
	}
	err = daemon.Run(t.Context(), c, daemon.Parts{})
	want := "slot 1: no product nosuch\nslot 2: product cam has a label, slot 2 has no printer"
	if err == nil || err.Error() != want {
		t.Errorf("Run = %v, want\n%s", err, want)
	}
}

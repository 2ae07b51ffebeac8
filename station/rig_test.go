package station_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
	"mintmark/records"
	"mintmark/station"
	"mintmark/station/label"
)

const zpl = "^XA^FO1,1^FD{serial} {label}^FS^BQN,2,4^FDQA,{admin:5-5-5};{wifi}^FS^XZ"

// generated is a product whose credentials are made here.
func generated(t testing.TB) station.Product {
	t.Helper()
	l, err := label.Parse(zpl, []string{"admin", "wifi"})
	if err != nil {
		t.Fatal(err)
	}
	return station.Product{
		Product: records.Product{ID: "camera", Profile: [32]byte{1}, Credentials: []records.Spec{
			{Name: "admin", Kind: records.LoginPassword, Origin: records.Generated, Bits: 64.8},
			{Name: "wifi", Kind: records.WifiPSK, Origin: records.Generated, Bits: 91},
		}},
		SerialFrom: station.FromDevice, Users: map[string]string{"admin": "admin"}, Proof: "login",
		Old: []station.Candidate{{User: "admin", Password: "admin"}}, Universal: []station.Candidate{{User: "root", Password: "root"}},
		Label: l,
	}
}

// imported is a product whose admin password comes with the batch.
func imported(t testing.TB) station.Product {
	p := generated(t)
	p.Credentials[0].Origin = records.Imported
	return p
}

// lines is a log that several slots write.
type lines struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A source draws values and remembers all that it gave away.
type source struct {
	mu     sync.Mutex // guards the fields below
	given  []*secret.Value
	values []string
	next   []string // drawn before anything random
	err    error
	verify error
	drawn  func() // called by each Draw; nil means nothing
}

func (s *source) ID() string { return "test authority" }

func (s *source) Draw(_ context.Context, credential string) (*secret.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drawn != nil {
		s.drawn()
	}
	if s.err != nil {
		return nil, s.err
	}
	text := rand.Text()[:15]
	if len(s.next) > 0 {
		text, s.next = s.next[0], s.next[1:]
	}
	v := secret.From([]byte(text))
	s.given, s.values = append(s.given, v), append(s.values, text)
	return v, nil
}

func (s *source) Verifier(_ context.Context, credential string, v *secret.Value) (*secret.Value, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.verify != nil {
		return nil, s.verify
	}
	w := secret.Join([]byte("$6$salt$"), v.Bytes())
	s.given = append(s.given, w)
	return w, nil
}

// A paper is a printer as the path sees it.
type paper struct {
	mu      sync.Mutex // guards the fields below
	ready   error
	print   error
	printed []string
	during  func() // called while it prints
}

func (p *paper) Ready(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

func (p *paper) Print(_ context.Context, zpl *secret.Value) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.printed = append(p.printed, string(zpl.Bytes()))
	if p.during != nil {
		p.during()
	}
	return p.print
}

func (p *paper) labels() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.printed)
}

// A rig is a station of one slot with a real ledger. It lives in one bubble.
type rig struct {
	t         testing.TB
	dir       string
	authority *soft.Authority
	ledger    *records.Ledger
	product   station.Product
	driver    *driver
	source    *source
	paper     *paper
	printer   station.Printer // nil means paper
	bay       *bay
	log       *lines
	timeouts  station.Timeouts

	slot *station.Slot
	end  func() error // stops the slot and returns what Run returned
}

// in runs f in a bubble, where a mute device costs no real time.
func in(t *testing.T, f func(t *testing.T, r *rig)) {
	t.Helper()
	t.Parallel() // most of the time the disk is waited for
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		defer r.close()
		f(t, r)
	})
}

func newRig(t testing.TB) *rig {
	t.Helper()
	keys := t.TempDir() + "/authority"
	if err := soft.Create(keys); err != nil {
		t.Fatal(err)
	}
	a, err := soft.Open(keys)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{
		t: t, dir: t.TempDir(), authority: a, product: generated(t), driver: &driver{}, source: &source{}, paper: &paper{},
		bay: newBay(), log: &lines{},
	}
	if err := records.Create(t.Context(), r.dir, a, options()); err != nil {
		t.Fatal(err)
	}
	r.open()
	return r
}

func options() records.Options { return records.Options{Ballast: 1 << 20, ChecksPerHour: 1000} }

func (r *rig) open() {
	r.t.Helper()
	l, err := records.Open(r.t.Context(), r.dir, r.authority, r.authority, options())
	if err != nil {
		r.t.Fatalf("Open = %v", err)
	}
	r.ledger = l
}

// reopen is the station after its power came back.
func (r *rig) reopen() {
	r.t.Helper()
	r.ledger.Close() // whatever it says: the power was cut
	r.open()
	r.start()
}

// close checks what every test owes: nothing is left open in the ledger, and no
// secret outlives its device.
func (r *rig) close() {
	r.t.Helper()
	if r.end != nil {
		r.end()
	}
	c, err := r.ledger.Verify(context.WithoutCancel(r.t.Context()), nil)
	if err != nil && !errors.Is(err, records.ErrBroken) || len(c.Problems) > 0 {
		r.t.Errorf("Verify = %+v, %v, want a clean ledger", c, err)
	}
	if c.Open != 0 {
		r.t.Errorf("%d assignments are open at the end, want none", c.Open)
	}
	r.wiped()
	if err := r.ledger.Close(); err != nil && !errors.Is(err, records.ErrBroken) {
		r.t.Errorf("Close = %v", err)
	}
	r.authority.Close()
}

func (r *rig) wiped() {
	r.t.Helper()
	r.source.mu.Lock()
	defer r.source.mu.Unlock()
	for i, v := range r.source.given {
		if !closed(v) {
			r.t.Errorf("value %d of the authority was not wiped", i+1)
		}
	}
}

func closed(v *secret.Value) (is bool) {
	defer func() { is = recover() != nil }()
	v.Bytes()
	return false
}

// batch opens a generated batch.
func (r *rig) batch(name string, quota int) {
	r.t.Helper()
	if _, err := r.ledger.OpenBatch(r.t.Context(), records.OpenRequest{
		Product: r.product.Product, Batch: name, Quota: quota, Actor: supervisor,
	}); err != nil {
		r.t.Fatalf("OpenBatch = %v", err)
	}
}

var supervisor = records.Actor{Name: "ann", Supervisor: true, Quality: true}

// rows imports a batch with a row for each serial and opens it.
func (r *rig) rows(name string, serials ...string) {
	r.t.Helper()
	file := bytes.NewBufferString("serial,admin\n")
	for _, s := range serials {
		fmt.Fprintf(file, "%s,%s\n", s, rowOf(s))
	}
	if _, err := r.ledger.Import(r.t.Context(), records.ImportRequest{
		Product: r.product.Product, Batch: name, Actor: supervisor,
	}, file); err != nil {
		r.t.Fatalf("Import = %v", err)
	}
	r.batch(name, 0)
}

// rowOf is the password that the row of a serial has.
func rowOf(serial string) string { return ("IMPORTED-" + serial + "-XYZXYZXYZ")[:15] }

func (r *rig) config() station.Config {
	var p station.Printer = r.paper
	if r.printer != nil {
		p = r.printer
	}
	return station.Config{
		Name: "station-1", Slot: "1", Product: r.product, Ledger: r.ledger, Driver: r.driver, Source: r.source,
		Printer: p, Open: r.bay.open, Present: r.bay.present, Timeouts: r.timeouts,
		Log: slog.New(slog.NewJSONHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
}

// start runs the slot. The slot before must have ended.
func (r *rig) start() *station.Slot {
	r.t.Helper()
	s, err := station.New(r.config())
	if err != nil {
		r.t.Fatalf("New = %v", err)
	}
	r.run(s)
	return s
}

func (r *rig) run(s *station.Slot) {
	ctx, stop := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	ended := sync.OnceValue(func() error {
		stop()
		err := <-done
		r.bay.pull()
		r.bay.programs.Wait()
		return err
	})
	r.slot, r.end = s, ended
}

// await waits until the slot shows one of the states.
func (r *rig) await(states ...station.State) station.Snapshot {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Hour) // of the bubble
	defer cancel()
	for {
		now, changed := r.slot.Snapshot()
		if slices.Contains(states, now.State) {
			return now
		}
		select {
		case <-changed:
		case <-ctx.Done():
			r.t.Fatalf("slot shows %+v, want one of %v", now, states)
		}
	}
}

// pass puts the device in, waits for its result, and pulls it.
func (r *rig) put(d *device) station.Snapshot {
	r.t.Helper()
	r.bay.plug(d)
	result := r.await(station.Pass, station.Fail, station.Stopped)
	r.bay.pull()
	r.await(station.Empty, station.Stopped)
	return result
}

// record is what the ledger knows of a serial.
func (r *rig) record(serial string) records.Device {
	r.t.Helper()
	d, err := r.ledger.Device(r.t.Context(), r.product.ID, serial)
	if err != nil && !errors.Is(err, records.ErrNotFound) {
		r.t.Fatalf("Device = %v", err)
	}
	return d
}

// want checks a result and what the ledger says of the device.
func (r *rig) want(got station.Snapshot, state station.State, errPrefix string, serial string, after records.DeviceState) {
	r.t.Helper()
	if got.State != state || !hasPrefix(got.Error, errPrefix) {
		r.t.Errorf("slot shows %s %q, want %s %q", got.State, got.Error, state, errPrefix)
	}
	if (got.State == station.Pass) != (got.Remedy == "") {
		r.t.Errorf("slot shows %s with remedy %q", got.State, got.Remedy)
	}
	if d := r.record(serial); d.State != after {
		r.t.Errorf("the ledger says that %s is %q, want %q", serial, d.State, after)
	}
}

func hasPrefix(s, prefix string) bool {
	return prefix == "" && s == "" || prefix != "" && len(s) >= len(prefix) && s[:len(prefix)] == prefix
}

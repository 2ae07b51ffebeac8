package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"mintmark/daemon/api"
	"mintmark/daemon/profile"
	"mintmark/hsm/secret"
	"mintmark/hsm/soft"
	"mintmark/records"
	"mintmark/station"
)

// open makes and opens an empty ledger.
func open(t *testing.T) *records.Ledger {
	t.Helper()
	dir := t.TempDir()
	authority, ledger := filepath.Join(dir, "a"), filepath.Join(dir, "l")
	if err := errors.Join(soft.Create(authority), os.Mkdir(ledger, 0o700)); err != nil {
		t.Fatal(err)
	}
	a, err := soft.Open(authority)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	o := records.Options{Ballast: 8 << 20}
	if err := records.Create(t.Context(), ledger, a, o); err != nil {
		t.Fatal(err)
	}
	l, err := records.Open(t.Context(), ledger, a, a, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// A slot is one that tests change by hand.
type slot struct {
	mu      sync.Mutex // guards the fields below
	now     station.Snapshot
	changed chan struct{}
	scanned []byte
}

func newSlot(name string) *slot {
	return &slot{now: station.Snapshot{Slot: name, State: station.Empty}, changed: make(chan struct{})}
}

func (s *slot) Snapshot() (station.Snapshot, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.changed
}

func (s *slot) set(state station.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.State = state
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *slot) Scan(code *secret.Value) error {
	defer code.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now.State != station.WaitScan {
		return station.ErrNotWaiting
	}
	s.scanned = bytes.Clone(code.Bytes())
	return nil
}

func products(string) (*profile.Profile, error) {
	return nil, &records.Refusal{Text: "no product x", Hint: "products here: camera"}
}

// serve starts a handler on a socket and returns the socket's path and a client
// of the same handler in this process.
func serve(t *testing.T, c api.Config) (socket string, local *api.Client) {
	t.Helper()
	c.Product = products
	h := api.Handler(c)
	socket = filepath.Join(t.TempDir(), "s")
	l, err := api.Listen(t.Context(), socket, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var g errgroup.Group
	g.Go(func() error { return api.Serve(ctx, l, h, api.Roles{}, logTo(io.Discard)) })
	local = api.NewLocal(h, api.Roles{}.Actor(os.Getuid()))
	t.Cleanup(func() {
		stop()
		if err := g.Wait(); err != nil {
			t.Errorf("Serve = %v", err)
		}
		local.Close()
	})
	return socket, local
}

func dial(t *testing.T, socket string) *api.Client {
	t.Helper()
	c, err := api.Dial(t.Context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSocketAndProcessGiveTheSameAnswers(t *testing.T) {
	socket, local := serve(t, api.Config{Ledger: open(t), Slots: []api.Slot{newSlot("1")}, About: api.About{Station: "s1"}})
	remote := dial(t, socket)
	type answer struct {
		V   any
		Err string
	}
	for name, ask := range map[string]func(*api.Client) (any, error){
		"stats": func(c *api.Client) (any, error) {
			s, err := c.Stats(t.Context())
			s.Free = 0 // others use the disk meanwhile
			return s, err
		},
		"verify":         func(c *api.Client) (any, error) { return c.Verify(t.Context(), nil) },
		"batches":        func(c *api.Client) (any, error) { return c.Batches(t.Context()) },
		"no such batch":  func(c *api.Client) (any, error) { return c.Batch(t.Context(), "a/b:c") },
		"no such device": func(c *api.Client) (any, error) { return c.Device(t.Context(), "", "x/y") },
		"status":         func(c *api.Client) (any, error) { return c.Status(t.Context(), "") },
		"scan too early": func(c *api.Client) (any, error) { return nil, c.Scan(t.Context(), "1", strings.NewReader("x")) },
		"no such slot":   func(c *api.Client) (any, error) { return nil, c.Scan(t.Context(), "9", strings.NewReader("x")) },
		"unknown product": func(c *api.Client) (any, error) {
			return c.Import(t.Context(), api.Import{Batch: "B", Product: "x", Action: "import", File: strings.NewReader("a")}, nil)
		},
		"bad batch name": func(c *api.Client) (any, error) { return c.OpenBatch(t.Context(), "é", "x", 1, false) },
		"rework without a reason": func(c *api.Client) (any, error) {
			return c.Rework(t.Context(), "", "S", records.Relabel, "")
		},
		"devices": func(c *api.Client) (any, error) {
			return nil, c.Devices(t.Context(), "", func(records.Device) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got [2]answer
			for i, c := range []*api.Client{local, remote} {
				v, err := ask(c)
				got[i].V = v
				if err != nil {
					var e *api.Error
					if !errors.As(err, &e) {
						t.Fatalf("error is %T (%v), want *api.Error", err, err)
					}
					got[i].Err = e.Text + "|" + e.Hint
				}
			}
			if diff := cmp.Diff(got[0], got[1]); diff != "" {
				t.Errorf("in the process (-) and over the socket (+):\n%s", diff)
			}
		})
	}
}

func TestBackupSaysWhetherItIsComplete(t *testing.T) {
	socket, local := serve(t, api.Config{Ledger: open(t)})
	for name, c := range map[string]*api.Client{"socket": dial(t, socket), "process": local} {
		var b bytes.Buffer
		if err := c.Backup(t.Context(), &b); err != nil || b.Len() == 0 {
			t.Errorf("Backup over %s = %v with %d bytes", name, err, b.Len())
		}
		if err := c.Backup(t.Context(), full{}); err == nil {
			t.Errorf("Backup over %s onto a full disk succeeded", name)
		}
	}
}

func TestAnAnswerThatIsCutOffIsNoSuccess(t *testing.T) {
	cut := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("{\"progress\":{\"done\":1}}\n"))
	})
	c := api.NewLocal(cut, records.Actor{})
	defer c.Close()
	if err := c.Backup(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("Backup = %v, want that it was cut off", err)
	}
	if _, err := c.Verify(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "cut off") {
		t.Errorf("Verify = %v, want that it was cut off", err)
	}
	if err := c.Devices(t.Context(), "", func(records.Device) error { return nil }); err == nil {
		t.Error("a list that was cut off passes for whole")
	}
}

// full is a disk that takes nothing.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestStatusWaitsForAChange(t *testing.T) {
	s := newSlot("1")
	socket, _ := serve(t, api.Config{Ledger: open(t), Slots: []api.Slot{s}})
	c := dial(t, socket)
	first, err := c.Status(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan api.Status, 1)
	var g errgroup.Group
	g.Go(func() error {
		st, err := c.Status(t.Context(), first.Tag)
		next <- st
		return err
	})
	s.set(station.Pass)
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if st := <-next; st.Slots[0].State != station.Pass || st.Tag == first.Tag {
		t.Errorf("status after a change is %+v", st)
	}
}

func TestScanReachesTheSlotWithoutItsLineEnd(t *testing.T) {
	s := newSlot("1")
	s.set(station.WaitScan)
	socket, _ := serve(t, api.Config{Ledger: open(t), Slots: []api.Slot{s}})
	if err := dial(t, socket).Scan(t.Context(), "1", strings.NewReader("CODE-1\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := string(s.scanned); got != "CODE-1" {
		t.Errorf("slot got %q, want CODE-1", got)
	}
	err := dial(t, socket).Scan(t.Context(), "1", strings.NewReader(strings.Repeat("x", 5000)))
	if err == nil || !strings.Contains(err.Error(), "more than 4095 bytes") {
		t.Errorf("Scan of 5000 bytes = %v", err)
	}
}

func TestUnforeseenErrorsStayInside(t *testing.T) {
	var log bytes.Buffer
	secretive := errors.New("disk /secret/path burns")
	h := api.Handler(api.Config{
		Ledger: open(t), Log: logTo(&log),
		Product: func(string) (*profile.Profile, error) { return nil, secretive },
	})
	c := api.NewLocal(h, records.Actor{})
	defer c.Close()
	_, err := c.OpenBatch(t.Context(), "B", "x", 1, false)
	if err == nil || err.Error() != "internal error, see the station log" {
		t.Errorf("OpenBatch = %v, want an internal error", err)
	}
	if !strings.Contains(log.String(), "burns") {
		t.Errorf("log is %q, want the cause", log.String())
	}
}

func TestRequestsWithoutAnActorAreRefused(t *testing.T) {
	h := api.Handler(api.Config{Ledger: open(t), Product: products})
	r, _ := http.NewRequestWithContext(t.Context(), "POST", "/v1/batches/B/hold", nil)
	defer func() {
		if recover() == nil {
			t.Error("a request without an actor was answered")
		}
	}()
	h.ServeHTTP(discard{}, r)
}

type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

func TestLongBodiesAreRefused(t *testing.T) {
	socket, _ := serve(t, api.Config{Ledger: open(t)})
	_, err := dial(t, socket).Rework(t.Context(), "", "S", records.Relabel, strings.Repeat("x", 100<<10))
	var e *api.Error
	if !errors.As(err, &e) || e.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("Rework with a huge reason = %v, want status 413", err)
	}
}

func TestAStopAnswersWhoeverWaits(t *testing.T) {
	stopping := make(chan struct{})
	_, local := serve(t, api.Config{Ledger: open(t), Slots: []api.Slot{newSlot("1")}, Stopping: stopping})
	st, err := local.Status(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var g errgroup.Group
	g.Go(func() error {
		st, err := local.Status(t.Context(), st.Tag)
		if err == nil && !st.Stopping {
			err = errors.New("status of a stopping station doesn't say so")
		}
		return err
	})
	begun := time.Now()
	close(stopping)
	if err := g.Wait(); err != nil || time.Since(begun) > 10*time.Second {
		t.Errorf("Status = %v after %v", err, time.Since(begun))
	}
}

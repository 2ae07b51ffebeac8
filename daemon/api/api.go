// Package api is the one door to a station's ledger and slots: an HTTP handler
// that a running daemon serves on a Unix socket, and that a command calls in its
// own process when no daemon runs. Whichever way, the answers are the same.
//
// It promises:
//
//   - The caller is who the kernel says he is ([Actor]), never who he says.
//   - Every body is bounded. A file is read as it comes and never kept.
//   - No answer holds a credential. A scan is taken into locked memory and goes
//     to the slot that waits for it.
//   - An error that nobody foresaw tells the caller nothing but where to look.
package api

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"

	"mintmark/daemon/profile"
	"mintmark/hsm/secret"
	"mintmark/records"
	"mintmark/station"
)

// Bounds of bodies, in bytes.
const (
	maxBody    = 64 << 10
	maxFile    = 4 << 30
	maxScan    = 4 << 10
	maxSerials = 256 << 20 // five million serials
)

// A Slot is the part of [station.Slot] that can be seen and scanned for.
type Slot interface {
	Snapshot() (station.Snapshot, <-chan struct{})
	Scan(code *secret.Value) error
}

// Config is what the handler answers about.
type Config struct {
	Ledger *records.Ledger

	// Product returns the profile of a product, as its file says now.
	Product func(id string) (*profile.Profile, error)

	Slots []Slot
	About About

	// Stopping is closed when nobody should be kept waiting any more. Nil is fine.
	Stopping <-chan struct{}

	// Local says that the caller opened the ledger himself. He is told
	// everything, since there is no other log that would have it.
	Local bool

	Log *slog.Logger // nil means discard
}

// About says whose handler this is.
type About struct {
	Station     string `json:"station"`
	Authority   string `json:"authority"`
	Development bool   `json:"development,omitempty"` // keys for trying out, never for devices that are sold
	Version     string `json:"version"`
}

type server struct {
	cfg Config // not changed after Handler
}

// Handler returns the handler. The caller of each request must be in its
// context: see [WithActor].
func Handler(c Config) http.Handler {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{cfg: c}
	mux := http.NewServeMux()
	for pattern, h := range map[string]handler{
		"GET /v1/status":                   s.status,
		"GET /v1/batches":                  s.batches,
		"GET /v1/batches/{batch}":          s.batch,
		"POST /v1/batches/{batch}/check":   s.importer(records.ImportRequest{DryRun: true}),
		"POST /v1/batches/{batch}/import":  s.importer(records.ImportRequest{}),
		"POST /v1/batches/{batch}/replace": s.importer(records.ImportRequest{Replace: true}),
		"POST /v1/batches/{batch}/open":    s.openBatch,
		"POST /v1/batches/{batch}/hold":    s.holdBatch,
		"POST /v1/batches/{batch}/close":   s.closeBatch,
		"GET /v1/devices":                  s.devices,
		"GET /v1/devices/{serial}":         s.device,
		"POST /v1/devices/{serial}/rework": s.rework,
		"POST /v1/slots/{slot}/scan":       s.scan,
		"POST /v1/ledger/verify":           s.verify,
		"GET /v1/ledger/stats":             s.stats,
		"GET /v1/ledger/backup":            s.backup,
		"POST /v1/ledger/backup":           s.backupInto,
		"POST /v1/ledger/thaw":             s.thaw,
	} {
		mux.Handle(pattern, s.handle(h))
	}
	mux.Handle("/", s.handle(func(http.ResponseWriter, *http.Request) error {
		return &Error{Status: http.StatusNotFound, Text: "no such route"}
	}))
	return mux
}

// read takes a short JSON body into v, strictly.
func read(w http.ResponseWriter, r *http.Request, v any) error { return readUpTo(w, r, maxBody, v) }

func readUpTo(w http.ResponseWriter, r *http.Request, limit int64, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return err
		}
		return bad("request is no JSON of this route: %v", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return bad("request has something after its JSON")
	}
	return nil
}

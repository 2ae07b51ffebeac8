package api

import (
	"io"
	"net/http"
	"os"
	"path/filepath"

	"mintmark/records"
)

// thawRequest is the body of thaw.
type thawRequest struct {
	Product     string   `json:"product"`
	Provisioned []string `json:"provisioned"`
}

// Thawed is the answer of thaw.
type Thawed struct {
	Freed  int `json:"freed"`  // rows that wait again
	Burned int `json:"burned"` // rows of devices that have them already
}

func (s *server) verify(w http.ResponseWriter, r *http.Request) error {
	total := s.keys(r)
	st := s.stream(w, r)
	check, err := s.cfg.Ledger.Verify(r.Context(), func(done int64) { st.progress(done, total) })
	if err != nil {
		return st.end(nil, err)
	}
	return st.end(check, nil)
}

// keys is about how many keys the ledger has, for a progress bar; 0 if unknown.
func (s *server) keys(r *http.Request) int64 {
	stats, err := s.cfg.Ledger.Stats(r.Context())
	if err != nil {
		return 0
	}
	n := stats.Claims + int64(stats.Groups)
	for _, devices := range stats.Devices {
		n += int64(devices)
	}
	return n
}

func (s *server) stats(w http.ResponseWriter, r *http.Request) error {
	stats, err := s.cfg.Ledger.Stats(r.Context())
	if err != nil {
		return err
	}
	return reply(w, stats)
}

// trailer carries the outcome of a backup, which is known only after its last
// byte. The backup has a checksum of its own besides.
const trailer = "Mintmark-Outcome"

func (s *server) backup(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Trailer", trailer)
	out := &counter{w: w}
	if err := s.cfg.Ledger.Backup(r.Context(), out, nil); err != nil {
		if out.n == 0 {
			w.Header().Del("Trailer")
			return err
		}
		w.Header().Set(trailer, s.refusalOf(r, err).Text)
		return nil
	}
	w.Header().Set(trailer, "complete")
	return nil
}

// intoRequest is the body of a backup into a folder.
type intoRequest struct {
	Folder string `json:"folder"`
	Keep   int    `json:"keep,omitempty"` // 0: all
}

// backupInto has the ledger link its segments into a folder. It is done with the
// rights of this process, so not everybody may have it done.
func (s *server) backupInto(w http.ResponseWriter, r *http.Request) error {
	var req intoRequest
	if err := read(w, r, &req); err != nil {
		return err
	}
	if !filepath.IsAbs(req.Folder) || req.Keep < 0 {
		return bad("folder is %q and keep %d, want an absolute path, and 0 or more", req.Folder, req.Keep)
	}
	if a := ActorOf(r.Context()); a.UID != os.Geteuid() && a.UID != 0 && !a.Supervisor {
		return &Error{
			Status: http.StatusForbidden, Text: "a backup into a folder is for the user of the station, root and supervisors",
			Hint: "ask one of them, or make one file: mintmark ledger backup FILE",
		}
	}
	st := s.stream(w, r)
	b, err := s.cfg.Ledger.BackupInto(r.Context(), filepath.Clean(req.Folder), req.Keep, func(done int64) { st.progress(done, 0) })
	if b.File == "" {
		return st.end(nil, err)
	}
	s.cfg.Log.InfoContext(r.Context(), "ledger backed up", "file", b.File, "linked", b.Linked, "copied", b.Copied, "had", b.Had, "removed", b.Removed)
	return st.end(b, err)
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (s *server) thaw(w http.ResponseWriter, r *http.Request) error {
	var req thawRequest
	if err := readUpTo(w, r, maxSerials, &req); err != nil {
		return err
	}
	for i, serial := range req.Provisioned {
		if _, err := records.ParseSerial(serial); err != nil {
			return bad("provisioned serial %d: %v", i+1, err)
		}
	}
	freed, burned, err := s.cfg.Ledger.Thaw(r.Context(), req.Product, req.Provisioned, ActorOf(r.Context()))
	if err != nil {
		return err
	}
	s.cfg.Log.InfoContext(r.Context(), "rows freed", "product", req.Product, "freed", freed, "burned", burned)
	return reply(w, Thawed{freed, burned})
}

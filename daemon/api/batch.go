package api

import (
	"errors"
	"io"
	"net/http"

	"mintmark/records"
)

// openRequest is the body of open. Product may be empty for a batch that exists.
type openRequest struct {
	Product string `json:"product,omitempty"`
	Quota   int    `json:"quota,omitempty"`
	Trial   bool   `json:"trial,omitempty"`
}

func (s *server) batches(w http.ResponseWriter, r *http.Request) error {
	list, err := s.cfg.Ledger.Batches(r.Context())
	if err != nil {
		return err
	}
	if list == nil {
		list = []records.Batch{}
	}
	return reply(w, list)
}

func (s *server) batch(w http.ResponseWriter, r *http.Request) error {
	b, err := s.cfg.Ledger.Batch(r.Context(), r.PathValue("batch"))
	if err != nil {
		return named("batch", r.PathValue("batch"), err)
	}
	return reply(w, b)
}

// named says what was not found.
func named(what, name string, err error) error {
	if errors.Is(err, records.ErrNotFound) {
		return &Error{Status: http.StatusNotFound, Text: what + " " + name + " is not in the ledger"}
	}
	return err
}

// importer answers check, import and replace, which differ only in base.
func (s *server) importer(base records.ImportRequest) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		defer forget(w, r)
		q := r.URL.Query()
		name, err := records.ParseBatch(r.PathValue("batch"))
		if err != nil {
			return bad("%v", err)
		}
		p, err := s.cfg.Product(q.Get("product"))
		if err != nil {
			return err
		}
		req := base
		req.Product, req.Batch, req.Actor = p.Product(), name, ActorOf(r.Context())
		req.History = q.Get("history") == "true"
		st := s.stream(w, r)
		req.Progress = func(done int64) { st.progress(done, max(r.ContentLength, 0)) }
		a, err := s.cfg.Ledger.Import(r.Context(), req, &toItsEnd{
			Reader: http.MaxBytesReader(w, r.Body, maxFile), end: func() { st.phase(phaseAfterReading(req)) },
		})
		if err != nil && !errors.Is(err, records.ErrRejected) {
			return st.end(nil, err)
		}
		return st.end(a, err)
	}
}

// phaseAfterReading is what an import does when it has read the file.
func phaseAfterReading(r records.ImportRequest) string {
	if r.DryRun {
		return "looking for reuse"
	}
	return "looking for reuse, then writing"
}

// toItsEnd is a reader that calls end when it has been read to its end.
type toItsEnd struct {
	io.Reader
	end func()
}

func (r *toItsEnd) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if errors.Is(err, io.EOF) && r.end != nil {
		r.end()
		r.end = nil // a reader may be asked again
	}
	return n, err
}

func (s *server) openBatch(w http.ResponseWriter, r *http.Request) error {
	var req openRequest
	if err := read(w, r, &req); err != nil {
		return err
	}
	name, err := records.ParseBatch(r.PathValue("batch"))
	if err != nil {
		return bad("%v", err)
	}
	if req.Product == "" {
		b, err := s.cfg.Ledger.Batch(r.Context(), name)
		if errors.Is(err, records.ErrNotFound) {
			return bad("batch %s is not in the ledger, want its product and quota to make it", name)
		}
		if err != nil {
			return err
		}
		req.Product = b.Product
	}
	p, err := s.cfg.Product(req.Product)
	if err != nil {
		return err
	}
	b, err := s.cfg.Ledger.OpenBatch(r.Context(), records.OpenRequest{
		Product: p.Product(), Batch: name, Quota: req.Quota, Trial: req.Trial, Actor: ActorOf(r.Context()),
	})
	if err != nil {
		return err
	}
	s.cfg.Log.InfoContext(r.Context(), "batch opened", "batch", name, "by", b.By)
	return reply(w, b)
}

func (s *server) holdBatch(w http.ResponseWriter, r *http.Request) error {
	b, err := s.cfg.Ledger.HoldBatch(r.Context(), r.PathValue("batch"), "", ActorOf(r.Context()))
	if err != nil {
		return named("batch", r.PathValue("batch"), err)
	}
	s.cfg.Log.InfoContext(r.Context(), "batch held", "batch", b.Name)
	return reply(w, b)
}

func (s *server) closeBatch(w http.ResponseWriter, r *http.Request) error {
	b, err := s.cfg.Ledger.CloseBatch(r.Context(), r.PathValue("batch"), ActorOf(r.Context()))
	if err != nil {
		return named("batch", r.PathValue("batch"), err)
	}
	s.cfg.Log.InfoContext(r.Context(), "batch closed", "batch", b.Name, "state", b.State)
	return reply(w, b)
}

package api

import (
	"bytes"
	"io"
	"net/http"
	"slices"

	"mintmark/hsm/secret"
	"mintmark/records"
)

// reworkRequest is the body of rework.
type reworkRequest struct {
	Kind    records.ReworkKind `json:"kind"`
	Reason  string             `json:"reason"`
	Product string             `json:"product,omitempty"`
}

var reworkKinds = []records.ReworkKind{records.Relabel, records.Reprovision, records.BoardSwap, records.Refurbish}

// devices streams the devices of a batch, or all.
func (s *server) devices(w http.ResponseWriter, r *http.Request) error {
	batch := r.URL.Query().Get("batch")
	if batch != "" {
		if _, err := s.cfg.Ledger.Batch(r.Context(), batch); err != nil {
			return named("batch", batch, err)
		}
	}
	st := s.stream(w, r)
	return st.end(nil, s.cfg.Ledger.Devices(r.Context(), batch, st.device))
}

func (s *server) device(w http.ResponseWriter, r *http.Request) error {
	d, err := s.cfg.Ledger.Device(r.Context(), r.URL.Query().Get("product"), r.PathValue("serial"))
	if err != nil {
		return named("device", r.PathValue("serial"), err)
	}
	return reply(w, d)
}

func (s *server) rework(w http.ResponseWriter, r *http.Request) error {
	var req reworkRequest
	if err := read(w, r, &req); err != nil {
		return err
	}
	if !slices.Contains(reworkKinds, req.Kind) {
		return bad("rework is %q, want one of %v", req.Kind, reworkKinds)
	}
	if req.Reason == "" {
		return bad("rework has no reason, want one for the record")
	}
	order := records.Rework{Kind: req.Kind, Reason: req.Reason}
	d, err := s.cfg.Ledger.OrderRework(r.Context(), req.Product, r.PathValue("serial"), order, ActorOf(r.Context()))
	if err != nil {
		return named("device", r.PathValue("serial"), err)
	}
	s.cfg.Log.InfoContext(r.Context(), "rework ordered", "serial", d.Serial, "kind", req.Kind)
	return reply(w, d)
}

// scan hands what an operator scanned to the slot that waits for it.
func (s *server) scan(w http.ResponseWriter, r *http.Request) error {
	defer forget(w, r)
	i := slices.IndexFunc(s.cfg.Slots, func(slot Slot) bool {
		now, _ := slot.Snapshot()
		return now.Slot == r.PathValue("slot")
	})
	if i < 0 {
		return &Error{Status: http.StatusNotFound, Text: "no slot " + r.PathValue("slot") + " is running here",
			Hint: "scans are for the running daemon: start mintmark run"}
	}
	code, err := readSecret(http.MaxBytesReader(w, r.Body, maxScan))
	if err != nil {
		return err
	}
	if err := s.cfg.Slots[i].Scan(code); err != nil {
		return err
	}
	return reply(w, struct{}{})
}

// readSecret takes a body into locked memory without growing buffers on the way.
func readSecret(body io.Reader) (*secret.Value, error) {
	buf := make([]byte, maxScan)
	defer secret.Wipe(buf)
	n, err := io.ReadFull(body, buf)
	switch {
	case err == nil:
		return nil, bad("scan has more than %d bytes", maxScan-1)
	case err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, err
	}
	code := bytes.TrimRight(buf[:n], "\r\n")
	if len(code) == 0 {
		return nil, bad("scan is empty, want what the scanner read")
	}
	v := secret.New(len(code))
	copy(v.Bytes(), code)
	return v, nil
}

package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"mintmark/records"
)

// A line is one line of a streamed answer: progress now and then, perhaps items,
// then an answer or an error or both, and nothing after it.
type line struct {
	Progress *progress       `json:"progress,omitempty"`
	Device   *records.Device `json:"device,omitempty"`
	Answer   any             `json:"answer,omitempty"`
	Error    *Error          `json:"error,omitempty"`
	End      bool            `json:"end,omitempty"` // the last line: without it the answer is cut off
}

type progress struct {
	Done  int64  `json:"done"`
	Total int64  `json:"total,omitempty"` // 0: not known
	Phase string `json:"phase,omitempty"` // begins now, after all of Total
}

// A stream writes lines. Its status is 200 from the first line on, so an error
// is in the last one.
type stream struct {
	s *server
	w http.ResponseWriter
	r *http.Request

	mu   sync.Mutex // guards the fields below and the writing
	enc  *json.Encoder
	last time.Time // of progress
}

func (s *server) stream(w http.ResponseWriter, r *http.Request) *stream {
	// A body that is still coming in must not be cut off by the first line. Only
	// HTTP/1 servers need telling; others do it anyway, so an error is no news.
	_ = http.NewResponseController(w).EnableFullDuplex()
	w.Header().Set("Content-Type", "application/jsonl")
	return &stream{s: s, w: w, r: r, enc: json.NewEncoder(w)}
}

// progress tells the caller at most ten times a second.
func (st *stream) progress(done, total int64) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if now := time.Now(); now.Sub(st.last) >= 100*time.Millisecond {
		st.last = now
		st.send(line{Progress: &progress{Done: done, Total: total}})
	}
}

// phase tells the caller what is done now.
func (st *stream) phase(name string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.send(line{Progress: &progress{Phase: name}})
}

// device sends one item, and reports whether the caller still listens.
func (st *stream) device(d records.Device) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.enc.Encode(line{Device: &d}) == nil
}

// end sends answer, err or both.
func (st *stream) end(answer any, err error) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	last := line{Answer: answer, End: true}
	if err != nil {
		last.Error = st.s.refusalOf(st.r, err)
	}
	st.send(last)
	return nil
}

// send writes and flushes a line. A caller who is gone gets no more of them, and
// the work ends by his context.
func (st *stream) send(l line) {
	if err := st.enc.Encode(l); err == nil {
		_ = http.NewResponseController(st.w).Flush()
	}
}

// errCut is a streamed answer without its last line.
var errCut = errors.New("answer was cut off: what became of the request is in the ledger, look there")

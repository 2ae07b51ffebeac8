package api

import (
	"io"
	"net/http"
	"sync"

	"mintmark/records"
)

// NewLocal returns a client of h in this process, for a caller who opened the
// ledger himself. Close must be called before the ledger is closed.
func NewLocal(h http.Handler, by records.Actor) *Client {
	l := &local{h: h, by: by}
	return &Client{http: &http.Client{Transport: l}, close: l.wait}
}

// A local carries requests to a handler without a socket.
type local struct {
	h  http.Handler
	by records.Actor

	mu sync.Mutex     // held while a request begins, and while wait waits: a request that comes meanwhile begins after it
	wg sync.WaitGroup // the requests under way
}

// wait waits for the requests under way.
func (l *local) wait() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wg.Wait()
}

// begin runs f as a request under way.
func (l *local) begin(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wg.Go(f)
}

// RoundTrip runs the handler beside its caller, so that an answer can be read as
// it is written. The handler ends when the answer is read or closed, or when the
// request's context is done.
func (l *local) RoundTrip(r *http.Request) (*http.Response, error) {
	body, out := io.Pipe()
	w := &localWriter{header: http.Header{}, out: out, began: make(chan struct{})}
	req := r.Clone(WithActor(r.Context(), l.by))
	if req.Body == nil {
		req.Body = http.NoBody
	}
	resp := &http.Response{
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
		Body: body, Request: r, Trailer: http.Header{},
	}
	l.begin(func() {
		l.h.ServeHTTP(w, req)
		w.WriteHeader(http.StatusOK)
		if outcome := w.header.Get(trailer); outcome != "" {
			resp.Trailer.Set(trailer, outcome)
		}
		req.Body.Close()
		out.Close()
	})
	<-w.began
	resp.StatusCode, resp.Status, resp.Header = w.status, http.StatusText(w.status), w.sent
	return resp, nil
}

// A localWriter is the handler's side of an answer.
type localWriter struct {
	header http.Header // the handler's
	sent   http.Header // as it was when the answer began
	status int
	out    *io.PipeWriter
	began  chan struct{} // closed when sent and status are set
	once   sync.Once
}

func (w *localWriter) Header() http.Header { return w.header }

func (w *localWriter) WriteHeader(status int) {
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.began)
	})
}

func (w *localWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.out.Write(p)
}

// Flush has nothing to do: a pipe keeps nothing back.
func (w *localWriter) Flush() {}

package api

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"mintmark/daemon/profile"
	"mintmark/records"
)

// TestForgetWipesWhatAConnectionBuffered looks at the buffer of net/http itself,
// before and after, and wants the connection to work on.
func TestForgetWipesWhatAConnectionBuffered(t *testing.T) {
	const planted = "CDFHJKMPQRTVWXY"
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	var before, after bool
	srv := &http.Server{ConnContext: remember, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		buf := r.Context().Value(bufferKey{}).(*buffered).buf
		before = bytes.Contains(buf, []byte(planted))
		forget(w, r)
		after = bytes.Contains(buf, []byte(planted))
	})}
	var g errgroup.Group
	g.Go(func() error { return srv.Serve(forgetful{l}) })
	defer g.Wait()
	defer srv.Close()

	conns := 0
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		conns++
		var d net.Dialer
		return d.DialContext(ctx, "unix", l.Addr().String())
	}}}
	defer c.CloseIdleConnections()
	for range 3 {
		before, after = false, false
		resp, err := c.Post("http://x/", "", strings.NewReader(planted))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if !before || after {
			t.Errorf("the buffer held the body before: %v, after: %v, want true, false", before, after)
		}
	}
	if conns != 1 {
		t.Errorf("three requests took %d connections, want one that works on", conns)
	}
}

// A sender learns why he was refused, although nobody read what he sends.
func TestARefusalReachesAWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	h := Handler(Config{Product: func(string) (*profile.Profile, error) { return nil, &records.Refusal{Text: "no such product"} }})
	ctx, stop := context.WithCancel(t.Context())
	var g errgroup.Group
	g.Go(func() error { return Serve(ctx, l, h, Roles{}, slog.New(slog.DiscardHandler)) })
	defer g.Wait()
	defer stop()
	c, err := Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("SN1,CDFHJKMPQRTVWXY\n", 1_000_000)
	for _, size := range []int64{0, int64(len(text))} {
		_, err := c.Import(t.Context(), Import{Batch: "B", Product: "x", Action: "import", File: strings.NewReader(text), Size: size}, nil)
		if err == nil || err.Error() != "no such product" {
			t.Errorf("Import of a file of size %d = %v, want why it was refused", size, err)
		}
	}
}

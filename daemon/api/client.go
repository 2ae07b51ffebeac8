package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"mintmark/records"
)

// A Client asks a handler, over the daemon's socket or in its own process. What
// a handler refuses comes back as an *Error.
type Client struct {
	http  *http.Client
	close func()
}

// Close waits for requests under way in this process.
func (c *Client) Close() {
	if c.close != nil {
		c.close()
	}
}

// A Progress is told how much is done of how much, where a total of 0 means that
// nobody knows; or else the phase that begins when there is nothing left to count.
type Progress func(done, total int64, phase string)

// An Import is a file of credentials for a batch.
type Import struct {
	Batch   string
	Product string
	Action  string // check, import or replace
	History bool
	File    io.Reader
	Size    int64 // 0 if unknown
}

// Import sends a file and returns what became of it. A rejection is both an
// answer and an error.
func (c *Client) Import(ctx context.Context, i Import, p Progress) (records.Admission, error) {
	q := url.Values{"product": {i.Product}}
	if i.History {
		q.Set("history", "true")
	}
	r, err := c.request(ctx, "POST", path("batches", i.Batch, i.Action)+"?"+q.Encode(), i.File)
	if err != nil {
		return records.Admission{}, err
	}
	r.ContentLength = -1
	if i.Size > 0 {
		r.ContentLength = i.Size
	}
	var a records.Admission
	err = c.stream(r, receiver{progress: p, answer: &a})
	return a, err
}

// OpenBatch opens a batch, or makes a generated one.
func (c *Client) OpenBatch(ctx context.Context, name, product string, quota int, trial bool) (records.Batch, error) {
	return ask[records.Batch](ctx, c, "POST", path("batches", name, "open"), openRequest{product, quota, trial})
}

// HoldBatch stops new devices of a batch.
func (c *Client) HoldBatch(ctx context.Context, name string) (records.Batch, error) {
	return ask[records.Batch](ctx, c, "POST", path("batches", name, "hold"), nil)
}

// CloseBatch ends a batch.
func (c *Client) CloseBatch(ctx context.Context, name string) (records.Batch, error) {
	return ask[records.Batch](ctx, c, "POST", path("batches", name, "close"), nil)
}

// Batch returns one batch.
func (c *Client) Batch(ctx context.Context, name string) (records.Batch, error) {
	return ask[records.Batch](ctx, c, "GET", path("batches", name), nil)
}

// Batches returns all batches, oldest first.
func (c *Client) Batches(ctx context.Context) ([]records.Batch, error) {
	return ask[[]records.Batch](ctx, c, "GET", path("batches"), nil)
}

// Device returns one device's record; product may be empty.
func (c *Client) Device(ctx context.Context, product, serial string) (records.Device, error) {
	return ask[records.Device](ctx, c, "GET", path("devices", serial)+"?"+url.Values{"product": {product}}.Encode(), nil)
}

// Devices calls f for each device of a batch, or of all, until f fails.
func (c *Client) Devices(ctx context.Context, batch string, f func(records.Device) error) error {
	r, err := c.request(ctx, "GET", path("devices")+"?"+url.Values{"batch": {batch}}.Encode(), nil)
	if err != nil {
		return err
	}
	return c.stream(r, receiver{device: f})
}

// Rework orders rework of a device.
func (c *Client) Rework(ctx context.Context, product, serial string, kind records.ReworkKind, reason string) (records.Device, error) {
	return ask[records.Device](ctx, c, "POST", path("devices", serial, "rework"), reworkRequest{kind, reason, product})
}

// Scan hands what an operator scanned to the slot that waits for it.
func (c *Client) Scan(ctx context.Context, slot string, code io.Reader) error {
	r, err := c.request(ctx, "POST", path("slots", slot, "scan"), code)
	if err != nil {
		return err
	}
	return c.do(r, &struct{}{})
}

// Verify reads the whole ledger.
func (c *Client) Verify(ctx context.Context, p Progress) (records.Check, error) {
	r, err := c.request(ctx, "POST", path("ledger", "verify"), nil)
	if err != nil {
		return records.Check{}, err
	}
	var check records.Check
	err = c.stream(r, receiver{progress: p, answer: &check})
	return check, err
}

// Stats counts the ledger.
func (c *Client) Stats(ctx context.Context) (records.Stats, error) {
	return ask[records.Stats](ctx, c, "GET", path("ledger", "stats"), nil)
}

// Thaw frees frozen rows, but for those of the serials that were provisioned.
func (c *Client) Thaw(ctx context.Context, product string, provisioned []string) (Thawed, error) {
	return ask[Thawed](ctx, c, "POST", path("ledger", "thaw"), thawRequest{product, provisioned})
}

// Backup writes a backup to w. It is complete only if the error is nil.
func (c *Client) Backup(ctx context.Context, w io.Writer) error {
	r, err := c.request(ctx, "GET", path("ledger", "backup"), nil)
	if err != nil {
		return err
	}
	resp, err := c.send(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	switch outcome := resp.Trailer.Get(trailer); outcome {
	case "complete":
		return nil
	case "":
		return errCut
	default:
		return &Error{Status: http.StatusInternalServerError, Text: outcome}
	}
}

// BackupInto adds a backup to a folder, whose path is absolute. An error beside a
// backup that has a file is about older ones. Keep 0 keeps them all.
func (c *Client) BackupInto(ctx context.Context, folder string, keep int, p Progress) (b records.Backup, err error) {
	body, err := json.Marshal(intoRequest{folder, keep})
	if err != nil {
		return b, err
	}
	r, err := c.request(ctx, "POST", path("ledger", "backup"), bytes.NewReader(body))
	if err != nil {
		return b, err
	}
	err = c.stream(r, receiver{progress: p, answer: &b})
	return b, err
}

// Status returns what is to be seen of the station; with the tag of an earlier
// one it waits for a change, though not for ever.
func (c *Client) Status(ctx context.Context, after string) (Status, error) {
	return ask[Status](ctx, c, "GET", path("status")+"?"+url.Values{"after": {after}}.Encode(), nil)
}

// path makes a path of one segment each, whatever characters they hold.
func path(segments ...string) string {
	p := "/v1"
	for _, s := range segments {
		p += "/" + url.PathEscape(s)
	}
	return p
}

func (c *Client) request(ctx context.Context, method, path string, body io.Reader) (*http.Request, error) {
	return http.NewRequestWithContext(ctx, method, "http://mintmark"+path, body)
}

// ask sends in as JSON and returns the answer.
func ask[T any](ctx context.Context, c *Client, method, path string, in any) (answer T, err error) {
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return answer, err
		}
		body = bytes.NewReader(data)
	}
	r, err := c.request(ctx, method, path, body)
	if err != nil {
		return answer, err
	}
	err = c.do(r, &answer)
	return answer, err
}

func (c *Client) do(r *http.Request, out any) error {
	resp, err := c.send(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	return nil
}

// send returns an answer that is none but 200.
func (c *Client) send(r *http.Request) (*http.Response, error) {
	resp, err := c.http.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address says nothing to anybody
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	e := &Error{Status: resp.StatusCode}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(e); err != nil || e.Text == "" {
		e.Text = "daemon answers " + strconv.Itoa(resp.StatusCode)
	}
	return nil, e
}

// A receiver says where the parts of a streamed answer go.
type receiver struct {
	progress Progress
	device   func(records.Device) error
	answer   any
}

func (c *Client) stream(r *http.Request, to receiver) error {
	resp, err := c.send(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		l := line{Answer: to.answer}
		if err := lines.Decode(&l); err != nil {
			if ctxErr := r.Context().Err(); ctxErr != nil {
				return ctxErr
			}
			return errCut
		}
		if l.End {
			if l.Error != nil {
				return l.Error
			}
			return nil
		}
		if err := to.take(l); err != nil {
			return err
		}
	}
}

func (to receiver) take(l line) error {
	switch {
	case l.Progress != nil && to.progress != nil:
		to.progress(l.Progress.Done, l.Progress.Total, l.Progress.Phase)
	case l.Device != nil && to.device != nil:
		return to.device(*l.Device)
	}
	return nil
}

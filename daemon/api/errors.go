package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"mintmark/daemon/profile"
	"mintmark/records"
	"mintmark/station"
)

// An Error is what a client gets in place of an answer.
type Error struct {
	Status int    `json:"status"`
	Text   string `json:"error"`
	Hint   string `json:"hint,omitempty"`
}

func (e *Error) Error() string { return e.Text }

// bad refuses a request that could not have been meant.
func bad(format string, args ...any) error {
	return &Error{Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...)}
}

// errInternal is all that a caller learns of an error that nobody foresaw: he
// can't act on more, and it may name what isn't his business.
const errInternal = "internal error, see the station log"

// statusOf is the one place that turns a domain error into an HTTP status. 500
// means that nobody foresaw it.
func statusOf(err error) int {
	var e *Error
	var tooLarge *http.MaxBytesError
	var mistakes profile.Mistakes
	switch {
	case errors.As(err, &e):
		return e.Status
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, records.ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, records.ErrLimited):
		return http.StatusTooManyRequests
	case errors.Is(err, records.ErrReused), errors.Is(err, records.ErrRejected), errors.Is(err, records.ErrRefused),
		errors.Is(err, station.ErrNotWaiting):
		return http.StatusConflict
	case errors.As(err, &mistakes):
		return http.StatusUnprocessableEntity
	case errors.Is(err, records.ErrDiskFull):
		return http.StatusInsufficientStorage
	case errors.Is(err, records.ErrClock), errors.Is(err, records.ErrBroken):
		return http.StatusServiceUnavailable
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusRequestTimeout
	default:
		return http.StatusInternalServerError
	}
}

// hintOf is the remedy, where there is one.
func hintOf(err error) string {
	var e *Error
	var refusal *records.Refusal
	switch {
	case errors.As(err, &e):
		return e.Hint
	case errors.As(err, &refusal):
		return refusal.Hint
	case errors.Is(err, records.ErrLimited):
		return "wait, or have limits.checks_per_hour raised in station.toml"
	case errors.Is(err, records.ErrDiskFull):
		return "free space on the disk of the ledger, then try again"
	case errors.Is(err, records.ErrClock):
		return "set the clock of this station right, then try again"
	case errors.Is(err, records.ErrBroken):
		return "restart the daemon; it looks what is on disk"
	}
	return ""
}

// refusalOf is what the caller is told of err. Only the unexpected is logged,
// and then its text stays inside.
func (s *server) refusalOf(r *http.Request, err error) *Error {
	e := &Error{Status: statusOf(err), Text: err.Error(), Hint: hintOf(err)}
	if e.Status == http.StatusInternalServerError && !s.cfg.Local {
		s.cfg.Log.LogAttrs(r.Context(), slog.LevelError, "request failed", slog.String("route", r.Pattern), slog.Any("err", err))
		e.Text = errInternal
	}
	return e
}

// A handler answers one route, or returns why it can't.
type handler func(w http.ResponseWriter, r *http.Request) error

// handle adapts h to net/http. It is the only place where an error becomes an
// answer, but for errors in the middle of a stream.
func (s *server) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		e := s.refusalOf(r, err)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(e.Status)
		json.NewEncoder(w).Encode(e) // the caller is gone if this fails
	})
}

// reply answers with v as JSON.
func reply(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(v)
}

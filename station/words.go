package station

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"mintmark/hsm/secret"
	"mintmark/records"
	"mintmark/station/label"
)

// ledger makes one call of the ledger. A broken one stops the line: we don't know
// what is on disk. Anything else, a refusal, an authority that is away or a row
// that is damaged, is the fate of this device, and nothing was changed.
func (s *Slot) ledger(call string, f func() error) error {
	if s.around != nil {
		f = s.around(call, f)
	}
	err := f()
	if errors.Is(err, records.ErrBroken) {
		return fmt.Errorf("%w: %w", ErrStop, err)
	}
	return err
}

// remedyOf says what the operator can do about err. It is the one function that
// maps errors to that.
func remedyOf(err error) string {
	var fault *Fault
	var trouble *label.Trouble
	var refusal *records.Refusal
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrStop) && !(errors.As(err, &fault) && errors.Is(fault, ErrStop)):
		return "set the device aside and start the station again, then put it in again"
	case errors.As(err, &fault) && fault.Remedy != "":
		return fault.Remedy
	case errors.As(err, &trouble):
		return trouble.Remedy
	case errors.As(err, &refusal) && refusal.Hint != "":
		return refusal.Hint
	case errors.Is(err, ErrAccepted):
		return "set the device aside for quality: others know how to log in"
	case errors.Is(err, records.ErrDiskFull):
		return "call a technician: the disk is nearly full"
	case errors.Is(err, records.ErrClock):
		return "call a technician: the station's clock is wrong"
	case errors.Is(err, records.ErrLimited):
		return "wait, or call quality: too many labels were checked"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "check cable and power, then put the device in again"
	}
	return "put the device in again; if it fails again, set it aside and call a technician"
}

// maxText bounds what a device can make us show and record.
const maxText = 400

// redact is err's text for the screen, the record and the log. Drivers keep
// secrets out of their errors; a device that echoes one into something that a
// driver quotes must not undo that.
func (j *job) redact(err error) string {
	if err == nil {
		return ""
	}
	text := []byte(printable(err.Error(), 10*maxText))
	for _, m := range []map[string]*secret.Value{j.vars.Secret, j.before} {
		for _, v := range m {
			if v.Len() > 0 {
				text = bytes.ReplaceAll(text, v.Bytes(), []byte("[secret]"))
			}
		}
	}
	return printable(string(text), maxText)
}

// A redactedError shows a redacted text of an error that others act on.
type redactedError struct {
	text string
	err  error
}

func (e *redactedError) Error() string { return e.text }

func (e *redactedError) Unwrap() error { return e.err }

// printable keeps at most limit characters of s and replaces those that could
// play tricks on a terminal.
func printable(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, strings.ReplaceAll(s, "\n", "; "))
	if len(s) > limit {
		return s[:limit-3] + "..."
	}
	return s
}

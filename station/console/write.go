package console

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"mintmark/hsm/secret"
)

// put writes b to the port at the pace of the settings, until ctx ends.
func (s *session) put(ctx context.Context, b []byte) error {
	if err := s.in.revive(); err != nil {
		return err
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		s.in.stall()
	})
	err := s.pace(ctx, b)
	if !stop() {
		<-stopped
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (s *session) pace(ctx context.Context, b []byte) error {
	if s.charDelay == 0 {
		return s.write(b)
	}
	for i := range b {
		if err := s.write(b[i : i+1]); err != nil {
			return err
		}
		if err := pause(ctx, s.charDelay); err != nil {
			return err
		}
	}
	return nil
}

func (s *session) write(b []byte) error {
	n, err := s.in.port.Write(b)
	if err == nil && n < len(b) {
		return io.ErrShortWrite
	}
	return err
}

// A line is what is about to be typed. It lives in secret memory.
type line struct {
	v      *secret.Value
	n      int
	secret bool   // it holds a secret
	shown  string // for transcripts
}

// close wipes the line.
func (l *line) close() { l.v.Close() }

// literal adds text of ours. Room for it was counted in compose.
func (l *line) literal(text string) {
	if copy(l.v.Bytes()[l.n:], text) < len(text) {
		panic("console: internal error: a line is longer than was counted")
	}
	l.n += len(text)
}

// compose puts together before, the values of t and after. With d the values
// are quoted for it, without they stay as they are. Whatever the device couldn't
// take is refused here, before a byte is sent.
func (s *session) compose(before string, t template, after string, d Dialect) (*line, error) {
	values, err := s.values(t)
	if err != nil {
		return nil, err
	}
	room := len(before) + len(after)
	for i, p := range t.parts {
		room += len(p.text) + widest*len(values[i]) + framing
	}
	l := &line{v: secret.New(room), shown: t.shown}
	l.literal(before)
	for i, p := range t.parts {
		l.secret = l.secret || p.secret || s.isSecret(p.name)
		if p.name == "" {
			l.literal(p.text)
			continue
		}
		if err := l.value(p.name, values[i], d); err != nil {
			l.close()
			return nil, err
		}
	}
	l.literal(after)
	return l, nil
}

// typed composes a line that is going to be typed: it must fit.
func (s *session) typed(before string, t template, after string, d Dialect) (*line, error) {
	l, err := s.compose(before, t, after, d)
	if err == nil && l.n > s.lineLimit {
		l.close()
		f := refused("line is longer than the %d characters of line_limit", s.lineLimit)
		f.hint = "call a technician: line_limit in the profile must be what the device takes"
		return nil, f
	}
	return l, err
}

func (l *line) value(name string, v []byte, d Dialect) error {
	room := l.v.Bytes()
	dst, ok := room[l.n:l.n], typeable(v)
	if d == "" && ok {
		dst = append(dst, v...)
	} else if ok {
		dst, ok = d.quote(dst, v)
	}
	if !ok {
		f := refused("{%s} has a character that the device's console can't take", name)
		f.hint = "call a technician: the credential's alphabet and the driver's dialect don't go together"
		return f
	}
	l.n += len(dst)
	return nil
}

// values returns the value of each named part of t. It refuses what isn't there.
func (s *session) values(t template) ([][]byte, error) {
	values := make([][]byte, len(t.parts))
	for i, p := range t.parts {
		if p.name == "" {
			continue
		}
		v, ok := s.value(p.name)
		if !ok {
			return nil, refused("there is no {%s} in this phase", p.name)
		}
		values[i] = v
	}
	return values, nil
}

// value looks a name up. The view of a secret must not be kept.
func (s *session) value(name string) ([]byte, bool) {
	if v := s.vars.Secret[name]; v != nil {
		return v.Bytes(), true
	}
	if v, ok := s.facts[name]; ok {
		return []byte(v), true
	}
	v, ok := s.vars.Plain[name]
	return []byte(v), ok
}

// isSecret says whether a value must not be shown. The name of a user that is
// tried is none.
func (s *session) isSecret(name string) bool {
	return s.vars.Secret[name] != nil && !strings.HasSuffix(name, ".user")
}

// send types a line. What arrived before is dropped: it can't be the answer.
func (s *session) send(ctx context.Context, l *line, newline bool) error {
	s.discard()
	s.hushed = s.hushed || l.secret
	s.transcribe(ctx, "console sent", "text", l.shown)
	b := l.v.Bytes()[:l.n]
	if err := s.put(ctx, b); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if !newline {
		return nil
	}
	return s.enter(ctx)
}

// enter types a newline.
func (s *session) enter(ctx context.Context) error {
	if err := s.put(ctx, []byte(s.newline)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return pause(ctx, s.lineDelay)
}

// key presses a key.
func (s *session) key(ctx context.Context, key string) error {
	c, _ := controlKey(key)
	s.discard()
	s.transcribe(ctx, "console sent", "key", key)
	if key == "enter" {
		return s.enter(ctx)
	}
	if err := s.put(ctx, []byte{c}); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// say types a line without placeholders.
func (s *session) say(ctx context.Context, text string) error {
	l, err := s.typed("", template{shown: text, parts: []part{{text: text}}}, "", "")
	if err != nil {
		return err
	}
	defer l.close()
	return s.send(ctx, l, true)
}

// mentions says whether a step names a secret, to send it or to compare with it.
func (s *session) mentions(st *step) bool {
	texts := []template{st.text, st.equal, st.absent}
	for _, l := range st.logins {
		texts = append(texts, l.user, l.password)
	}
	for _, t := range texts {
		for _, p := range t.parts {
			if p.secret || s.isSecret(p.name) {
				return true
			}
		}
	}
	return false
}

// leaks says whether text holds a secret of this phase, also across line breaks
// that the device put in.
func (s *session) leaks(text []byte) bool {
	joined := bytes.ReplaceAll(text, []byte("\n"), nil)
	defer secret.Wipe(joined)
	for name, v := range s.vars.Secret {
		if s.isSecret(name) && v.Len() >= 4 && (bytes.Contains(text, v.Bytes()) || bytes.Contains(joined, v.Bytes())) {
			return true
		}
	}
	return false
}

// transcribe notes what happened in the debug log.
func (s *session) transcribe(ctx context.Context, msg string, args ...any) {
	s.log.DebugContext(ctx, msg, append([]any{"phase", string(s.phase)}, args...)...)
}

// lost says whether err means that the port is gone.
func lost(err error) bool {
	var f *failure
	return err != nil && !errors.As(err, &f) && !errors.Is(err, errIdle) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

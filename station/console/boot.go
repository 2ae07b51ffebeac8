package console

import (
	"context"
	"errors"
	"time"
)

// probeEvery is how long a boot loader gets to answer whether its prompt is one.
const probeEvery = time.Second

// boot interrupts a boot and reaches the prompt. A board that is at its prompt
// already is asked at once: nothing is lost if it is still silent because it has
// only just got power, since a newline interrupts the boot as well.
func (s *session) boot(ctx context.Context, st *step) error {
	m := newMarker()
	w := s.watch(st.fail, s.autoboot, m.pattern("b"), s.prompt)
	idle := s.settle
	var probed time.Time
	for {
		hit, err := w.next(ctx, idle)
		switch {
		case errors.Is(err, errIdle):
			idle = s.nudge
			err = s.enter(ctx)
		case err != nil:
		case hit == 0:
			return failed(st)
		case hit == 1:
			s.transcribe(ctx, "console sent", "text", "interrupt")
			err = s.put(ctx, []byte(s.interrupt))
		case hit == 2 || !s.dialect.hasMarkers():
			s.hushed = false
			return nil
		case time.Since(probed) > probeEvery:
			probed = time.Now()
			err = s.probe(ctx, m)
		}
		if err != nil {
			return err
		}
	}
}

// probe asks for the marker, after dropping what may be half typed. Boot messages
// can look like a prompt; only a prompt answers.
func (s *session) probe(ctx context.Context, m marker) error {
	if err := s.put(ctx, []byte{0x03}); err != nil {
		return err
	}
	if err := pause(ctx, s.settle); err != nil {
		return err
	}
	before, _ := s.dialect.frame(m, s.newline)
	return s.put(ctx, []byte(before+s.newline))
}

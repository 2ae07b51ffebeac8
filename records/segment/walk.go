package segment

import "context"

// Walk calls f with each index that some segments claim, as two big-endian
// numbers, in ascending order, from lo on and below hi; the zero hi means that
// there is no such limit. One that is claimed twice comes twice.
func Walk(ctx context.Context, in []*Segment, lo, hi [16]byte, f func(hi, lo uint64)) error {
	if len(in) == 0 {
		return nil
	}
	t := newTournament(len(in))
	for i, s := range in {
		c := s.Cursor(lo, hi)
		defer c.Close()
		t.players[i] = player{cursor: c, segment: s}
		t.players[i].next()
	}
	t.begin()
	for n := 0; !t.players[t.winner].done; n++ {
		p := &t.players[t.winner]
		f(p.hi, p.lo)
		p.next()
		t.replay(t.winner)
		if n%perBlock == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	for i := range t.players {
		if err := t.players[i].cursor.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Each calls f with the bytes of the file, part after part. Part is valid during
// the call only.
func (s *Segment) Each(f func(part []byte) error) error {
	size, err := s.size()
	if err != nil {
		return err
	}
	buf := make([]byte, chunkSize)
	for at := int64(0); at < size; {
		part := buf[:min(int64(len(buf)), size-at)]
		if err := s.read(part, at); err != nil {
			return s.damage("file", err)
		}
		if err := f(part); err != nil {
			return err
		}
		at += int64(len(part))
	}
	return nil
}

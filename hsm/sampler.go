package hsm

import (
	"context"
	"math/bits"

	"mintmark/hsm/secret"
)

// tries bounds what a broken source can cost. A working one needs the second
// draw in one of 70 (15 characters of strict20), so 64 in a row means broken.
const tries = 64

// A sampler maps random bytes to characters. It takes as many low bits as the
// alphabet needs and rejects numbers that are too large, so that every character
// is equally likely; c % n would prefer the first ones.
type sampler struct {
	random Random
	block  int // bytes per request: an authority may be a network away
	bytes  *secret.Value
	used   int
}

// fill overwrites dst with characters of chars.
func (s *sampler) fill(ctx context.Context, dst []byte, chars string) error {
	mask := byte(1)<<bits.Len(uint(len(chars)-1)) - 1
	rejected := 0
	for i := 0; i < len(dst); {
		b, err := s.next(ctx)
		if err != nil {
			return err
		}
		if k := int(b & mask); k < len(chars) {
			dst[i] = chars[k]
			i++
		} else if rejected++; rejected > tries*(len(dst)+1) {
			return ErrStuck // half of the numbers at least are accepted
		}
	}
	return nil
}

func (s *sampler) next(ctx context.Context) (byte, error) {
	if s.bytes == nil || s.used == s.bytes.Len() {
		s.close()
		b, err := s.random.Random(ctx, s.block)
		if err != nil {
			return 0, err
		}
		s.bytes, s.used = b, 0
	}
	b := s.bytes.Bytes()[s.used]
	s.used++
	return b, nil
}

func (s *sampler) close() {
	s.bytes.Close()
	s.bytes = nil
}

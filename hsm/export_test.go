package hsm

import (
	"context"

	"mintmark/hsm/secret"
)

// DrawUnchecked draws below the floors too.
func (g Generator) DrawUnchecked(ctx context.Context, r Random) (*secret.Value, error) {
	return g.draw(ctx, r)
}

// Fill overwrites dst with characters of chars.
func Fill(ctx context.Context, r Random, block int, dst []byte, chars string) error {
	s := &sampler{random: r, block: block}
	defer s.close()
	return s.fill(ctx, dst, chars)
}

// CharsOf returns the characters of an alphabet.
func CharsOf(name string) string { return charsOf(name) }

// SHA512CryptWith and YescryptWith take salt and rounds instead of drawing them.
var (
	SHA512CryptWith = sha512CryptWith
	YescryptWith    = yesCryptWith
)

// The cut-offs of Health.
const (
	MaxRepeats = maxRepeats
	MaxShare   = maxShare
)

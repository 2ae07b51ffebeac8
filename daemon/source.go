package daemon

import (
	"context"
	"fmt"

	"mintmark/daemon/profile"
	"mintmark/hsm"
	"mintmark/hsm/secret"
)

// An authority gives randomness and a name.
type authority interface {
	hsm.Random
	ID() string
}

// A source draws the credentials of one product from an authority.
type source struct {
	profile   *profile.Profile
	authority authority
}

// Draw makes a fresh value as the profile says.
func (s source) Draw(ctx context.Context, credential string) (*secret.Value, error) {
	g, ok := s.profile.Generator(credential)
	if !ok {
		panic(fmt.Sprintf("daemon: internal error: credential %q can't be drawn", credential))
	}
	return g.Draw(ctx, s.authority)
}

// Verifier derives what the device stores in place of v; nil where it stores v.
func (s source) Verifier(ctx context.Context, credential string, v *secret.Value) (*secret.Value, error) {
	c, ok := s.profile.Credential(credential)
	if !ok || c.Verifier == "" {
		return nil, nil
	}
	return hsm.Verifier(ctx, c.Verifier, v, s.authority)
}

// ID names the authority for the record.
func (s source) ID() string { return s.authority.ID() }

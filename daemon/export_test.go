package daemon

import (
	"context"

	"mintmark/daemon/profile"
	"mintmark/hsm/soft"
	"mintmark/station"
)

// SourceOf is what a slot draws its credentials from.
func SourceOf(p *profile.Profile, a *soft.Authority) station.Source { return source{p, a} }

// PowerOf is what a slot switches its power with.
func PowerOf(argv []string) func(context.Context, bool) error { return power(argv) }

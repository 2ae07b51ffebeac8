package daemon

import (
	"context"
	"encoding/binary"
	"fmt"

	"mintmark/daemon/profile"
	"mintmark/hsm"
	"mintmark/hsm/secret"
	"mintmark/records"
)

// An authority gives randomness, keyed digests and a name.
type authority interface {
	hsm.Random
	records.Keys
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
// Its salt is a keyed digest of v, so that a device seen again can be asked for
// the same verifier, and so that nobody without the key learns anything from it.
func (s source) Verifier(ctx context.Context, credential string, v *secret.Value) (*secret.Value, error) {
	c, ok := s.profile.Credential(credential)
	if !ok || c.Verifier == "" {
		return nil, nil
	}
	return hsm.Verifier(ctx, c.Verifier, v, &salt{keys: s.authority, credential: credential, value: v})
}

// A salt gives bytes that are the same each time for the same value. It is for
// one verifier.
type salt struct {
	keys       records.Keys
	credential string
	value      *secret.Value
	blocks     uint32
}

// Random implements [hsm.Random].
func (s *salt) Random(ctx context.Context, n int) (*secret.Value, error) {
	out := secret.New(n)
	for rest := out.Bytes(); len(rest) > 0; {
		block, err := s.block(ctx)
		if err != nil {
			out.Close()
			return nil, err
		}
		rest = rest[copy(rest, block[:]):]
	}
	return out, nil
}

// block is the keyed digest of the next message: as for an index, each part has
// its length before it, and the domain is a salt's own. The oldest key version
// makes it, because that one stays.
func (s *salt) block(ctx context.Context) ([32]byte, error) {
	s.blocks++
	var parts [][]byte
	for _, p := range [][]byte{
		[]byte("mintmark/salt"), binary.BigEndian.AppendUint32(nil, s.blocks), []byte(s.credential), s.value.Bytes(),
	} {
		parts = append(parts, binary.BigEndian.AppendUint32(nil, uint32(len(p))), p)
	}
	msg := secret.Join(parts...)
	defer msg.Close()
	var out [1][32]byte
	err := s.keys.Sum(ctx, s.keys.Versions()[0], [][]byte{msg.Bytes()}, out[:])
	return out[0], err
}

// ID names the authority for the record.
func (s source) ID() string { return s.authority.ID() }

package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-crypt/x/crypt"
	"github.com/go-crypt/x/yescrypt"

	"mintmark/hsm/secret"
)

// The schemes of crypt(3) that a profile may name. A device that stores a
// verifier never sees its secret at rest (R-LED-02).
const (
	SHA512Crypt = "sha512-crypt" // $6$: every Linux, also busybox
	Yescrypt    = "yescrypt"     // $y$: libxcrypt, 16 MiB on the device for each login
)

const (
	// crypt64 is the alphabet of crypt(3), in its order.
	crypt64 = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

	// rounds is what crypt(3) takes if nothing is said; we say it, because
	// it is evidence. More would cost a small device seconds at each login, and a
	// value of 64 bits gains nothing from them.
	rounds = 5000

	// cost is libxcrypt's default: N = 4096, r = 32, p = 1.
	cost = "$y$j9T$"

	saltBytes = 16
	maxValue  = 256 // bytes; libxcrypt takes 512, the index 256
)

// Schemes lists them for messages and help.
func Schemes() []string { return []string{SHA512Crypt, Yescrypt} }

// Verifier computes what the device stores in place of the value, under a fresh
// salt. The caller closes it; value stays the caller's.
func Verifier(ctx context.Context, scheme string, value *secret.Value, r Random) (*secret.Value, error) {
	if err := checkVerifiable(value.Bytes()); err != nil {
		return nil, err
	}
	switch scheme {
	case SHA512Crypt:
		return sha512Crypt(ctx, value, r)
	case Yescrypt:
		return yesCrypt(ctx, value, r)
	}
	return nil, fmt.Errorf("verifier %q is unknown, want %s", scheme, strings.Join(Schemes(), " or "))
}

// checkVerifiable refuses what crypt(3) on the device would read differently.
func checkVerifiable(value []byte) error {
	switch {
	case len(value) == 0 || len(value) > maxValue:
		return fmt.Errorf("value has %d bytes, want 1 to %d to make a verifier", len(value), maxValue)
	case bytes.IndexByte(value, 0) >= 0:
		return errors.New("value has a zero byte, which ends it on the device")
	}
	return nil
}

func sha512Crypt(ctx context.Context, value *secret.Value, r Random) (*secret.Value, error) {
	salt := make([]byte, saltBytes) // 96 bits: a character holds 6
	s := &sampler{random: r, block: saltBytes}
	defer s.close()
	if err := s.fill(ctx, salt, crypt64); err != nil {
		return nil, fmt.Errorf("draw salt: %w", err)
	}
	return sha512CryptWith(value.Bytes(), salt, rounds), nil
}

func sha512CryptWith(value, salt []byte, rounds int) *secret.Value {
	var key []byte
	h := newWiped(rounds)
	defer h.close()
	secret.Do(func() {
		key = crypt.KeySHACrypt(h.next, value, salt, rounds)
	})
	defer secret.Wipe(key)
	setting := fmt.Appendf(nil, "$6$rounds=%s$%s$", strconv.Itoa(rounds), salt)
	return secret.Join(setting, key)
}

func yesCrypt(ctx context.Context, value *secret.Value, r Random) (*secret.Value, error) {
	raw, err := r.Random(ctx, saltBytes)
	if err != nil {
		return nil, fmt.Errorf("draw salt: %w", err)
	}
	defer raw.Close()
	return yesCryptWith(value.Bytes(), append([]byte(cost), yescrypt.Encode64(raw.Bytes())...))
}

func yesCryptWith(value, setting []byte) (*secret.Value, error) {
	var out []byte
	var err error
	secret.Do(func() { out, err = yescrypt.Hash(value, setting) })
	if err != nil {
		return nil, fmt.Errorf("make yescrypt verifier: %w", err)
	}
	return secret.From(out), nil
}

package soft

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"mintmark/hsm/secret"
)

// A wrapped key is one byte for the format, a nonce, the key and a tag, sealed
// with AES-256-GCM; the associated data is the name of the object.
const (
	wrapFormat = 1
	nonceLen   = 12
	tagLen     = 16
	wrappedLen = 1 + nonceLen + keyLen + tagLen
)

// NewRowKey makes a fresh 32-byte key, which the caller closes, wrapped under
// the object. The object is made if it is not there: an import that a crash
// stopped may come again under the name of the first.
func (a *Authority) NewRowKey(ctx context.Context, object string) (key *secret.Value, wrapped []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	salt, err := a.makeObject(object)
	if err != nil {
		return nil, nil, fmt.Errorf("make row key: %w", err)
	}
	defer salt.Close()
	box, err := a.box(object, salt)
	if err != nil {
		return nil, nil, fmt.Errorf("make row key: %w", err)
	}
	defer box.close()
	key, nonce := random(keyLen), random(nonceLen)
	defer nonce.Close()
	wrapped = append(make([]byte, 0, wrappedLen), wrapFormat)
	wrapped = append(wrapped, nonce.Bytes()...)
	return key, box.Seal(wrapped, nonce.Bytes(), key.Bytes(), []byte(object)), nil
}

// RowKey unwraps a key, which the caller closes.
func (a *Authority) RowKey(ctx context.Context, object string, wrapped []byte) (*secret.Value, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(wrapped) != wrappedLen || wrapped[0] != wrapFormat {
		return nil, fmt.Errorf("open row key: wrapped key has %d bytes or an unknown format, want %d of format %d",
			len(wrapped), wrappedLen, wrapFormat)
	}
	salt, err := a.object(object)
	if err != nil {
		return nil, fmt.Errorf("open row key: %w", err)
	}
	defer salt.Close()
	box, err := a.box(object, salt)
	if err != nil {
		return nil, fmt.Errorf("open row key: %w", err)
	}
	defer box.close()
	key := secret.New(keyLen)
	nonce, sealed := wrapped[1:1+nonceLen], wrapped[1+nonceLen:]
	if _, err := box.Open(key.Bytes()[:0], nonce, sealed, []byte(object)); err != nil {
		key.Close()
		return nil, errors.New("open row key: wrapped key is damaged, or belongs to another object or authority")
	}
	return key, nil
}

// A box is the cipher of an object.
type box struct {
	block cipher.Block
	cipher.AEAD
}

// box returns the cipher of an object, which the caller closes. Its key is
// HKDF-Expand (SHA-256, one block) of the wrapping key with "mintmark/row-key",
// the object's secret and its name as info.
func (a *Authority) box(object string, salt *secret.Value) (b box, err error) {
	key := secret.New(keyLen)
	defer key.Close()
	m := a.wrap.MAC()
	defer m.Close()
	m.Sum((*[keyLen]byte)(key.Bytes()), []byte("mintmark/row-key"), salt.Bytes(), []byte(object), []byte{1})
	if b.block, err = aes.NewCipher(key.Bytes()); err != nil {
		return box{}, err
	}
	b.AEAD, err = cipher.NewGCM(b.block)
	return b, err
}

// close wipes the key, which both ciphers hold.
func (b box) close() {
	secret.Erase(b.block)
	secret.Erase(b.AEAD)
}

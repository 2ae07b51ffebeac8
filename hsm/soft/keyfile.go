package soft

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"mintmark/hsm/digest"
	"mintmark/hsm/secret"
)

// Names and layout of the key files, see the package comment.
const (
	indexFile, indexPurpose = "index.key", "indx"
	wrapFile, wrapPurpose   = "wrap.key", "wrap"

	magic      = "MINTKEY1"
	headLen    = len(magic) + 4 + 4
	keyLen     = 32
	checkLen   = 8
	entryLen   = 4 + 8 + keyLen + checkLen
	maxEntries = 64
)

// keys is the content of a key file in secret memory.
type keys struct{ v *secret.Value }

// An entry is a view of one key in its file.
type entry struct {
	version uint32
	about   []byte // version and time, as they are in the file
	key     []byte
	check   []byte
}

func (k keys) close()     { k.v.Close() }
func (k keys) count() int { return (k.v.Len() - headLen) / entryLen }

func (k keys) entry(i int) entry {
	b := k.v.Bytes()[headLen+i*entryLen:][:entryLen]
	return entry{
		version: binary.BigEndian.Uint32(b),
		about:   b[:12],
		key:     b[12 : 12+keyLen],
		check:   b[12+keyLen:],
	}
}

// newKeys makes the content of a key file with the entries of old, if any, and a
// fresh one behind them.
func newKeys(purpose string, old keys, now time.Time) (keys, error) {
	n, last := 0, uint32(0)
	if old.v != nil {
		n = old.count()
		last = old.entry(n - 1).version
	}
	if n == maxEntries {
		return keys{}, fmt.Errorf("index key has %d versions, and can't have more", n)
	}
	k := keys{secret.New(headLen + (n+1)*entryLen)}
	b := k.v.Bytes()
	copy(b, magic+purpose)
	binary.BigEndian.PutUint32(b[headLen-4:], uint32(n+1))
	if n > 0 {
		copy(b[headLen:], old.v.Bytes()[headLen:])
	}
	e := k.entry(n)
	binary.BigEndian.PutUint32(e.about, last+1)
	binary.BigEndian.PutUint64(e.about[4:], uint64(now.Unix()))
	fresh := random(keyLen)
	defer fresh.Close()
	copy(e.key, fresh.Bytes())
	check := e.checkValue(purpose)
	copy(e.check, check[:])
	return k, nil
}

// checkValue ties key, version, time and purpose together: a flipped bit in any
// of them shows.
func (e entry) checkValue(purpose string) (out [checkLen]byte) {
	k := digest.NewKey(e.key)
	defer k.Close()
	m := k.MAC()
	defer m.Close()
	var sum [32]byte
	m.Sum(&sum, []byte("mintmark/check"), []byte(purpose), e.about)
	copy(out[:], sum[:])
	return out
}

// readKeys reads a key file, or says why not and how to mend it.
func readKeys(path, purpose string) (keys, error) {
	f, err := openPrivate(path)
	if err != nil {
		return keys{}, refuse(path, err)
	}
	defer f.Close()
	k, err := readFrom(f)
	if err != nil {
		return keys{}, refuse(path, err)
	}
	if err := k.verify(purpose); err != nil {
		k.close()
		return keys{}, refuse(path, fmt.Errorf("%w; restore the file from its backup", err))
	}
	return k, nil
}

func refuse(path string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrKeyFile, path, err)
}

func readFrom(f *os.File) (keys, error) {
	info, err := f.Stat()
	if err != nil {
		return keys{}, err
	}
	size := info.Size()
	n := (size - int64(headLen)) / int64(entryLen)
	if n < 1 || n > maxEntries || size != int64(headLen)+n*int64(entryLen) {
		return keys{}, fmt.Errorf("has %d bytes, want %d and %d for each key; restore the file from its backup",
			size, headLen, entryLen)
	}
	k := keys{secret.New(int(size))}
	if _, err := io.ReadFull(f, k.v.Bytes()); err != nil {
		k.close()
		return keys{}, err
	}
	return k, nil
}

// verify checks every byte but the keys' own randomness.
func (k keys) verify(purpose string) error {
	b := k.v.Bytes()
	switch {
	case !bytes.HasPrefix(b, []byte(magic)):
		return fmt.Errorf("does not start with %s, want a key file of this version", magic)
	case string(b[len(magic):headLen-4]) != purpose:
		return fmt.Errorf("is a key file for another purpose, want %q", purpose)
	case int(binary.BigEndian.Uint32(b[headLen-4:])) != k.count():
		return fmt.Errorf("has %d keys, and its head says another number", k.count())
	}
	for i := range k.count() {
		e := k.entry(i)
		if want := e.checkValue(purpose); !bytes.Equal(want[:], e.check) {
			return fmt.Errorf("key %d is damaged: its check value does not fit", i+1)
		}
		if e.version == 0 || i > 0 && e.version <= k.entry(i-1).version {
			return fmt.Errorf("key %d has version %d, want ascending versions from 1", i+1, e.version)
		}
	}
	return nil
}

// Package soft is the software authority: keys in files of this machine. It is
// for development, demonstrations and tests, and says so wherever it can.
//
// It promises:
//
//   - [Create] makes keys once. It never overwrites one, and after a crash it
//     can be run again.
//   - [Open] uses no key file that somebody else could have read or written, or
//     that is not exactly as it was written.
//   - Keys, messages and random bytes are in [secret.Value] or wiped.
//
// It can't promise what real authorities can: whoever copies its folder, or is
// root on the machine, has the keys; see docs/secrets.md.
//
// # On disk
//
// The folder (mode 0700) holds files of mode 0600:
//
//	index.key       the versions of the index key
//	wrap.key        the key under which the keys of waiting rows are wrapped
//	objects/HASH    one secret per import, mixed into its wrapping key; Shred
//	                deletes it
//
// Numbers are big-endian. A key file is
//
//	8   "MINTKEY1"
//	4   purpose, "indx" or "wrap"
//	4   number of entries, 1 to 64
//	    for each entry, oldest first, 52 bytes:
//	4   version, from 1, ascending
//	8   made at, in seconds since 1970
//	32  key
//	8   check value: the start of HMAC-SHA-256(key, "mintmark/check" followed by
//	    purpose, version and time as above)
package soft

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"mintmark/hsm"
	"mintmark/hsm/digest"
	"mintmark/hsm/secret"
)

// Notice is what every report and log says of a software authority.
const Notice = "software authority: its keys are files on this machine, for development and demonstration only"

// Errors that callers act on.
var (
	// ErrExists refuses to make keys where there are some.
	ErrExists = errors.New("authority exists already, nothing was changed")

	// ErrKeyFile is matched by every refusal of a key file or its folder.
	ErrKeyFile = errors.New("key file refused")

	// ErrNoObject means that a row key's object was shredded, or is not in this
	// authority.
	ErrNoObject = errors.New("authority has no such object: it was shredded, or belongs to another authority")

	// ErrVersion refuses a version of the index key that is not there.
	ErrVersion = errors.New("index key has no such version")
)

// An Authority holds the opened keys. Its methods may be called from several
// goroutines at once, but none after Close.
type Authority struct {
	dir      string
	id       string
	versions []uint32
	index    map[uint32]*digest.Key
	wrap     *digest.Key
	health   *hsm.Health
}

// Open reads the keys in dir and tests the random source.
func Open(dir string) (*Authority, error) {
	health, err := startup()
	if err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	index, err := readKeys(filepath.Join(dir, indexFile), indexPurpose)
	if err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	defer index.close()
	wrap, err := readKeys(filepath.Join(dir, wrapFile), wrapPurpose)
	if err != nil {
		return nil, fmt.Errorf("open authority: %w", err)
	}
	defer wrap.close()

	first := index.entry(0).check
	a := &Authority{
		dir:    dir,
		id:     "soft:" + hex.EncodeToString(first[:4]),
		index:  make(map[uint32]*digest.Key),
		wrap:   digest.NewKey(wrap.entry(0).key),
		health: health,
	}
	for i := range index.count() {
		e := index.entry(i)
		a.versions = append(a.versions, e.version)
		a.index[e.version] = digest.NewKey(e.key)
	}
	return a, nil
}

// Close wipes the keys.
func (a *Authority) Close() {
	for _, k := range a.index {
		k.Close()
	}
	a.wrap.Close()
}

// ID names authority and key by the check value of its first index key, so it
// stays when a version is added.
func (a *Authority) ID() string { return a.id }

// Development is true: see [Notice].
func (a *Authority) Development() bool { return true }

// Versions lists the versions of the index key, oldest first.
func (a *Authority) Versions() []uint32 { return slices.Clone(a.versions) }

// maxRandom bounds one request for random bytes.
const maxRandom = 1 << 20

// Random gives n bytes of the operating system's generator. After a failed health
// test (R-GEN-01) it gives none any more.
func (a *Authority) Random(ctx context.Context, n int) (*secret.Value, error) {
	if n < 1 || n > maxRandom {
		return nil, fmt.Errorf("%d random bytes were asked for, want 1 to %d", n, maxRandom)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	v := random(n)
	if err := a.health.Take(v.Bytes()); err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// startup tests the random source before its bytes are used.
func startup() (*hsm.Health, error) {
	h := new(hsm.Health)
	v := random(hsm.Startup)
	defer v.Close()
	return h, h.Take(v.Bytes())
}

// random never fails: without randomness crypto/rand ends the program.
func random(n int) *secret.Value {
	v := secret.New(n)
	rand.Read(v.Bytes())
	return v
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package soft

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"mintmark/hsm/secret"
)

// An object is a file with a secret of its own for each import, so that closing
// one batch can take away its key alone.
const (
	objectsDir = "objects"
	objectLen  = 32
)

// objectPath hides the name of the object, which may hold any character.
func (a *Authority) objectPath(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(a.dir, objectsDir, hex.EncodeToString(sum[:16]))
}

// object reads the secret of an object, or says [ErrNoObject].
func (a *Authority) object(name string) (*secret.Value, error) {
	f, err := openPrivate(a.objectPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNoObject
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v := secret.New(objectLen)
	if _, err := io.ReadFull(f, v.Bytes()); err != nil {
		v.Close()
		return nil, fmt.Errorf("%s is too short, want %d bytes; restore it from its backup", f.Name(), objectLen)
	}
	return v, nil
}

// makeObject is object, but makes the object if it is not there.
func (a *Authority) makeObject(name string) (v *secret.Value, err error) {
	dir := filepath.Join(a.dir, objectsDir)
	if err := makeFolder(dir); err != nil {
		return nil, err
	}
	err = locked(dir, func() error {
		v, err = a.object(name)
		if !errors.Is(err, ErrNoObject) {
			return err
		}
		v = random(objectLen)
		return replace(a.objectPath(name), v.Bytes())
	})
	if err != nil {
		v.Close()
		return nil, err
	}
	return v, nil
}

// Shred deletes the object. It returns false because a file system, a disk or a
// backup may still have it. Shredding what is not there is fine.
func (a *Authority) Shred(ctx context.Context, object string) (shredded bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if err := shred(a.objectPath(object)); err != nil {
		return false, fmt.Errorf("shred row key: %w", err)
	}
	return false, nil
}

// shred overwrites the file before it deletes it, for what that is worth.
func shred(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, objectLen))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

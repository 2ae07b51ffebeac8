package soft

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Create makes the authority in dir, whose parent must exist. It refuses with
// [ErrExists] where there is one, complete or not.
//
// The index key comes last and is what makes the authority exist. A crash before
// leaves at most a wrapping key, which has wrapped nothing yet; the next Create
// takes it over.
func Create(dir string) error {
	if err := create(dir, time.Now()); err != nil {
		return fmt.Errorf("create authority: %w", err)
	}
	return nil
}

func create(dir string, now time.Time) error {
	if _, err := startup(); err != nil {
		return err
	}
	if err := makeFolder(dir); err != nil {
		return err
	}
	return locked(dir, func() error {
		index, wrap := filepath.Join(dir, indexFile), filepath.Join(dir, wrapFile)
		if _, err := os.Lstat(index); err == nil {
			return fmt.Errorf("%w: %s", ErrExists, dir)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		k, err := readKeys(wrap, wrapPurpose)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = makeKeyFile(wrap, wrapPurpose, now)
		case err == nil:
			k.close()
		}
		if err != nil {
			return err
		}
		return makeKeyFile(index, indexPurpose, now)
	})
}

// makeFolder makes dir, durably, or checks the one that is there.
func makeFolder(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return checkFolder(dir)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(filepath.Clean(dir)))
}

// locked runs f while no other process makes keys in dir.
func locked(dir string, f func() error) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		err := unix.Flock(int(d.Fd()), unix.LOCK_EX)
		if err == nil {
			return f()
		}
		if !errors.Is(err, unix.EINTR) { // the runtime's own signals interrupt
			return fmt.Errorf("lock %s: %w", dir, err)
		}
	}
}

func makeKeyFile(path, purpose string, now time.Time) error {
	k, err := newKeys(purpose, keys{}, now)
	if err != nil {
		return err
	}
	defer k.close()
	return writeNew(path, k.v.Bytes())
}

// writeNew makes a file that is complete and durable under its name, or is not
// there. It never replaces one. The caller holds the lock of the folder.
func writeNew(path string, data []byte) error {
	return write(path, data, func(tmp string) error {
		if err := os.Link(tmp, path); err != nil {
			return err
		}
		return remove(tmp)
	})
}

// replace puts a file in the place of another; after a crash it is the one or
// the other.
func replace(path string, data []byte) error {
	return write(path, data, func(tmp string) error { return os.Rename(tmp, path) })
}

// write makes a durable file beside path and has place give it its name.
func write(path string, data []byte, place func(tmp string) error) error {
	tmp := path + ".new"
	if err := remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // what a crash left; nobody else writes while we hold the lock
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, remove(tmp))
	}
	if err := place(tmp); err != nil {
		return errors.Join(err, remove(tmp))
	}
	return syncDir(filepath.Dir(path))
}

// remove is os.Remove for files only: os.Remove tries rmdir when unlink fails,
// and may say that there was no such file when the disk failed.
func remove(path string) error {
	if err := unix.Unlink(path); err != nil {
		return &fs.PathError{Op: "unlink", Path: path, Err: err}
	}
	return nil
}

// Rotate adds a version to the index key and returns it. Older ones stay, since
// look-ups need them (R-LED-05). An open Authority doesn't see the new one.
func Rotate(dir string) (version uint32, err error) {
	path := filepath.Join(dir, indexFile)
	err = locked(dir, func() error {
		old, err := readKeys(path, indexPurpose)
		if err != nil {
			return err
		}
		defer old.close()
		k, err := newKeys(indexPurpose, old, time.Now())
		if err != nil {
			return err
		}
		defer k.close()
		version = k.entry(k.count() - 1).version
		return replace(path, k.v.Bytes())
	})
	if err != nil {
		return 0, fmt.Errorf("rotate index key: %w", err)
	}
	return version, nil
}

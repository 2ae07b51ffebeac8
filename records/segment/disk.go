package segment

import (
	"errors"
	"fmt"
	"os"
)

// A Disk is where segments are. The zero value is the machine's, and the
// functions of the package use it; tests have another one.
type Disk struct {
	// Around, if set, is called in place of every file operation: create, write,
	// sync, sync folder, open, read, close, remove. It may leave the operation
	// undone, or do it and report that it failed. Several goroutines call it.
	Around func(op, path string, do func() error) error
}

// do carries out a file operation and says which one failed.
func (d Disk) do(op, path string, do func() error) error {
	var err error
	if d.Around != nil {
		err = d.Around(op, path, do)
	} else {
		err = do()
	}
	if err == nil {
		return nil
	}
	if pe := (*os.PathError)(nil); errors.As(err, &pe) && pe.Path == path {
		err = pe.Err // the path and what was done are said here
	}
	return fmt.Errorf("%s segment %s: %w", op, path, err)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package records

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	sst "github.com/dgraph-io/badger/v4/table"
)

// checkTables reads every table of the store and its checksums. Badger can do
// that as well, but there a damaged table ends the process: it panics in a
// goroutine of its own.
func checkTables(store string) error {
	f, err := os.Open(filepath.Join(store, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new store
	}
	if err != nil {
		return err
	}
	defer f.Close() // it is only read
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(store))
	if err != nil {
		return behind("its list of tables is damaged: %v", err)
	}
	for id := range manifest.Tables { // others were left by a crash and are not used
		name := sst.NewFilename(id, store)
		if err := checkTable(name, id); err != nil {
			return behind("table %s is damaged: %v", filepath.Base(name), err)
		}
	}
	return nil
}

func checkTable(name string, id uint64) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it can't be read")
		}
	}()
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	t, err := sst.OpenInMemoryTable(data, id, &sst.Options{})
	if err != nil {
		return err
	}
	return t.VerifyChecksum()
}

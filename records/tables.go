package records

import (
	"encoding/binary"
	"errors"
	"io"
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

// forgetUnmade takes the last table off the list of tables if its file isn't there.
// When Badger can't sync the list it removes the table that it has just put there;
// the log that the table was made of is kept. Were it another table, groups would
// be missing, among them the newest ones that are in no log: then the chain tells.
func forgetUnmade(store string) error {
	name := filepath.Join(store, badger.ManifestFilename)
	data, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a new store
	}
	if err != nil {
		return err
	}
	last := lastRecord(data)
	with, err1 := tablesOf(data)
	without, err2 := tablesOf(data[:last])
	if err1 != nil || err2 != nil || len(with) != len(without)+1 {
		return nil // checkTables says what is wrong, if anything is
	}
	for id := range without {
		delete(with, id)
	}
	for id := range with {
		if _, err := os.Stat(sst.NewFilename(id, store)); !errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	}
	return cut(name, int64(last))
}

// lastRecord returns where the last record of a list of tables begins: behind 8
// bytes of head each has its length (4), a checksum (4) and as many bytes.
func lastRecord(data []byte) (last int) {
	const head = 8
	for at := head; len(data)-at >= head; {
		last = at
		n := int(binary.BigEndian.Uint32(data[at:]))
		if at += head + n; n > len(data) || at > len(data) {
			break
		}
	}
	return last
}

// tablesOf returns the tables that a list names.
func tablesOf(list []byte) (map[uint64]badger.TableManifest, error) {
	f, err := os.CreateTemp("", "mintmark-tables-")
	if err != nil {
		return nil, err
	}
	defer f.Close() // nobody needs it afterwards
	if err := os.Remove(f.Name()); err != nil {
		return nil, err
	}
	if _, err := f.Write(list); err != nil {
		return nil, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	m, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(""))
	return m.Tables, err
}

func cut(name string, size int64) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

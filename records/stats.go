package records

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"syscall"
)

// Stats is the ledger in numbers.
type Stats struct {
	ID       string              `json:"ledger"`
	Epoch    int                 `json:"epoch"`
	Groups   uint64              `json:"groups"`
	Claims   int64               `json:"claims"`
	Batches  map[BatchState]int  `json:"batches"`
	Devices  map[DeviceState]int `json:"devices"`
	Checks   int                 `json:"checks"`     // questions about values, imports included
	Rejected int                 `json:"rejections"` // imports that were refused for what they hold
	Bytes    int64               `json:"bytes"`      // of disk, the reserve included
	Free     int64               `json:"free_bytes"`
	Key      string              `json:"index_key"`
	Scope    string              `json:"scope"`
}

// Stats counts the ledger.
func (l *Ledger) Stats(ctx context.Context) (Stats, error) {
	s := Stats{
		ID: hex.EncodeToString(l.meta.ID[:]), Epoch: int(l.meta.Epoch), Key: l.keys.ID(), Scope: "this ledger",
		Batches: map[BatchState]int{}, Devices: map[DeviceState]int{},
	}
	err := l.view(func(r reader) error {
		last, err := r.lastGroup(l.meta.ID)
		if err != nil {
			return err
		}
		s.Groups, s.Claims = last.seq, int64(last.claims.n)
		if err := r.scan([]byte{keyCheck}, s.addCheck); err != nil {
			return err
		}
		return r.scan([]byte{keyBatch}, func(_, val []byte) error {
			b, err := decode[batchRecord](val)
			if err != nil {
				return err
			}
			s.Batches[b.State]++
			for _, state := range []DeviceState{Waiting, Assigned, Kept, Doubtful, Sealed, Burned, Frozen} {
				if n := *b.devices(state); n > 0 {
					s.Devices[state] += n
				}
			}
			return nil
		})
	})
	if err != nil {
		return Stats{}, err
	}
	if s.Free, err = diskFree(l.dir); err != nil {
		return Stats{}, err
	}
	s.Bytes, err = diskUsed(l.dir)
	return s, err
}

func (s *Stats) addCheck(_, val []byte) error {
	c, err := decode[checkRecord](val)
	if err != nil {
		return err
	}
	s.Checks++
	if c.Hits > 0 && c.What != "check" && c.What != "value" {
		s.Rejected++
	}
	return nil
}

// diskUsed is what the ledger's folder really takes.
func diskUsed(dir string) (total int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the store removes files when it likes
		}
		if err != nil {
			return err
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512
		}
		return nil
	})
	return total, err
}

package segment

import "crypto/sha256"

const (
	chunkSize = 1 << 20
	chunks    = 3 // one is filled, one waits, one is hashed
)

// A digest hashes a file in a goroutine of its own, chunk by chunk, so that
// whoever reads or writes the file has a core for itself. It ends with sum.
type digest struct {
	free, full chan []byte
	done       chan [32]byte
}

func newDigest() *digest {
	d := &digest{make(chan []byte, chunks), make(chan []byte, chunks), make(chan [32]byte)}
	for range chunks {
		d.free <- nil // grows as far as it must
	}
	go d.run()
	return d
}

func (d *digest) run() {
	h := sha256.New()
	for b := range d.full {
		h.Write(b)
		d.free <- b[:0]
	}
	d.done <- [32]byte(h.Sum(nil))
}

// chunk returns an empty chunk.
func (d *digest) chunk() []byte { return <-d.free }

// put hashes a chunk, which is no longer the caller's.
func (d *digest) put(b []byte) { d.full <- b }

// sum ends the goroutine and returns the hash of all chunks.
func (d *digest) sum() [32]byte {
	close(d.full)
	return <-d.done
}

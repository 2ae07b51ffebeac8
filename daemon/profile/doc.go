package profile

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// A Doc is a TOML file being read: what it says, where it says it, and what is
// wrong with it. It collects every mistake before it reports any, so that a
// file is repaired in one go.
type Doc struct {
	name     string
	root     *node
	cut      bool // the end of the file could not be read
	mistakes Mistakes
}

// ReadFile reads the TOML file of the given path.
func ReadFile(path string) (*Doc, []byte, error) {
	data, err := bounded(path)
	if err != nil {
		return nil, nil, err
	}
	return Read(path, data), data, nil
}

// bounded reads a file only so far that Read can tell that it is too long: a wrong
// path, such as a device or a backup, must not fill memory.
func bounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// Read reads data as TOML. Name is how mistakes name the file.
func Read(name string, data []byte) *Doc {
	d := &Doc{name: name}
	d.root = parse(d, data)
	return d
}

// Mistake records what is wrong with a key, unless something about it is
// recorded already: a value of the wrong type isn't also missing, and nothing is
// missing from a file of which only a part could be read.
func (d *Doc) Mistake(key, format string, args ...any) {
	d.report(Mistake{Key: key, Text: fmt.Sprintf(format, args...)})
}

// Warn records what is weak or unfinished about a key but allowed.
func (d *Doc) Warn(key, format string, args ...any) {
	d.report(Mistake{Key: key, Text: fmt.Sprintf(format, args...), Warning: true})
}

func (d *Doc) report(m Mistake) {
	if d.cut {
		return
	}
	for _, old := range d.mistakes {
		if old.covers(m.Key) {
			return
		}
	}
	m.Pos = d.At(m.Key)
	d.add(m)
}

func (d *Doc) add(m Mistake) { d.mistakes = append(d.mistakes, m) }

// Has reports whether the file sets key.
func (d *Doc) Has(key string) bool {
	n, rest := d.find(key)
	return n != nil && rest == ""
}

// At is the place of key, or of the nearest table around it that is written.
func (d *Doc) At(key string) Pos {
	n, _ := d.find(key)
	return n.pos
}

// find follows key as far as the file goes, and returns what it didn't find.
func (d *Doc) find(key string) (*node, string) {
	at := d.root
	for key != "" {
		part := key
		if i := strings.IndexAny(key[1:], ".["); i >= 0 {
			part = key[:i+1]
		}
		next := at.child(part)
		if next == nil {
			return at, key
		}
		at, key = next, strings.TrimPrefix(key[len(part):], ".")
	}
	return at, ""
}

// child returns the value of a key, or the item of a "[n]", from 1.
func (n *node) child(part string) *node {
	var i int
	if _, err := fmt.Sscanf(part, "[%d]", &i); err == nil {
		if 0 < i && i <= len(n.items) {
			return n.items[i-1]
		}
		return nil
	}
	return n.table[part]
}

// Err returns all mistakes in the order of the file, or nil.
func (d *Doc) Err() error {
	if ms := d.pick(false); len(ms) > 0 {
		return ms
	}
	return nil
}

// Warnings returns what is weak but allowed, in the order of the file.
func (d *Doc) Warnings() Mistakes { return d.pick(true) }

func (d *Doc) pick(warning bool) Mistakes {
	var ms Mistakes
	for _, m := range d.mistakes {
		if m.Warning == warning {
			ms = append(ms, m)
		}
	}
	return ms.sorted()
}

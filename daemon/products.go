package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"mintmark/daemon/profile"
	"mintmark/records"
)

// Products finds profiles in their folder. A profile's file is named after its
// product, so there can't be two of one.
type Products struct {
	dir string           // not changed after NewProducts
	now func() time.Time // not changed after NewProducts

	mu     sync.Mutex // guards the field below
	inSlot map[string]*profile.Profile
}

// NewProducts returns the products of a folder of profiles.
func NewProducts(dir string, now func() time.Time) *Products {
	return &Products{dir: dir, now: now, inSlot: map[string]*profile.Profile{}}
}

// Load reads the profile of a product as its file says now. It refuses one that
// was edited since slots began to work with it: they would make other devices
// than the batch says.
func (p *Products) Load(id string) (*profile.Profile, error) {
	got, err := p.read(id)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if pinned := p.inSlot[id]; pinned != nil && pinned.Digest != got.Digest {
		return nil, &records.Refusal{
			Text: fmt.Sprintf("profile %s was edited since the daemon read it", id),
			Hint: "restart the daemon to work with the new one, or put the old one back",
		}
	}
	return got, nil
}

// pin reads the profile of a product that a slot is about to make.
func (p *Products) pin(id string) (*profile.Profile, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if pinned := p.inSlot[id]; pinned != nil {
		return pinned, nil
	}
	got, err := p.read(id)
	if err == nil {
		p.inSlot[id] = got
	}
	return got, err
}

func (p *Products) read(id string) (*profile.Profile, error) {
	if id == "" {
		return nil, p.unknown("no product was named")
	}
	if !validName.MatchString(id) { // it becomes part of a path
		return nil, p.unknown(fmt.Sprintf("product is %.64q, want letters, digits and - _ .", id))
	}
	path := filepath.Join(p.dir, id+".toml")
	got, err := profile.Load(path, p.now())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, p.unknown("no product " + id)
	}
	if err != nil {
		return nil, err
	}
	if got.ID != id {
		return nil, profile.Mistakes{{
			Pos: profile.Pos{File: path}, Key: "id", Text: fmt.Sprintf("is %q, want %q as the file is named", got.ID, id),
		}}
	}
	return got, nil
}

// unknown refuses with the products that there are.
func (p *Products) unknown(text string) error {
	files, err := profileFiles(p.dir)
	if err != nil {
		return err
	}
	var ids []string
	for _, f := range files {
		ids = append(ids, strings.TrimSuffix(filepath.Base(f), ".toml"))
	}
	hint := "put a profile into " + p.dir
	if len(ids) > 0 {
		hint = "products here: " + strings.Join(ids, ", ")
	}
	return &records.Refusal{Text: text, Hint: hint}
}

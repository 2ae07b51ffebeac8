package records

import "sync"

// imports is what imports under way share.
type imports struct {
	writing chan struct{} // holds a token while an import is judged and written, or segments are folded or merged
	checks  checks

	// fault stands in for a durable step of an import in a test; nil in production.
	fault func(step string, do func() error) error

	mu      sync.Mutex // guards below
	names   map[string]bool
	numbers map[uint32]bool // taken, but not yet in the ledger
}

func newImports() *imports {
	return &imports{writing: make(chan struct{}, 1), names: map[string]bool{}, numbers: map[uint32]bool{}}
}

// durable does one step outside the store that a crash may follow.
func (l *Ledger) durable(step string, do func() error) error {
	if l.imports.fault != nil {
		return l.imports.fault(step, do)
	}
	return do()
}

// reserve takes a name and the next batch number until release is called.
func (l *Ledger) reserve(name string) (number uint32, release func(), err error) {
	m := l.imports
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.names[name] {
		return 0, nil, refuse("wait until it is done", "batch %s is being made or imported right now", name)
	}
	if err := l.view(func(r reader) error {
		return r.keys([]byte{keyBatch}, func(key []byte) error { number = max(number, be32(key[1:])); return nil })
	}); err != nil {
		return 0, nil, err
	}
	for number++; m.numbers[number]; number++ {
	}
	m.names[name], m.numbers[number] = true, true
	return number, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.names, name)
		delete(m.numbers, number)
	}, nil
}

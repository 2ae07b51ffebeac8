package station

// Check reports everything that keeps a slot from making the product, whatever
// its driver. [New] checks it again.
func (p Product) Check() error { return p.check() }

// CheckDriver reports what the product needs and d doesn't do. [New] checks it
// again.
func (p Product) CheckDriver(d Driver) error { return p.checkDriver(d) }

package secret

// Mapped returns how many bytes of slabs there are.
func Mapped() int {
	memory.mu.Lock()
	defer memory.mu.Unlock()
	return memory.mapped
}

var (
	Enough        = enough
	SwapAreas     = swapAreas
	SwapForbidden = swapForbidden
)

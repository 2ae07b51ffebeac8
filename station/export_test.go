package station

// Around has every ledger call of s go through f, which may lose it, or keep it
// and report it lost.
func Around(s *Slot, f func(call string, do func() error) func() error) { s.around = f }

// Short is the sampling of reset probes.
var Short = short

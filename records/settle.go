package records

import "context"

// settleLeft ends what a crash left open, before anyone can ask.
func (l *Ledger) settleLeft(ctx context.Context) error {
	return l.sweep(ctx)
}

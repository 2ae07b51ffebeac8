package records

// Badger merges its tables in the background whenever it likes, also on a full
// disk. So its own merging is off, and the writer has them merged: when many new
// ones stand beside the merged ones, and a copy of all of them has room.

const (
	// mergeTables is how many unmerged tables there are at least: each makes a
	// read a little slower.
	mergeTables = 8

	// mergeAnyway is how many of them are merged even if they are small compared
	// to what is merged already.
	mergeAnyway = 64
)

// mergeIfDue starts a merge if one is due and none is under way.
func (l *Ledger) mergeIfDue() {
	if l.merge != nil {
		return
	}
	var fresh, merged, count int64
	for _, t := range l.db.Tables() {
		if t.Level > 0 {
			merged += int64(t.OnDiskSize)
			continue
		}
		fresh += int64(t.OnDiskSize)
		count++
	}
	if count < mergeTables || count < mergeAnyway && 2*fresh < merged {
		return
	}
	if avail, err := l.space.avail(); err != nil || avail < fresh+merged+l.space.low() {
		return
	}
	l.space.merging = fresh + merged
	done := make(chan error, 1)
	l.merge = done
	go func() { done <- l.db.Flatten(1) }() // awaitMerge waits for it
}

// noteMerged gives back the room of a merge that is done.
func (l *Ledger) noteMerged() {
	select {
	case err := <-l.merge: // never, if there is none
		l.mergeDone(err)
	default:
	}
}

func (l *Ledger) awaitMerge() {
	if l.merge != nil {
		l.mergeDone(<-l.merge)
	}
}

// mergeDone ends a merge. One that failed has changed nothing; it will be due
// again.
func (l *Ledger) mergeDone(err error) {
	if err != nil {
		l.opts.Log.Warn("tables not merged", "err", err)
	}
	l.merge, l.space.merging = nil, 0
}

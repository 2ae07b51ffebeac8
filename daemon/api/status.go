package api

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"reflect"
	"time"

	"mintmark/station"
)

// maxWait bounds how long a status may wait for something newer.
const maxWait = 30 * time.Second

// Status is what is to be seen of a station now.
type Status struct {
	About
	Slots []station.Snapshot `json:"slots"`

	// Stopping says that this is the last status worth asking for.
	Stopping bool `json:"stopping,omitempty"`

	// Tag names this status. Who asks with it is answered as soon as there is
	// another one.
	Tag string `json:"tag"`
}

// status answers at once, or with ?after=TAG as soon as something changed, or
// when there is nothing new for a while. A watcher that falls behind skips to
// the latest.
func (s *server) status(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	for {
		now, changed := s.snapshot()
		if now.Tag != r.URL.Query().Get("after") || !s.await(ctx, changed) {
			return reply(w, now)
		}
	}
}

func (s *server) snapshot() (Status, []<-chan struct{}) {
	st := Status{About: s.cfg.About, Slots: []station.Snapshot{}}
	select {
	case <-s.cfg.Stopping:
		st.Stopping = true
	default:
	}
	var changed []<-chan struct{}
	for _, slot := range s.cfg.Slots {
		now, c := slot.Snapshot()
		st.Slots, changed = append(st.Slots, now), append(changed, c)
	}
	h := fnv.New64a()
	json.NewEncoder(h).Encode(st.Slots) // neither a hash nor a snapshot can fail
	st.Tag = fmt.Sprintf("%016x", h.Sum64())
	return st, changed
}

// await waits for one of many channels, and returns false when ctx is done or
// the station stops.
func (s *server) await(ctx context.Context, changed []<-chan struct{}) bool {
	cases := []reflect.SelectCase{
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(ctx.Done())},
		{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(s.cfg.Stopping)},
	}
	for _, c := range changed {
		cases = append(cases, reflect.SelectCase{Dir: reflect.SelectRecv, Chan: reflect.ValueOf(c)})
	}
	chosen, _, _ := reflect.Select(cases)
	return chosen > 1
}

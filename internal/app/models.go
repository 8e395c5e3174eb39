package app

import (
	"maps"
	"slices"
	"sync"
)

// reportedModels keeps what endpoints said of their models and rings when it
// changes.
type reportedModels struct {
	mu        sync.Mutex
	byAddress map[string][]string
	changed   func()
}

// set records the models of one endpoint; nil forgets them.
func (r *reportedModels) set(address string, models []string) {
	r.mu.Lock()
	old, had := r.byAddress[address]
	same := had == (models != nil) && slices.Equal(old, models)
	if models == nil {
		delete(r.byAddress, address)
	} else {
		r.byAddress[address] = models
	}
	r.mu.Unlock()
	if !same {
		r.changed()
	}
}

// assume records what is expected of endpoints that have not answered yet, so
// that an answer which only confirms it changes nothing.
func (r *reportedModels) assume(models map[string][]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for address, names := range models {
		if _, had := r.byAddress[address]; !had {
			r.byAddress[address] = slices.Sorted(slices.Values(names))
		}
	}
}

// retain forgets the endpoints that keep does not hold.
func (r *reportedModels) retain(keep map[string]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.byAddress, func(address string, _ []string) bool { return !keep[address] })
}

func (r *reportedModels) all() map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.byAddress)
}

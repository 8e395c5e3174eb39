package modelserver

import (
	"context"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/scheduling"
)

// endpoint is one target. Its polls follow each other, so what belongs to them
// needs no lock: the poller's mutex lies between one poll and the next.
type endpoint struct {
	target Target

	// Guarded by the poller's mutex; ctx and cancel do not change once set.
	generation uint64
	timer      *time.Timer
	ctx        context.Context
	cancel     context.CancelFunc

	// These belong to its polls.
	metrics  task
	models   task
	names    []string // last reported; nil: does not tell
	adapters []string // of names
	answered bool     // names have been reported
	down     bool     // the last answer failed, and the log says so

	mu   sync.Mutex // held while reporting
	gone bool
}

// remove returns when nothing more will be reported.
func (e *endpoint) remove() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
}

// report calls f unless the endpoint has been removed.
func (e *endpoint) report(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.gone {
		f()
	}
}

func (e *endpoint) suspect() bool { return e.metrics.failures > 0 || e.models.failures > 0 }

// due returns when the next of its tasks is.
func (e *endpoint) due() time.Time {
	if e.models.due.Before(e.metrics.due) {
		return e.models.due
	}
	return e.metrics.due
}

// setModels takes over an answer about models; nil names: it does not tell.
func (e *endpoint) setModels(names, adapters []string, report func(string, []string)) {
	changed := !e.answered || (names == nil) != (e.names == nil) || !slices.Equal(names, e.names)
	e.answered, e.names, e.adapters = true, names, adapters
	if changed && report != nil {
		// The callback may keep the slice; it is ours no longer.
		e.report(func() { report(e.target.Address, slices.Clone(names)) })
	}
}

func (e *endpoint) setMetrics(m scheduling.Metrics, report func(string, scheduling.Metrics)) {
	m.Adapters = e.adapters
	e.report(func() { report(e.target.Address, m) })
}

package kube

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"time"
)

const (
	// discoveryTimeout bounds one look, whatever the API server does.
	discoveryTimeout = 10 * time.Second
	// hasty is how soon a look is repeated that did not succeed.
	hasty = time.Second
)

// discover keeps what the API server serves known until ctx ends: it looks again
// when a watch meets a kind that is gone and, slowly, while a kind is missing.
func (s *Source) discover(ctx context.Context, d *discovery) {
	for ctx.Err() == nil {
		within, cancel := context.WithTimeout(ctx, discoveryTimeout)
		changed, err := d.refresh(within)
		cancel()
		again := s.took(d, changed, err)
		var timer <-chan time.Time
		if again > 0 {
			timer = time.After(again + rand.N(again/4+1)) // not all gateways at once
		}
		select {
		case <-ctx.Done():
		case <-timer:
		case <-s.lookups:
			d.forget()
			select { // a kind may stay in the document for a moment after it is gone
			case <-ctx.Done():
			case <-time.After(firstRetry):
			}
		}
	}
}

// took takes in the outcome of a look and says when to look again, 0 for only when
// asked.
func (s *Source) took(d *discovery, changed bool, err error) (again time.Duration) {
	var refusal *refusedError
	if err != nil && !errors.As(err, &refusal) {
		s.mu.Lock()
		known := s.discovered
		s.mu.Unlock()
		if known {
			return s.options.Discover
		}
		s.log.Warn("the API server cannot be asked what it serves", "error", err)
		return hasty
	}
	s.mu.Lock()
	if err != nil && !s.discovered {
		s.log.Warn("the API server does not say what it serves, so every kind is tried", "error", err)
	}
	changed = changed || !s.discovered
	if changed {
		s.discovered, s.served = true, &discovery{served: maps.Clone(d.served)}
	}
	lacks := false
	for _, k := range kinds {
		if _, ok := d.version(k); !ok {
			lacks = true
		}
	}
	// A watch that met a missing kind waits for this answer, changed or not.
	for _, w := range s.watches {
		changed = changed || w.trouble == missing
	}
	s.mu.Unlock()
	s.noticed(changed, nil)
	if lacks || err != nil {
		return s.options.Discover
	}
	return 0
}

package admin

import (
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// rolloutMetrics are the metrics of rollouts. Their label rollout is namespace/name of
// an InferenceRollout that is served, so nobody outside can make up one.
type rolloutMetrics struct {
	requests *prometheus.CounterVec
	share    *prometheus.GaugeVec

	// series is replaced whole by Shares, so that a request reads it without a lock.
	mu     sync.Mutex
	series atomic.Pointer[map[string]*rolloutSeries]
}

// rolloutSeries are the counters of one rollout.
type rolloutSeries struct{ stable, candidate prometheus.Counter }

func newRolloutMetrics(r prometheus.Registerer) *rolloutMetrics {
	m := &rolloutMetrics{
		requests: counter("crossfade_rollout_requests_total", "Requests that a rollout decided about, by the version they were assigned to.", "rollout", "version"),
		share:    gauge("crossfade_rollout_share", "The candidate's share of the traffic that this gateway serves, 0 to 1.", "rollout"),
	}
	m.series.Store(&map[string]*rolloutSeries{})
	r.MustRegister(m.requests, m.share)
	return m
}

// Rollout counts a request that a rollout assigned to its candidate, or to stable. One
// that is no longer served is not counted.
func (m *Metrics) Rollout(name string, candidate bool) {
	s := (*m.rollouts.series.Load())[name]
	switch {
	case s == nil:
	case candidate:
		s.candidate.Inc()
	default:
		s.stable.Inc()
	}
}

// Rollouts records the rollouts that are served now, with the share of each
// candidate, 0 to 1, and drops the series of all others.
func (m *Metrics) Rollouts(shares map[string]float64) {
	r := m.rollouts
	r.mu.Lock()
	defer r.mu.Unlock()
	before := *r.series.Load()
	now := make(map[string]*rolloutSeries, len(shares))
	for name, share := range shares {
		r.share.WithLabelValues(name).Set(share)
		if now[name] = before[name]; now[name] == nil {
			now[name] = &rolloutSeries{stable: r.requests.WithLabelValues(name, "stable"), candidate: r.requests.WithLabelValues(name, "candidate")}
		}
	}
	r.series.Store(&now)
	for name := range before {
		if now[name] == nil {
			r.requests.DeletePartialMatch(prometheus.Labels{"rollout": name})
			r.share.DeleteLabelValues(name)
		}
	}
}

package admin

import (
	"strconv"
	"sync"
	"time"

	"crossfade.dev/internal/llm"
	"github.com/prometheus/client_golang/prometheus"
)

const (
	// maxNames bounds the model names used as label values: a client can ask for
	// any name, and a pool whose models are not known passes it on.
	maxNames = 1000
	// otherName stands for all names above the bound.
	otherName = "other"
)

// seriesCache keeps the metric handles of each combination of labels, so that a
// finished call costs look-ups by key and no label hashing or allocation.
type seriesCache struct {
	metrics *Metrics

	mu        sync.RWMutex
	versions  map[versionKey]*versionSeries
	endpoints map[endpointKey]*endpointSeries
	names     map[string]struct{}
}

// versionKey is one version of one model on one route.
type versionKey struct{ route, pool, request, response string }

// endpointKey is one endpoint of one pool.
type endpointKey struct{ pool, address string }

// callKey is how the calls of one version ended at one endpoint.
type callKey struct {
	endpoint string
	code     int
	reason   string
}

// lazyObserver and lazyCounter make their series when it is first moved, so that
// a page of metrics shows what happened and not all that could.
type (
	lazyObserver func() prometheus.Observer
	lazyCounter  func() prometheus.Counter
)

type versionSeries struct {
	duration, firstToken, perToken, interToken, usageIn, usageOut lazyObserver
	retries, excluded                                             lazyCounter

	mu    sync.RWMutex
	calls map[callKey]*callSeries
}

type callSeries struct{ requests, input, cached, output lazyCounter }

type endpointSeries struct {
	duration, firstToken lazyObserver
}

func newSeriesCache(m *Metrics) *seriesCache {
	return &seriesCache{
		metrics:   m,
		versions:  map[versionKey]*versionSeries{},
		endpoints: map[endpointKey]*endpointSeries{},
		names:     map[string]struct{}{},
	}
}

// bounded returns name, or otherName when too many names have been seen.
func (c *seriesCache) bounded(name string) string {
	c.mu.RLock()
	_, known := c.names[name]
	full := len(c.names) >= maxNames
	c.mu.RUnlock()
	switch {
	case known:
		return name
	case full:
		return otherName
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names[name] = struct{}{}
	return name
}

func (c *seriesCache) version(o *llm.Outcome) *versionSeries {
	k := versionKey{o.Route, o.Pool, c.bounded(o.Model), c.bounded(o.Target)}
	c.mu.RLock()
	s := c.versions[k]
	c.mu.RUnlock()
	if s != nil {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s = c.versions[k]; s == nil {
		s = c.metrics.newVersion(k)
		c.versions[k] = s
	}
	return s
}

func (c *seriesCache) endpoint(pool, address string) *endpointSeries {
	k := endpointKey{pool, address}
	c.mu.RLock()
	s := c.endpoints[k]
	c.mu.RUnlock()
	if s != nil {
		return s
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if s = c.endpoints[k]; s == nil {
		s = c.metrics.newEndpoint(k)
		c.endpoints[k] = s
	}
	return s
}

func observer(v *prometheus.HistogramVec, labels ...string) lazyObserver {
	return sync.OnceValue(func() prometheus.Observer { return v.WithLabelValues(labels...) })
}

func counterOf(v *prometheus.CounterVec, labels ...string) lazyCounter {
	return sync.OnceValue(func() prometheus.Counter { return v.WithLabelValues(labels...) })
}

// add moves the counter, if there is anything to add.
func (c lazyCounter) add(n int) {
	if n > 0 {
		c().Add(float64(n))
	}
}

func (m *Metrics) newVersion(k versionKey) *versionSeries {
	l := []string{k.route, k.pool, k.request, k.response}
	with := func(more string) []string { return append(l[:len(l):len(l)], more) }
	return &versionSeries{
		duration:   observer(m.duration, l...),
		firstToken: observer(m.firstToken, l...),
		perToken:   observer(m.perToken, l...),
		interToken: observer(m.interToken, l...),
		usageIn:    observer(m.usage, with("input")...),
		usageOut:   observer(m.usage, with("output")...),
		retries:    counterOf(m.retries, k.route, k.pool),
		excluded:   counterOf(m.excluded, k.route, k.request),
		calls:      map[callKey]*callSeries{},
	}
}

func (m *Metrics) newEndpoint(k endpointKey) *endpointSeries {
	return &endpointSeries{
		duration:   observer(m.endpointDuration, k.pool, k.address),
		firstToken: observer(m.endpointFirstToken, k.pool, k.address),
	}
}

func (c *seriesCache) call(v *versionSeries, o *llm.Outcome) *callSeries {
	k := callKey{o.Endpoint, o.Status, o.Reason}
	v.mu.RLock()
	s := v.calls[k]
	v.mu.RUnlock()
	if s != nil {
		return s
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if s = v.calls[k]; s == nil {
		s = c.metrics.newCall(o, c.bounded(o.Model), c.bounded(o.Target))
		v.calls[k] = s
	}
	return s
}

func (m *Metrics) newCall(o *llm.Outcome, request, response string) *callSeries {
	l := []string{o.Route, o.Pool, request, response, o.Endpoint}
	tokens := func(kind string) lazyCounter {
		return counterOf(m.tokens, append(l[:len(l):len(l)], kind)...)
	}
	return &callSeries{
		requests: counterOf(m.requests, append(l[:len(l):len(l)], strconv.Itoa(o.Status), o.Reason)...),
		input:    tokens("input"),
		cached:   tokens("cached"),
		output:   tokens("output"),
	}
}

// InFlight counts one request as being forwarded to a pool (delta 1) or no longer
// (delta -1).
func (m *Metrics) InFlight(pool string, delta int) {
	m.inflight.WithLabelValues(pool).Add(float64(delta))
}

// Record counts one finished call. excluded says that its draw left out a pool
// that does not serve the model.
func (m *Metrics) Record(o *llm.Outcome, excluded bool) {
	v := m.series.version(o)
	c := m.series.call(v, o)
	c.requests.add(1)
	c.addTokens(o)
	v.observe(o)
	if excluded {
		v.excluded.add(1)
	}
	if o.Endpoint != "" {
		m.series.endpoint(o.Pool, o.Endpoint).observe(o)
	}
}

func (c *callSeries) addTokens(o *llm.Outcome) {
	u := o.Report.Usage
	c.input.add(u.PromptTokens)
	c.cached.add(u.CachedTokens)
	c.output.add(o.Report.Tokens)
}

func (v *versionSeries) observe(o *llm.Outcome) {
	v.duration().Observe(o.Duration().Seconds())
	if d, ok := firstToken(o); ok {
		v.firstToken().Observe(d.Seconds())
	}
	if d, ok := o.TimePerOutputToken(); ok {
		v.perToken().Observe(d.Seconds())
	}
	if u := o.Report.Usage; u.Known {
		v.usageIn().Observe(float64(u.PromptTokens))
		v.usageOut().Observe(float64(u.CompletionTokens))
	}
	v.retries.add(o.Retries)
}

func (e *endpointSeries) observe(o *llm.Outcome) {
	e.duration().Observe(o.Duration().Seconds())
	if d, ok := firstToken(o); ok {
		e.firstToken().Observe(d.Seconds())
	}
}

// firstToken is the time to first token of streams: an answer in one piece shows
// its first token together with its last, and an error has none.
func firstToken(o *llm.Outcome) (time.Duration, bool) {
	if !o.Stream || o.Status >= 400 {
		return 0, false
	}
	return o.TimeToFirstToken()
}

// Gap records the time between two pieces of streamed content of a call.
func (m *Metrics) Gap(o *llm.Outcome, gap time.Duration) {
	m.series.version(o).interToken().Observe(gap.Seconds())
}

// Mirrored records what became of a copy of a request for a mirror's pool.
func (m *Metrics) Mirrored(pool, result string) { m.mirrored.WithLabelValues(pool, result).Inc() }

// retain drops the series of endpoints that pools no longer have. A request that
// still runs there makes its series anew when it ends, once.
func (c *seriesCache) retain(pools []Pool) {
	live := map[string]bool{}
	for _, p := range pools {
		for _, e := range p.Endpoints {
			live[e.Address] = true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.endpoints {
		if live[k.address] {
			continue
		}
		delete(c.endpoints, k)
		gone := prometheus.Labels{"endpoint": k.address}
		for _, v := range []interface{ DeletePartialMatch(prometheus.Labels) int }{
			c.metrics.endpointDuration, c.metrics.endpointFirstToken, c.metrics.requests, c.metrics.tokens,
		} {
			v.DeletePartialMatch(gone)
		}
		for _, v := range c.versions {
			v.forget(k.address)
		}
	}
}

func (v *versionSeries) forget(address string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for k := range v.calls {
		if k.endpoint == address {
			delete(v.calls, k)
		}
	}
}

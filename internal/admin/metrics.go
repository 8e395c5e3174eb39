package admin

import (
	"time"

	"crossfade.dev/internal/translate"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics are the gateway's Prometheus metrics. Names follow OpenTelemetry's
// GenAI conventions (gen_ai.server.*, gen_ai.client.token.usage) where these name
// the thing, and begin with crossfade_ where they do not.
//
// The labels: route is namespace/name/rule of the HTTPRoute; pool is the pool
// drawn; gen_ai_request_model is what the client asked for and
// gen_ai_response_model what the endpoint was asked for, which is the version
// under a split; endpoint is host:port. Values that a client can make up are
// bounded, see bounded.
type Metrics struct {
	requests *prometheus.CounterVec
	tokens   *prometheus.CounterVec
	retries  *prometheus.CounterVec
	excluded *prometheus.CounterVec
	mirrored *prometheus.CounterVec
	inflight *prometheus.GaugeVec

	duration   *prometheus.HistogramVec
	firstToken *prometheus.HistogramVec
	perToken   *prometheus.HistogramVec
	interToken *prometheus.HistogramVec
	usage      *prometheus.HistogramVec

	endpointDuration   *prometheus.HistogramVec
	endpointFirstToken *prometheus.HistogramVec

	generation prometheus.Gauge
	published  prometheus.Gauge
	buildTime  prometheus.Histogram
	problems   *prometheus.GaugeVec

	series   *seriesCache
	rollouts *rolloutMetrics
}

// Buckets in seconds. They reach from a cached short prompt to the longest
// generation people wait for (OpenTelemetry's advice, extended upwards).
var (
	durationBuckets   = []float64{.01, .02, .04, .08, .16, .32, .64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 600, 3600}
	firstTokenBuckets = []float64{.001, .005, .01, .02, .04, .06, .08, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10, 30, 60}
	perTokenBuckets   = []float64{.001, .0025, .005, .01, .025, .05, .075, .1, .15, .2, .3, .4, .5, .75, 1, 2.5}
	usageBuckets      = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576}
	buildBuckets      = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}
)

// NewMetrics makes the metrics and registers them, with the Go runtime's and the
// process's own.
func NewMetrics(r prometheus.Registerer) *Metrics {
	version := []string{"route", "pool", "gen_ai_request_model", "gen_ai_response_model"}
	endpoint := []string{"pool", "endpoint"}
	m := &Metrics{
		requests: counter("crossfade_requests_total", "Requests by how they ended.", append(version, "endpoint", "code", "reason")...),
		tokens:   counter("crossfade_tokens_total", "Tokens by type: input, cached (part of input) or output.", append(version, "endpoint", "gen_ai_token_type")...),
		retries:  counter("crossfade_retries_total", "Tries at another endpoint after the first.", "route", "pool"),
		excluded: counter("crossfade_pool_excluded_total", "Requests whose draw left out a weighted pool that is known not to serve the model.", "route", "gen_ai_request_model"),
		mirrored: counter("crossfade_mirrored_requests_total", "Copies of requests for mirrors by pool and result: answered, failed or dropped.", "pool", "result"),
		inflight: gauge("crossfade_requests_in_flight", "Requests being served, by the pool they were drawn to.", "pool"),

		duration:   histogram("gen_ai_server_request_duration_seconds", "Time from a request's head to the last byte of its answer.", durationBuckets, version...),
		firstToken: histogram("gen_ai_server_time_to_first_token_seconds", "Time from a request's head to the first content of its streamed answer.", firstTokenBuckets, version...),
		perToken:   histogram("gen_ai_server_time_per_output_token_seconds", "Mean time per output token after the first, per request.", perTokenBuckets, version...),
		interToken: histogram("crossfade_inter_token_latency_seconds", "Time between two pieces of streamed content.", perTokenBuckets, version...),
		usage:      histogram("gen_ai_client_token_usage", "Tokens per request by type.", usageBuckets, append(version, "gen_ai_token_type")...),

		endpointDuration:   histogram("crossfade_endpoint_request_duration_seconds", "As gen_ai_server_request_duration_seconds, by endpoint.", durationBuckets, endpoint...),
		endpointFirstToken: histogram("crossfade_endpoint_time_to_first_token_seconds", "As gen_ai_server_time_to_first_token_seconds, by endpoint.", firstTokenBuckets, endpoint...),

		generation: prometheus.NewGauge(prometheus.GaugeOpts{Name: "crossfade_config_generation", Help: "Number of the configuration in effect."}),
		published:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "crossfade_config_published_timestamp_seconds", Help: "When the configuration in effect was published."}),
		buildTime: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "crossfade_config_build_duration_seconds",
			Help: "Time from an input's change to its publication, without the source's hold-off.", Buckets: buildBuckets}),
		problems: gauge("crossfade_config_problems", "Problems of the configuration in effect.", "severity"),
	}
	m.series = newSeriesCache(m)
	m.rollouts = newRolloutMetrics(r)
	r.MustRegister(m.requests, m.tokens, m.retries, m.excluded, m.mirrored, m.inflight, m.duration, m.firstToken, m.perToken,
		m.interToken, m.usage, m.endpointDuration, m.endpointFirstToken, m.generation, m.published, m.buildTime, m.problems,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Published records that v took effect, took after its input changed, and drops
// what was kept of endpoints that v lacks.
func (m *Metrics) Published(v *View, took time.Duration) {
	m.generation.Set(float64(v.Generation))
	m.published.Set(float64(v.Published.UnixNano()) / 1e9)
	m.buildTime.Observe(took.Seconds())
	counts := map[translate.Severity]int{translate.Error: 0, translate.Warning: 0}
	for _, p := range v.Problems {
		counts[p.Severity]++
	}
	for severity, n := range counts {
		m.problems.WithLabelValues(string(severity)).Set(float64(n))
	}
	m.series.retain(v.Pools)
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

package admin

import (
	"strconv"
	"time"

	"crossfade.dev/internal/gossip"
	"crossfade.dev/internal/scheduling"
	"github.com/prometheus/client_golang/prometheus"
)

// Picking shows what the scheduler keeps of each pool, and what gateways tell each
// other, as Prometheus metrics. It reads them when it is asked; choosing an endpoint
// costs nothing more for it.
//
// The label pool is namespace/name, as elsewhere: the version, where a split is
// between pools. Pools of one name, such as the ports of a Service, are added up.
type Picking struct {
	stats   func() []scheduling.PoolStats
	sharing func() gossip.Stats
}

// NewPicking makes the metrics of stats and, unless it is nil, of sharing.
func NewPicking(stats func() []scheduling.PoolStats, sharing func() gossip.Stats) *Picking {
	return &Picking{stats, sharing}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("crossfade_"+name, help, labels, nil)
}

// measure is one number of a pool.
type measure struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*scheduling.PoolStats) float64
}

// measures are the numbers of a pool that need no label but its name.
func measures() []measure {
	count := func(name, help string, of func(*scheduling.PoolStats) uint64) measure {
		return measure{describe("pool_"+name+"_total", help, "pool"), prometheus.CounterValue,
			func(p *scheduling.PoolStats) float64 { return float64(of(p)) }}
	}
	level := func(name, help string, of func(*scheduling.PoolStats) int) measure {
		return measure{describe("pool_"+name, help, "pool"), prometheus.GaugeValue,
			func(p *scheduling.PoolStats) float64 { return float64(of(p)) }}
	}
	return []measure{
		count("picks", "Endpoints chosen.", func(p *scheduling.PoolStats) uint64 { return p.Picks }),
		count("prompt_tokens", "Prompt tokens of the calls that endpoints were chosen for, estimated.", func(p *scheduling.PoolStats) uint64 { return p.PromptTokens }),
		count("expected_cached_tokens", "Of crossfade_pool_prompt_tokens_total, those that the chosen endpoint was thought to have cached.", func(p *scheduling.PoolStats) uint64 { return p.ExpectedCached }),
		count("reported_prompt_tokens", "Prompt tokens that answers reported.", func(p *scheduling.PoolStats) uint64 { return p.ReportedTokens }),
		count("reported_cached_tokens", "Of crossfade_pool_reported_prompt_tokens_total, those that engines had cached.", func(p *scheduling.PoolStats) uint64 { return p.CachedTokens }),
		count("ejections", "Times an endpoint was set aside because it failed.", func(p *scheduling.PoolStats) uint64 { return p.Ejections }),
		count("queued", "Calls that had to wait for a place.", func(p *scheduling.PoolStats) uint64 { return p.Queue.Queued }),
		count("queue_placed", "Calls that got a place after a wait.", func(p *scheduling.PoolStats) uint64 { return p.Queue.Placed }),
		count("queue_refused", "Calls refused because the queue was full or the wait too long.", func(p *scheduling.PoolStats) uint64 { return p.Queue.Refused }),
		{describe("pool_queue_wait_seconds_total", "Sum of the waits of the calls that got a place.", "pool"), prometheus.CounterValue,
			func(p *scheduling.PoolStats) float64 { return p.Queue.Seconds }},
		level("waiting", "Calls waiting for a place.", func(p *scheduling.PoolStats) int { return p.Waiting }),
		level("pending_tokens", "Prompt tokens in flight that engines have yet to compute, estimated.", func(p *scheduling.PoolStats) int {
			sum := 0
			for i := range p.Endpoints {
				sum += p.Endpoints[i].PendingTokens
			}
			return sum
		}),
		level("prefix_index_blocks", "Blocks in the prefix index, counted for each endpoint.", func(p *scheduling.PoolStats) int { return p.IndexBlocks }),
		level("prefix_index_bytes", "Memory of the prefix index.", func(p *scheduling.PoolStats) int { return p.IndexBytes }),
	}
}

// Descriptions of the rest.
func endpointsDesc() *prometheus.Desc {
	return describe("pool_endpoints", "Endpoints by state: trusted, probation (new or back), ejected, leaving.", "pool", "state")
}

func firstTokenDesc() *prometheus.Desc {
	return describe("pool_time_to_first_token_seconds", "Streams: from the choice of the endpoint to the first byte of the answer, by the prompt tokens that were thought not to be cached: up to a number, or more.", "pool", "uncached_tokens")
}

func sharingDesc(name, help string) *prometheus.Desc { return describe("gossip_"+name, help) }

// Describe sends nothing: which series there are depends on the pools.
func (p *Picking) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of what is known now.
func (p *Picking) Collect(out chan<- prometheus.Metric) {
	byName := map[string][]scheduling.PoolStats{}
	for _, s := range p.stats() {
		byName[s.Name] = append(byName[s.Name], s)
	}
	all := measures()
	for name, pools := range byName {
		for _, m := range all {
			sum := 0.0
			for i := range pools {
				sum += m.of(&pools[i])
			}
			out <- prometheus.MustNewConstMetric(m.desc, m.kind, sum, name)
		}
		collectEndpoints(out, name, pools)
		collectFirstTokens(out, name, pools)
	}
	if p.sharing != nil {
		collectSharing(out, p.sharing())
	}
}

func collectEndpoints(out chan<- prometheus.Metric, name string, pools []scheduling.PoolStats) {
	now := time.Now()
	counts := map[string]int{"trusted": 0, "probation": 0, "ejected": 0, "leaving": 0}
	for i := range pools {
		for j := range pools[i].Endpoints {
			counts[state(&pools[i].Endpoints[j], now)]++
		}
	}
	for s, n := range counts {
		out <- prometheus.MustNewConstMetric(endpointsDesc(), prometheus.GaugeValue, float64(n), name, s)
	}
}

func state(e *scheduling.EndpointStats, now time.Time) string {
	switch {
	case e.Leaving:
		return "leaving"
	case e.EjectedUntil.After(now):
		return "ejected"
	case e.Probation:
		return "probation"
	}
	return "trusted"
}

// collectFirstTokens sends a histogram for each bin of uncached tokens in which
// there were calls.
func collectFirstTokens(out chan<- prometheus.Metric, name string, pools []scheduling.PoolStats) {
	sums := map[int]scheduling.FirstTokens{} // by UpTo
	for i := range pools {
		for _, f := range pools[i].FirstTokens {
			sum := sums[f.UpTo]
			sum.Count, sum.Seconds = sum.Count+f.Count, sum.Seconds+f.Seconds
			for b, n := range f.Buckets {
				sum.Buckets[b] += n
			}
			sums[f.UpTo] = sum
		}
	}
	bounds := scheduling.FirstTokenBounds()
	for upTo, f := range sums {
		if f.Count == 0 {
			continue
		}
		buckets, below := make(map[float64]uint64, len(bounds)), uint64(0)
		for i, bound := range bounds {
			below += f.Buckets[i]
			buckets[bound] = below
		}
		label := "more"
		if upTo > 0 {
			label = strconv.Itoa(upTo)
		}
		out <- prometheus.MustNewConstHistogram(firstTokenDesc(), f.Count, f.Seconds, buckets, name, label)
	}
}

func collectSharing(out chan<- prometheus.Metric, s gossip.Stats) {
	out <- prometheus.MustNewConstMetric(sharingDesc("peers", "Other gateways that are told what is in flight here."), prometheus.GaugeValue, float64(s.Peers))
	for _, c := range []struct {
		name, help string
		n          uint64
	}{
		{"sent_total", "Messages that other gateways took.", s.Sent},
		{"failed_total", "Messages that other gateways did not take.", s.Failed},
		{"skipped_total", "Messages not sent, as the other gateway has failed or is slow.", s.Skipped},
		{"sent_bytes_total", "Bytes of the messages that other gateways took.", s.Bytes},
		{"received_total", "Messages of other gateways taken over.", s.Received},
		{"recalled_blocks_total", "Blocks of prompts that other gateways were asked for and remembered.", s.Recalled},
		{"refused_total", "Messages not taken over: from strangers, old or unreadable.", s.Refused},
	} {
		out <- prometheus.MustNewConstMetric(sharingDesc(c.name, c.help), prometheus.CounterValue, float64(c.n))
	}
}

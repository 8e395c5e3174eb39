package admin

import (
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/gossip"
	"crossfade.dev/internal/scheduling"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// pickedPools are two ports of one Service, which count as one pool, with a call
// of 300 uncached tokens that had its first token after 30 ms, and one after 2 min.
func pickedPools() []scheduling.PoolStats {
	first := scheduling.FirstTokens{UpTo: 1024, Count: 1, Seconds: 0.03}
	first.Buckets[2] = 1
	late := scheduling.FirstTokens{Count: 1, Seconds: 120}
	return []scheduling.PoolStats{
		{ID: "Service/chat/p:80", Name: "chat/p", Picks: 3, PromptTokens: 900, ExpectedCached: 600, ReportedTokens: 800, CachedTokens: 500,
			FirstTokens: []scheduling.FirstTokens{{UpTo: 256}, first, late}, Waiting: 2, Ejections: 1,
			Queue: scheduling.Queued{Queued: 5, Placed: 2, Refused: 1, Seconds: 1.5}, IndexBlocks: 10, IndexBytes: 400,
			Endpoints: []scheduling.EndpointStats{
				{Address: "a", PendingTokens: 70}, {Address: "b", PendingTokens: 7, Probation: true},
				{Address: "c", Probation: true, EjectedUntil: time.Now().Add(time.Hour)}, {Address: "d", Leaving: true},
			}},
		{ID: "Service/chat/p:81", Name: "chat/p", Picks: 4, FirstTokens: []scheduling.FirstTokens{first}, Endpoints: []scheduling.EndpointStats{{Address: "e"}}},
	}
}

func TestPickingMetrics(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewPicking(pickedPools, func() gossip.Stats { return gossip.Stats{Peers: 2, Sent: 9} }))
	want := `
# HELP crossfade_gossip_peers Other gateways that are told what is in flight here.
# TYPE crossfade_gossip_peers gauge
crossfade_gossip_peers 2
# HELP crossfade_gossip_sent_total Messages that other gateways took.
# TYPE crossfade_gossip_sent_total counter
crossfade_gossip_sent_total 9
# HELP crossfade_pool_endpoints Endpoints by state: trusted, probation (new or back), ejected, leaving.
# TYPE crossfade_pool_endpoints gauge
crossfade_pool_endpoints{pool="chat/p",state="ejected"} 1
crossfade_pool_endpoints{pool="chat/p",state="leaving"} 1
crossfade_pool_endpoints{pool="chat/p",state="probation"} 1
crossfade_pool_endpoints{pool="chat/p",state="trusted"} 2
# HELP crossfade_pool_expected_cached_tokens_total Of crossfade_pool_prompt_tokens_total, those that the chosen endpoint was thought to have cached.
# TYPE crossfade_pool_expected_cached_tokens_total counter
crossfade_pool_expected_cached_tokens_total{pool="chat/p"} 600
# HELP crossfade_pool_pending_tokens Prompt tokens in flight that engines have yet to compute, estimated.
# TYPE crossfade_pool_pending_tokens gauge
crossfade_pool_pending_tokens{pool="chat/p"} 77
# HELP crossfade_pool_picks_total Endpoints chosen.
# TYPE crossfade_pool_picks_total counter
crossfade_pool_picks_total{pool="chat/p"} 7
# HELP crossfade_pool_queue_wait_seconds_total Sum of the waits of the calls that got a place.
# TYPE crossfade_pool_queue_wait_seconds_total counter
crossfade_pool_queue_wait_seconds_total{pool="chat/p"} 1.5
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "crossfade_gossip_peers", "crossfade_gossip_sent_total",
		"crossfade_pool_endpoints", "crossfade_pool_expected_cached_tokens_total", "crossfade_pool_pending_tokens",
		"crossfade_pool_picks_total", "crossfade_pool_queue_wait_seconds_total"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// Times are a histogram for each bin of uncached tokens that has any.
func TestFirstTokenHistogram(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewPicking(pickedPools, nil))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "crossfade_pool_time_to_first_token_seconds" {
			continue
		}
		if n := len(f.Metric); n != 2 {
			t.Fatalf("%d histograms, want 2", n)
		}
		for _, m := range f.Metric {
			bin, h := m.Label[1].GetValue(), m.Histogram
			switch bin {
			case "1024":
				if h.GetSampleCount() != 2 || h.Bucket[1].GetCumulativeCount() != 0 || h.Bucket[2].GetCumulativeCount() != 2 || h.Bucket[3].GetCumulativeCount() != 2 {
					t.Errorf("up to 1024 tokens: %v", h)
				}
			case "more":
				if h.GetSampleCount() != 1 || h.Bucket[len(h.Bucket)-1].GetCumulativeCount() != 0 || h.GetSampleSum() != 120 {
					t.Errorf("more tokens: %v", h)
				}
			default:
				t.Errorf("a histogram of %s tokens", bin)
			}
		}
		return
	}
	t.Error("no histogram")
}

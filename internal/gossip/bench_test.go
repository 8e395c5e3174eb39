package gossip

import (
	"fmt"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/scheduling"
)

// BenchmarkExchange is one news written, read and merged, without the network:
// requests in flight at each endpoint, and so many blocks that are new.
func BenchmarkExchange(b *testing.B) {
	for _, c := range []struct{ endpoints, blocks int }{{10, 0}, {1000, 0}, {10, 3200}, {1000, 3200}} {
		b.Run(fmt.Sprintf("endpoints=%d/blocks=%d", c.endpoints, c.blocks), func(b *testing.B) {
			pool, now := poolOf(c.endpoints), time.Now()
			hears := scheduling.New(scheduling.Options{})
			if _, err := hears.Pick(b.Context(), &scheduling.Call{Request: &llm.Request{}, Model: "m", At: now}, pool); err != nil {
				b.Fatal(err)
			}
			p := scheduling.PoolNews{ID: pool.ID}
			for _, e := range pool.Endpoints {
				p.Endpoints = append(p.Endpoints, scheduling.EndpointNews{
					Address: e.Address, Requests: 9, Prefills: 1, Context: 70_000, KV: 50_000,
					Prompts: []scheduling.PromptNews{{Sent: 20 * time.Millisecond, Tokens: 3000}}, FirstToken: 50 * time.Millisecond,
				})
			}
			blocks := make([]uint64, c.blocks)
			p.Endpoints[0].Blocks = blocks
			size, hash := 0, uint64(1)
			b.ReportAllocs()
			for n := uint64(0); b.Loop(); n++ {
				for i := range blocks {
					hash = hash*6364136223846793005 + 1442695040888963407
					blocks[i] = hash ^ hash>>32
				}
				body, err := appendMessage(nil, &message{n, scheduling.News{Origin: "a", Pools: []scheduling.PoolNews{p}}})
				if err != nil {
					b.Fatal(err)
				}
				m, err := parseMessage(body)
				if err != nil {
					b.Fatal(err)
				}
				hears.Merge(m.news, now)
				size = len(body)
			}
			b.ReportMetric(float64(size), "B/news")
		})
	}
}

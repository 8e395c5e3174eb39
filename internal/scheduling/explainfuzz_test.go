package scheduling

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
)

// FuzzExplained: whatever endpoints, answers and other gateways say, costs are numbers
// of seconds, so that decisions can be compared, shown and printed.
func FuzzExplained(f *testing.F) {
	f.Add("m", uint16(4000), 3, 20, 0.7, 1000, 16, 2, 400, 300, 200, 5)
	f.Add("one", uint16(65535), 1<<30, 1<<30, 1.0, 1<<30, 1<<30, 1<<30, 1<<62, 1<<62, 1<<62, 1<<30)
	f.Add("", uint16(0), 0, 0, 0.0, 0, 0, 0, 0, 0, 0, -1)
	f.Fuzz(func(t *testing.T, model string, size uint16, waiting, running int, kv float64, blocks, blockSize, adapters, prompt, completion, cached, others int) {
		if strings.ContainsAny(model, "\r\n") { // requests with such a model are refused
			return
		}
		most := func(n int) int { return max(0, min(n, 1<<30)) } // what scrapes are cut to
		s := New(Options{Queue: QueueOptions{Calls: 3}})
		pool, now := testPool("p", "a", "b"), time.Unix(1000, 0)
		for i := range 6 {
			call := &Call{Model: model, At: now, Explain: true, Request: &llm.Request{Prompt: make([]byte, size), Stream: i%2 == 0}}
			d, w, _ := s.Offer(call, pool, func(Decision, error) {})
			s.Observe("a", Metrics{
				At: now, Waiting: most(waiting), Running: most(running), KVUsage: max(0, min(1, kv)), Blocks: most(blocks),
				BlockSize: most(blockSize), MaxAdapters: most(adapters), ActiveAdapters: []string{"one"}, Adapters: []string{model, "one"},
			})
			s.Merge(News{Origin: "o", Pools: []PoolNews{{ID: "p", Endpoints: []EndpointNews{{
				Address: "b", Requests: others, Prefills: others, Pending: prompt, Context: prompt, KV: completion}}}}}, now)
			now = now.Add(1100 * time.Millisecond)
			if w == nil {
				d.Reservation.FirstToken(now)
				d.Reservation.Tokens(completion)
				d.Reservation.End(EndResult{At: now, Usage: llm.Usage{Known: true, PromptTokens: prompt, CompletionTokens: completion, CachedTokens: cached}})
			}
		}
		for _, x := range s.Explained() {
			if lines := strings.Count(x.String(), "\n"); lines != 1+len(x.Candidates) {
				t.Errorf("%d lines for %d candidates:\n%s", lines, len(x.Candidates), x)
			}
			for _, c := range x.Candidates {
				if !(c.Seconds >= 0 && c.Seconds < math.Inf(1)) || c.Cached < 0 {
					t.Errorf("%+v", c)
				}
			}
		}
		if _, err := json.Marshal([]any{s.Explained(), s.Stats()}); err != nil {
			t.Error(err)
		}
		if err := soundScheduler(s); err != nil {
			t.Error(err)
		}
	})
}

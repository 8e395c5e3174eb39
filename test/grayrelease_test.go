package test

import (
	"strings"
	"sync"
	"testing"
)

// count sends n requests, several at a time, and counts what key says of the
// answers.
func count(t *testing.T, g *gateway, n int, model, question string, key func(answer) string) map[string]int {
	t.Helper()
	var mu sync.Mutex
	counts := map[string]int{}
	var group sync.WaitGroup
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	for range 16 {
		group.Go(func() {
			for range work {
				a, err := g.chat(model, question)
				if err != nil || a.status != 200 {
					t.Errorf("%s: status %d, %v, %s", model, a.status, err, a.Error.Message)
				}
				mu.Lock()
				counts[key(a)]++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return counts
}

// speaker is the version that an answer of the base model's pools names.
func speaker(a answer) string {
	for _, name := range []string{"Qwen-2.5-7B-Instruct", "DeepSeek-R1-Distill-Qwen-7B"} {
		if strings.Contains(a.text(), name) {
			return name
		}
	}
	return a.text()
}

// The two scenarios of the gray-release guide, from our example and from the
// guide's manifests as they are.
func TestGrayRelease(t *testing.T) {
	for _, from := range []string{"../examples/gray-release", "testdata/guide"} {
		t.Run(from, func(t *testing.T) {
			g := start(t, from)
			old, fresh := "Qwen-2.5-7B-Instruct", "DeepSeek-R1-Distill-Qwen-7B"
			counts := count(t, g, 1000, "mymodel", "Who are you?", speaker)
			if counts[old] != 900 || counts[fresh] != 100 {
				t.Errorf("base models: %v, want 900 %s and 100 %s", counts, old, fresh)
			}
			counts = count(t, g, 1000, "travelhelper", "I just arrived in Beijing. Can you recommend a tourist spot?",
				func(a answer) string { return a.Model })
			if counts["travel-helper-v1"] != 900 || counts["travel-helper-v2"] != 100 {
				t.Errorf("adapters: %v, want 900 travel-helper-v1 and 100 travel-helper-v2", counts)
			}
		})
	}
}

// travelhelper has no adapter in pool v2, so the 90/10 split of the route must
// not send it there: see docs/decisions/0002.
func TestKnownModelsNarrowTheDraw(t *testing.T) {
	g := start(t, "testdata/guide")
	count(t, g, 200, "travelhelper", "Hello", func(answer) string { return "" })
	metrics := g.adminGet(t, "/metrics")
	if want := `crossfade_pool_excluded_total{gen_ai_request_model="travelhelper",route="default/inference-route/0"} 200`; !strings.Contains(metrics, want) {
		t.Errorf("metrics lack %s", want)
	}
	if a, err := g.chat("nobody-serves-this", "Hello"); err != nil || a.status != 404 || a.Error.Code != "model_not_found" {
		t.Errorf("unknown model: %d %q, %v", a.status, a.Error.Code, err)
	}
}

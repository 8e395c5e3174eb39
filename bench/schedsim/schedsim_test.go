package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"crossfade.dev/internal/scheduling"
)

// One seed gives one result, to the last bit, for every policy; another seed gives
// another.
func TestSeedsDecide(t *testing.T) {
	byName := map[string]*workload{}
	for _, w := range workloads() {
		byName[w.name] = w
	}
	for _, m := range policies(scheduling.Options{Queue: scheduling.QueueOptions{Calls: 64}}) {
		w := byName["chat"]
		if m.name == "crossfade" {
			w = byName["lora"]
		}
		run := func(seed uint64) result { return simulate(w, w.loads[0], 5, seed, m) }
		if a, b := run(3), run(3); a != b {
			t.Errorf("%s: %+v, then %+v", m.name, a, b)
		}
		if a, b := run(3), run(4); a == b {
			t.Errorf("%s: two seeds gave the same", m.name)
		}
	}
}

// policyFunc chooses without learning.
type policyFunc func(*request) int

func (f policyFunc) pick(r *request) int { return f(r) }
func (policyFunc) first(*request)        {}
func (policyFunc) tokens(*request)       {}
func (policyFunc) done(*request)         {}
func (policyFunc) scraped(int, scrape)   {}

// always sends everything to the first endpoint.
func always(*world, int) policy { return policyFunc(func(*request) int { return 0 }) }

// tiny is an engine whose numbers can be reckoned by hand: a step takes a second, a
// prompt token a tenth.
func tiny() constants {
	return constants{Step: 1, Prefill: 0.1, KVTokens: 640, StepTokens: 100, Sequences: 2, LoRALoad: 5}
}

// play runs requests on one engine.
func play(c constants, requests ...*request) *world {
	w := newWorld(setup{engine: c, endpoints: 1, makePolicy: always}, 1)
	w.run(requests)
	return w
}

func TestEngineByHand(t *testing.T) {
	g := &generator{Rand: rand.New(rand.NewPCG(1, 1))}
	near := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s at %g s, want %g", what, got, want)
		}
	}
	// A prompt of 150 is computed in chunks of 100 and 50; its second token comes a
	// step later.
	a := g.add(0, 2, g.unique(150))
	play(tiny(), a)
	near("first token", a.firstAt, 11+6)
	near("end", a.doneAt, 11+6+1)

	// The same prompt again finds its full blocks: 128 of 150 tokens.
	same := g.unique(150)
	a, b := g.add(0, 1, same), g.add(100, 1, same)
	w := play(tiny(), a, b)
	near("first token of the second", b.firstAt, 100+1+2.2)
	if b.cachedAtStart != 128 || w.engines[0].cache.hits != 128 {
		t.Errorf("%d tokens found cached, want 128", b.cachedAtStart)
	}

	// Two may run; the third waits for an end.
	a, b, c := g.add(0, 3, g.unique(10)), g.add(0, 5, g.unique(10)), g.add(0, 1, g.unique(10))
	play(tiny(), a, b, c)
	if c.firstAt <= a.doneAt || c.firstAt > b.doneAt {
		t.Errorf("the third began at %g, the first ended at %g, the second at %g", c.firstAt, a.doneAt, b.doneAt)
	}

	// Ten blocks: two prompts of four and answers that grow by three each do not fit,
	// so the later one is put off and computed again.
	a, b = g.add(0, 150, g.unique(256)), g.add(0, 150, g.unique(256))
	w = play(tiny(), a, b)
	if w.engines[0].preemptions == 0 || a.doneAt >= b.doneAt {
		t.Errorf("%d preemptions; ends at %g and %g", w.engines[0].preemptions, a.doneAt, b.doneAt)
	}

	// One slot: the adapter that is there is served, the other waits and is loaded.
	k := tiny()
	k.LoRASlots = 1
	a, b = g.add(0, 4, g.unique(10)), g.add(0, 1, g.unique(10))
	a.adapter, b.adapter = "x", "y"
	w = play(k, a, b)
	if w.engines[0].loads != 2 || b.firstAt <= a.doneAt+k.LoRALoad {
		t.Errorf("%d loads; the first ended at %g, the second began at %g", w.engines[0].loads, a.doneAt, b.firstAt)
	}

	// Two slots: x was loaded first but has been in use until later, so y gives way to z.
	k.LoRASlots = 2
	var all []*request
	for _, r := range []struct {
		at      float64
		output  int
		adapter string
	}{{0, 40, "x"}, {1, 1, "y"}, {100, 1, "z"}, {200, 1, "x"}} {
		all = append(all, g.add(r.at, r.output, g.unique(10)))
		all[len(all)-1].adapter = r.adapter
	}
	if w = play(k, all...); w.engines[0].loads != 3 {
		t.Errorf("%d loads", w.engines[0].loads)
	}
}

// Whatever is asked of them, engines keep within their room, answer everything
// once, and hold nothing at the end.
func TestEngineInvariants(t *testing.T) {
	for seed := range uint64(10) {
		g := &generator{Rand: rand.New(rand.NewPCG(seed, 7))}
		c := tiny()
		c.KVTokens, c.Sequences, c.LoRASlots = 64*(12+g.IntN(40)), 1+g.IntN(8), g.IntN(3)
		for range 60 {
			r := g.add(30*g.Float64(), 1+g.IntN(60), shared(9, g.IntN(3), 64*g.IntN(4)), g.unique(1+g.IntN(300)))
			if g.IntN(2) == 0 {
				r.adapter = fmt.Sprint(g.IntN(4))
			}
		}
		w := newWorld(setup{engine: c, endpoints: 1, makePolicy: always}, seed)
		e := w.engines[0]
		check := func() {
			if k := &e.cache; k.used < 0 || k.idle < 0 || k.used+k.idle > k.total || len(e.running) > c.Sequences {
				t.Fatalf("seed %d at %g: %d used and %d idle of %d blocks, %d running", seed, w.now, k.used, k.idle, k.total, len(e.running))
			}
			if n := len(e.activeAdapters()); c.LoRASlots > 0 && n > c.LoRASlots {
				t.Fatalf("seed %d at %g: %d adapters in %d slots", seed, w.now, n, c.LoRASlots)
			}
		}
		for at := range 500 {
			w.after(2*float64(at), check)
		}
		done := w.run(g.requests)
		if len(done) != len(g.requests) || e.cache.used != 0 {
			t.Errorf("seed %d: %d of %d answered, %d blocks held", seed, len(done), len(g.requests), e.cache.used)
		}
		for _, r := range g.requests {
			if r.generated != r.output || !(r.at < r.firstAt && r.firstAt <= r.doneAt) {
				t.Errorf("seed %d: %d tokens of %d, from %g by %g to %g", seed, r.generated, r.output, r.at, r.firstAt, r.doneAt)
			}
		}
	}
}

// Each rival on a case that its formula decides. Endpoint 0 has the prompt cached
// and a request in flight; 1 has nothing of either, and 2 has two requests.
func TestRivalsByHand(t *testing.T) {
	for _, c := range []struct {
		name string
		make func(*world, int) policy
		// tokens of the new prompt, of which so many are those cached at 0
		prompt, cached int
		want           int
	}{
		{"least-request", newLeastRequest, 640, 640, 1},
		// Prefix 3 outweighs free KV; with nothing cached the free cache decides.
		{"llm-d 3/2/2 with a match", newBlend, 640, 640, 0},
		{"llm-d 3/2/2 without", newBlend, 640, 0, 1},
		{"llm-d optimized with 80 %", newOptimized, 640, 512, 0},
		{"llm-d optimized with less", newOptimized, 640, 448, 1},
		{"SGLang above its threshold", newCacheAware, 640, 256, 0},
		{"SGLang below", newCacheAware, 640, 128, 1},
		// 640 of its own at 1 in two counts: 10 to compute and 11 in use; at 0 nothing
		// to compute but a token, and 11 in use that the prompt shares.
		{"Dynamo with a match", newDynamo, 640, 640, 0},
		{"Dynamo without", newDynamo, 640, 0, 1},
		// (128+64) × 2 at 0 is less than 640 × 1 at 1.
		{"LMetric with most of it", newLMetric, 640, 576, 0},
		{"LMetric with a third", newLMetric, 640, 192, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(setup{engine: qwen32B(), endpoints: 3, makePolicy: c.make}, 1)
			g := &generator{Rand: rand.New(rand.NewPCG(1, 1))}
			warm := text{id: 77 << 8, tokens: c.cached}
			sent := func(i int, r *request) {
				r.endpoint = i
				switch p := w.policies[0].(type) {
				case *leastRequest:
					p.enter(r, i, 0)
				case *blend:
					p.index.add(r, i)
					p.enter(r, i, 0)
				case *optimized:
					p.index.add(r, i)
					p.enter(r, i, 0)
				case *cacheAware:
					p.index.add(r, i)
					p.enter(r, i, 0)
				case *dynamo:
					p.enter(r, i, 0)
					p.first(r)
				case *lmetric:
					p.enter(r, i, 0)
					p.first(r)
				}
				cached := &w.engines[i].cache
				cached.admit(r, 0, r.prompt)
			}
			sent(0, g.add(0, 1, warm, g.unique(64)))
			sent(2, g.add(0, 1, g.unique(1280)))
			sent(2, g.add(0, 1, g.unique(1280)))
			for i, e := range w.engines {
				w.policies[0].scraped(i, scrape{running: len(e.running), usage: e.usage()})
			}
			r := g.add(0, 1, warm, g.unique(c.prompt-c.cached+1))
			if got := w.policies[0].pick(r); got != c.want {
				t.Errorf("went to %d, want %d", got, c.want)
			}
		})
	}
}

func TestRoundRobinTakesTurns(t *testing.T) {
	w := newWorld(setup{engine: qwen32B(), endpoints: 3, gateways: 2, makePolicy: newRoundRobin}, 1)
	g := &generator{Rand: rand.New(rand.NewPCG(1, 1))}
	var got []int
	for range 4 {
		got = append(got, w.policies[1].pick(g.add(0, 1, g.unique(10))))
	}
	if want := []int{1, 2, 0, 1}; !reflect.DeepEqual(got, want) {
		t.Errorf("the second gateway took %v, want %v", got, want)
	}
}

// LoRA affinity of llm-d: runs there, free slot, waits there, none of these.
func TestBlendAffinity(t *testing.T) {
	e := qwen32B()
	e.LoRASlots = 2
	w := newWorld(setup{engine: e, endpoints: 1, makePolicy: newBlend}, 1)
	p := w.policies[0].(*blend)
	for _, c := range []struct {
		m    scrape
		want float64
	}{
		{scrape{active: []string{"x", "y"}}, 1},
		{scrape{active: []string{"y"}}, 0.8},
		{scrape{active: []string{"y", "z"}, queued: []string{"x"}}, 0.6},
		{scrape{active: []string{"y", "z"}}, 0},
	} {
		if got := p.affinity(&request{adapter: "x"}, &c.m); got != c.want {
			t.Errorf("%+v: %g, want %g", c.m, got, c.want)
		}
	}
}

func TestInterval(t *testing.T) {
	m, half := interval([]float64{1, 2, 3})
	if m != 2 || math.Abs(half-4.30/math.Sqrt(3)) > 1e-9 {
		t.Errorf("%g ± %g", m, half)
	}
	if m, half := interval([]float64{5}); m != 5 || half != 0 {
		t.Errorf("of one: %g ± %g", m, half)
	}
}

// table is two policies on one load, with two seeds.
func table() []row {
	of := func(policy string, ttft, e2e float64) row {
		return row{Workload: "chat", Rate: 16, Policy: policy, Seconds: 10, Seeds: []uint64{1, 2},
			Results: []result{{TTFT90: ttft, E2EMean: e2e}, {TTFT90: 2 * ttft, E2EMean: e2e}}}
	}
	return []row{of("Dynamo", 0.1, 5), of("crossfade", 0.11, 4)}
}

func TestPrintTable(t *testing.T) {
	var out bytes.Buffer
	printTable(&out, table())
	want := `| load, requests/s | Dynamo | crossfade |
| --- | ---: | ---: |
| chat 16 | 150 ± 636 / 5.00 ± 0.00 | 165 ± 699 / 4.00 ± 0.00 |

chat 16: TTFT p90 is +10 % (+10 to +10) of Dynamo's
Dynamo: TTFT p90 × 1.000, E2E × 1.250 of the best
crossfade: TTFT p90 × 1.100, E2E × 1.000 of the best

`
	if got, _, _ := strings.Cut(out.String(), "| load, requests/s | policy"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What is saved is loaded again, seed by seed; of one seed the later counts.
func TestSaveAndLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rows")
	want := table()
	for _, r := range want {
		for i := range r.Seeds {
			part := r
			part.Seeds, part.Results = r.Seeds[i:i+1], r.Results[i:i+1]
			for range 2 {
				if err := part.save(file); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	got, err := load(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: got %+v, want %+v", err, got, want)
	}
}

// An adapter is on few endpoints: of 60 with Zipf's popularity on 32 slots, a cache of
// one copy each that forgets the least recently used would load one for every 4.8
// requests. Copies of popular ones, which spread their load, cost a little more.
func TestAdapterLoads(t *testing.T) {
	for _, w := range workloads() {
		if w.name != "lora" {
			continue
		}
		g := generate(w, w.loads[1], 60, 1)
		policies := policies(scheduling.Options{})
		r := simulate(w, w.loads[1], 60, 1, policies[len(policies)-1])
		if share := r.Loads / float64(len(g)); share > 0.3 {
			t.Errorf("%.2f loads for each of %d requests", share, len(g))
		}
	}
}

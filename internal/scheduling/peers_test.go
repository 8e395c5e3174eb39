package scheduling

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// gateways are schedulers of one pool that tell each other at once.
type gateways struct {
	t    *testing.T
	all  []*Scheduler
	pool *routing.Pool
	now  time.Time
}

func newGateways(t *testing.T, n, endpoints int) *gateways {
	g := &gateways{t: t, pool: &routing.Pool{ID: "p", Inference: true}, now: time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)}
	for i := range endpoints {
		g.pool.Endpoints = append(g.pool.Endpoints, routing.Endpoint{Address: fmt.Sprintf("10.0.0.%d:8000", i+1)})
	}
	for range n {
		g.join()
	}
	return g
}

// join adds a gateway that has had no call.
func (g *gateways) join() *Scheduler {
	s := New(Options{Share: true, Rand: rand.New(rand.NewPCG(1, uint64(len(g.all))))})
	s.Retain(&routing.Snapshot{Pools: map[string]*routing.Pool{g.pool.ID: g.pool}})
	g.all = append(g.all, s)
	return s
}

func (g *gateways) pick(s *Scheduler, prompt []byte) Decision {
	g.t.Helper()
	d, err := s.Pick(g.t.Context(), &Call{Request: &llm.Request{Prompt: prompt, Stream: true}, Model: "m", At: g.now}, g.pool)
	if err != nil {
		g.t.Fatal(err)
	}
	return d
}

// tell makes everybody hear the news of one, and returns it.
func (g *gateways) tell(from *Scheduler) (told EndpointNews) {
	news := from.News(fmt.Sprint(slices.Index(g.all, from)), g.now)
	for _, s := range g.all {
		if s != from {
			s.Merge(news, g.now)
		}
	}
	for _, p := range news.Pools {
		for _, e := range p.Endpoints {
			told = e
		}
	}
	return told
}

func text(word string, blocks int) []byte {
	return bytes.Repeat([]byte(fmt.Sprintf("%16s", word)), blocks*blockBytes/16)
}

// What one gateway goes on asking for stays known to the others, which hear of a
// block again when it is asked for again, and not each time.
func TestPeersKeepWhatOneAsksFor(t *testing.T) {
	g := newGateways(t, 2, 1)
	a, b := g.all[0], g.all[1]
	for i, want := range []int{100, 100, 0} {
		g.pick(a, text("guide", 100)).Reservation.End(EndResult{At: g.now})
		if n := len(g.tell(a).Blocks); n != want {
			t.Errorf("%d blocks are told of after call %d, want %d", n, i+1, want)
		}
	}
	index := &b.pools["p"].prefixes
	index.resize(0, 150)
	index.add(appendBlockHashes(nil, "m", "", text("other", 100)), 0)
	lengths := make([]int32, 64)
	index.match(appendBlockHashes(nil, "m", "", text("guide", 100)), lengths)
	if lengths[0] != 100 {
		t.Errorf("the other remembers %d blocks of 100 that were asked for twice", lengths[0])
	}
}

// A pool is known to a gateway before its first call: others tell of it.
func TestNewsBeforeTheFirstCall(t *testing.T) {
	g := newGateways(t, 2, 8)
	d := g.pick(g.all[0], text("guide", 100))
	g.tell(g.all[0])
	g.now = g.now.Add(time.Second)
	if got := g.pick(g.all[1], text("guide", 100)); got.Endpoint.Address != d.Endpoint.Address {
		t.Errorf("one sends the prompt to %s, the other to %s", d.Endpoint.Address, got.Endpoint.Address)
	}
}

// A gateway that begins routes to the endpoint that another has warmed, whatever
// number of pages it takes to learn it, and keeps what it knows better.
func TestRecall(t *testing.T) {
	g := newGateways(t, 1, 8)
	old := g.all[0]
	warmed := map[string]string{}
	for i := range 40 {
		prompt := fmt.Sprint("guide", i)
		d := g.pick(old, text(prompt, 300))
		warmed[prompt] = d.Endpoint.Address
		g.now = g.now.Add(time.Second)
		d.Reservation.End(EndResult{At: g.now, Usage: llm.Usage{Known: true, PromptTokens: 19_200, CompletionTokens: 900}})
	}
	fresh := g.join()
	lacking := fresh.Lacking()
	if len(lacking) != 1 {
		t.Fatalf("lacking are %v, want the pool", lacking)
	}
	pages := 0
	for page, more := lacking[0], true; more; pages++ {
		n := old.Remember(page)
		fresh.Recall(n)
		page, more = page.After(&n)
	}
	if pages < 2 {
		t.Errorf("%d pages for 12,000 blocks", pages)
	}
	fresh.Recalled("p")
	if got := fresh.Lacking(); len(got) > 0 {
		t.Errorf("it still lacks %v", got)
	}
	for prompt, want := range warmed {
		d := g.pick(fresh, text(prompt, 300))
		if d.Endpoint.Address != want {
			t.Errorf("%s goes to %s, want %s", prompt, d.Endpoint.Address, want)
		}
		d.Reservation.End(EndResult{At: g.now})
	}
}

// Of endpoints with much to remember each has its share, and a page its bound.
func TestRecallIsBounded(t *testing.T) {
	g := newGateways(t, 1, 3)
	s := g.all[0]
	p := s.pools["p"]
	blocks := make([]uint64, 5000)
	for slot := range 3 {
		p.prefixes.resize(slot, 9000)
		for range 2 {
			for i := range blocks {
				blocks[i] = rand.Uint64() | 1
			}
			p.prefixes.add(blocks, slot)
		}
	}
	page, got := Page{Pool: "p", Each: 6000}, map[string]int{}
	for more := true; more; {
		n, sum := s.Remember(page), 0
		for _, e := range n.Endpoints {
			got[e.Address] += len(e.Blocks)
			sum += len(e.Blocks)
		}
		if sum > pageBlocks {
			t.Errorf("%d blocks on a page", sum)
		}
		page, more = page.After(&n)
	}
	for _, e := range g.pool.Endpoints {
		if got[e.Address] != 6000 {
			t.Errorf("%d blocks of %s, want 6000", got[e.Address], e.Address)
		}
	}
	for _, page := range []Page{{}, {Pool: "p"}, {Pool: "p", Each: math.MaxInt, Skip: math.MaxInt}, {Pool: "p", Each: -1, Skip: -1}, {Pool: "q", Each: 9}} {
		for _, e := range s.Remember(page).Endpoints {
			if page.Skip < math.MaxInt || e.Address == "" {
				t.Errorf("%+v has blocks of %s", page, e.Address)
			}
		}
	}
	circle := PoolNews{ID: "p", Endpoints: []EndpointNews{{Address: "a", Blocks: blocks}}}
	if _, more := (Page{Pool: "p", Endpoint: "b"}).After(&circle); more {
		t.Error("an answer that goes back is followed")
	}
}

// An engine takes prompts in the order in which they came, whoever sent them.
func TestProgressOfAll(t *testing.T) {
	e := newEngine(factors{1, 1, 1})
	rate := e.prefillRate
	ahead := func(begun, told, seconds float64) toldPrompt {
		return toldPrompt{begun: begun, told: told, tokens: seconds * rate}
	}
	for _, c := range []struct {
		name   string
		ahead  []toldPrompt
		own    float64 // seconds that our head takes, sent at 1
		done   float64
		now    float64
		passed float64 // seconds of work, want
	}{
		{"ours alone", nil, 2, 0, 2, 1},
		{"ours alone, behind one of ours", nil, 2, 1.5, 2, 0.5},
		{"ours, overdue", nil, 1, 0, 9, almost},
		{"theirs before ours", []toldPrompt{ahead(0, 1, 5)}, 2, 0, 2, 2},
		{"ours before theirs", []toldPrompt{ahead(1.5, 1.5, 5)}, 2, 0, 2, 1},
		{"theirs, then ours", []toldPrompt{ahead(0, 1, 2)}, 2, 0, 3, 3},
		{"theirs was slower than that", []toldPrompt{ahead(0, 2.5, 2)}, 2, 0, 3, 2.5},
		{"two of theirs, then ours", []toldPrompt{ahead(0, 0, 1), ahead(0.5, 0.5, 1)}, 2, 0, 3, 3},
		{"theirs alone, behind one of ours", []toldPrompt{ahead(0, 0, 3)}, 0, 1, 2, 1},
	} {
		l := load{peersUntil: 100, others: true, ahead: c.ahead, head: c.own * rate, begun: 1, done: c.done}
		l.own.pending = l.head
		for _, a := range c.ahead {
			l.peers.pending += a.tokens
		}
		before := l.own.pending + l.peers.pending
		var w work
		l.at(c.now, &e, &w)
		if got := (before - w.pending) / rate; math.Abs(got-c.passed) > 1e-6 {
			t.Errorf("%s: %.3f s of work are done, want %.3f", c.name, got, c.passed)
		}
	}
}

// Prompts are told one by one, with how long ago they were sent, and of very many
// the rest in a sum; what was computed is told once.
func TestNewsOfPrompts(t *testing.T) {
	g := newGateways(t, 2, 1)
	a, b := g.all[0], g.all[1]
	first := g.pick(a, text("first", 40))
	g.now = g.now.Add(time.Second)
	for range newsPrompts + 5 {
		g.pick(a, nil)
	}
	n := g.tell(a)
	if len(n.Prompts) != newsPrompts || n.Prompts[0].Sent != time.Second || n.Prompts[1].Sent != 0 || n.Prefills != newsPrompts+6 {
		t.Errorf("%d prompts of %d, the first two %v", len(n.Prompts), n.Prefills, n.Prompts[:2])
	}
	first.Reservation.FirstToken(g.now)
	g.now = g.now.Add(time.Second)
	if n = g.tell(a); n.Computed == 0 || n.FirstToken != time.Second {
		t.Errorf("computed %d, the last first token %s ago", n.Computed, n.FirstToken)
	}
	if got := b.pools["p"].endpoints[g.pool.Endpoints[0].Address].computed; got != float64(n.Computed) {
		t.Errorf("the other counts %v computed, want %d", got, n.Computed)
	}
	if n = g.tell(a); n.Computed != 0 {
		t.Errorf("computed %d again", n.Computed)
	}
}

// Hashes that no prompt has are not taken over: the index keeps them for other
// purposes.
func TestNewsOfNoBlocks(t *testing.T) {
	g := newGateways(t, 1, 1)
	s := g.all[0]
	n := PoolNews{ID: "p", Endpoints: []EndpointNews{{Address: g.pool.Endpoints[0].Address, Blocks: []uint64{0, 7 << 32, 7}, Answers: math.MaxInt, Prefills: -1}}}
	s.Recall(n)
	s.Merge(News{Origin: "x", Pools: []PoolNews{n}}, g.now)
	p := s.pools["p"]
	used := 0
	for i := range p.prefixes.shards {
		used += p.prefixes.shards[i].used
	}
	if used > 1 {
		t.Errorf("%d blocks in the table, want the one that can be", used)
	}
}

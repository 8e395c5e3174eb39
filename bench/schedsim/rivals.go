package main

import "slices"

// roundRobin takes endpoints in turn.
type roundRobin struct {
	books
	next int
}

func newRoundRobin(w *world, gateway int) policy {
	return &roundRobin{books: newBooks(w), next: gateway}
}

func (p *roundRobin) pick(r *request) int {
	members := p.members(r)
	i := members[p.next%len(members)]
	p.next++
	p.enter(r, i, 0)
	return i
}

// leastRequest takes the endpoint with the fewest requests in flight, of all of
// them rather than of two.
type leastRequest struct{ books }

func newLeastRequest(w *world, _ int) policy { return &leastRequest{newBooks(w)} }

func (p *leastRequest) pick(r *request) int {
	i := p.argmin(p.members(r), func(i int) float64 { return float64(p.endpoints[i].requests) })
	p.enter(r, i, 0)
	return i
}

// shippedIndex is the capacity of llm-d's index: it takes num_gpu_blocks, which
// counts blocks of 16 tokens, for blocks of 64, so it believes caches four times
// as large as they are.
func shippedIndex(w *world) *lru { return newLRU(len(w.engines), w.engine.KVTokens/16) }

// blend is the default profile of llm-d and the Inference Extension's picker:
// 2 × queue, 2 × free KV, 3 × prefix over metrics, the highest sum wins.
type blend struct {
	books
	index *lru
	lora  float64 // weight of the LoRA affinity scorer
}

func newBlend(w *world, _ int) policy {
	p := &blend{books: newBooks(w), index: shippedIndex(w)}
	if w.engine.LoRASlots > 0 {
		p.lora = 1
	}
	return p
}

func (p *blend) pick(r *request) int {
	members := p.members(r)
	least, most := p.endpoints[members[0]].last.waiting, p.endpoints[members[0]].last.waiting
	for _, i := range members {
		least, most = min(least, p.endpoints[i].last.waiting), max(most, p.endpoints[i].last.waiting)
	}
	i := p.argmin(members, func(i int) float64 {
		m := &p.endpoints[i].last
		queue := 1.0
		if most > least {
			queue = float64(most-m.waiting) / float64(most-least)
		}
		prefix := 0.0
		if len(r.blocks) > 0 {
			prefix = float64(p.index.match(r, i)) / float64(len(r.blocks))
		}
		return -(2*queue + 2*(1-m.usage) + 3*prefix + p.lora*p.affinity(r, m))
	})
	p.index.add(r, i)
	p.enter(r, i, 0)
	return i
}

// affinity is 1 for an adapter that runs there, 0.8 where a slot is free, 0.6
// where it waits already, else 0.
func (p *blend) affinity(r *request, m *scrape) float64 {
	switch {
	case r.adapter == "":
		return 0
	case slices.Contains(m.active, r.adapter):
		return 1
	case len(m.active)+len(m.queued) < p.world.engine.LoRASlots:
		return 0.8
	case slices.Contains(m.queued, r.adapter):
		return 0.6
	}
	return 0
}

// optimized is llm-d's optimized baseline: endpoints that have at least 80 % of
// the prompt, unless their estimated time to the first token is 18 s longer than
// the others'; then the fewest uncached tokens in flight.
type optimized struct {
	books
	index *lru
}

func newOptimized(w *world, _ int) policy { return &optimized{newBooks(w), shippedIndex(w)} }

func (p *optimized) pick(r *request) int {
	const affine, penalty, throughput = 0.8, 18.0, 15928.0
	all := p.members(r)
	matches := map[int]int{}
	var sticky, other []int
	for _, i := range all {
		matches[i] = p.index.match(r, i) * blockTokens
		if len(r.blocks) > 0 && float64(matches[i]) >= affine*float64(len(r.blocks)*blockTokens) {
			sticky = append(sticky, i)
		} else {
			other = append(other, i)
		}
	}
	wait := func(i int) float64 { return float64(p.endpoints[i].pending) / throughput }
	candidates := all
	if len(sticky) > 0 {
		candidates = sticky
		if len(other) > 0 && p.least(sticky, wait) > p.least(other, wait)+penalty {
			candidates = all
		}
	}
	i := p.argmin(candidates, func(i int) float64 {
		return float64(p.endpoints[i].pending + max(0, r.prompt-matches[i]))
	})
	p.index.add(r, i)
	p.enter(r, i, matches[i])
	return i
}

func (p *optimized) least(of []int, cost func(int) float64) float64 {
	least := cost(of[0])
	for _, i := range of {
		least = min(least, cost(i))
	}
	return least
}

// cacheAware is SGLang's gateway (its command's defaults): while loads are
// uneven, the shortest queue; else whoever matches most of the prompt, if that
// is more than 30 %, else the shortest queue.
type cacheAware struct {
	books
	index *lru
}

func newCacheAware(w *world, _ int) policy {
	const treeTokens = 67_108_864 / 4 // characters over all
	return &cacheAware{newBooks(w), newLRU(len(w.engines), treeTokens/blockTokens/len(w.engines))}
}

func (p *cacheAware) pick(r *request) int {
	const threshold, absolute, relative = 0.3, 64, 1.5
	members := p.members(r)
	least, most := p.endpoints[members[0]].requests, 0
	for _, i := range members {
		least, most = min(least, p.endpoints[i].requests), max(most, p.endpoints[i].requests)
	}
	load := func(i int) float64 { return float64(p.endpoints[i].requests) }
	var i int
	if most-least > absolute && float64(most) > relative*float64(least) {
		i = p.argmin(members, load)
	} else {
		i = p.argmin(members, func(i int) float64 { return -float64(p.index.match(r, i)) })
		if float64(p.index.match(r, i)*blockTokens) <= threshold*float64(r.prompt) {
			i = p.argmin(members, load)
		}
	}
	p.index.add(r, i)
	p.enter(r, i, 0)
	return i
}

// dynamo is the linear cost of Dynamo's KV router: blocks to be computed, its
// own and those ahead, plus unique blocks in use, with an exact view of caches.
type dynamo struct{ books }

func newDynamo(w *world, _ int) policy { return &dynamo{newBooks(w)} }

func (p *dynamo) pick(r *request) int {
	i := p.argmin(p.members(r), func(i int) float64 {
		a := &p.endpoints[i]
		return float64(a.pending+r.prompt-p.exact(r, i))/blockTokens + float64(a.active()+a.fresh(r))
	})
	p.enter(r, i, p.exact(r, i))
	return i
}

// lmetric is the product of LMetric (arXiv 2603.15202): tokens to be computed
// times requests, with an exact view of caches.
type lmetric struct{ books }

func newLMetric(w *world, _ int) policy { return &lmetric{newBooks(w)} }

func (p *lmetric) pick(r *request) int {
	i := p.argmin(p.members(r), func(i int) float64 {
		a := &p.endpoints[i]
		return float64(a.pending+r.prompt-p.exact(r, i)) * float64(a.requests+1)
	})
	p.enter(r, i, p.exact(r, i))
	return i
}

package main

import (
	"maps"
	"slices"
)

// books are what every rival keeps of its endpoints: what it sent there and has
// not seen the end of.
type books struct {
	world     *world
	endpoints []account
}

type account struct {
	requests int
	pending  int            // uncached prompt tokens without a first token
	blocks   map[uint64]int // in use, shared ones once
	private  int            // blocks in use that nobody shares
	last     scrape
}

// entry is what the books hold of one request.
type entry struct{ uncached, private int }

func newBooks(w *world) books {
	b := books{world: w, endpoints: make([]account, len(w.engines))}
	for i := range b.endpoints {
		b.endpoints[i].blocks = map[uint64]int{}
	}
	return b
}

// enter books r at an endpoint that has cached of its tokens.
func (b *books) enter(r *request, i, cached int) {
	a := &b.endpoints[i]
	e := &entry{uncached: max(1, r.prompt-cached), private: (r.prompt-len(r.blocks)*blockTokens)/blockTokens + 1}
	r.state = e
	a.requests++
	a.pending += e.uncached
	a.private += e.private
	for _, id := range r.blocks {
		a.blocks[id]++
	}
}

func (b *books) first(r *request) {
	e := r.state.(*entry)
	b.endpoints[r.endpoint].pending -= e.uncached
	e.uncached = 0
}

func (b *books) tokens(r *request) {
	if r.generated%blockTokens == 0 {
		r.state.(*entry).private++
		b.endpoints[r.endpoint].private++
	}
}

func (b *books) done(r *request) {
	a, e := &b.endpoints[r.endpoint], r.state.(*entry)
	a.requests--
	a.pending -= e.uncached
	a.private -= e.private
	for _, id := range r.blocks {
		if a.blocks[id]--; a.blocks[id] == 0 {
			delete(a.blocks, id)
		}
	}
}

func (b *books) scraped(i int, m scrape) { b.endpoints[i].last = m }

// active is how many blocks are in use.
func (a *account) active() int { return len(a.blocks) + a.private }

// fresh is how many of r's blocks are not.
func (a *account) fresh(r *request) int {
	n := 1
	for _, id := range r.blocks {
		if a.blocks[id] == 0 {
			n++
		}
	}
	return n
}

// members are the endpoints r may go to.
func (b *books) members(r *request) []int {
	if b.world.setup.members != nil {
		return b.world.setup.members[r.version]
	}
	all := make([]int, len(b.endpoints))
	for i := range all {
		all[i] = i
	}
	return all
}

// argmin returns the candidate of the least cost, by lot among equals.
func (b *books) argmin(candidates []int, cost func(i int) float64) int {
	best, least, ties := -1, 0.0, 0
	for _, i := range candidates {
		switch c := cost(i); {
		case best < 0 || c < least:
			best, least, ties = i, c, 1
		case c == least:
			ties++
			if b.world.rand.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

// exact is how many of r's tokens endpoint i has cached, as KV events tell
// without delay.
func (b *books) exact(r *request, i int) int { return b.world.engines[i].cache.match(r) }

func names(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

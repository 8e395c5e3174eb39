package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// request is one model call.
type request struct {
	id      int
	at      float64 // arrival, seconds
	prompt  int     // tokens
	output  int     // tokens
	blocks  []uint64
	adapter string
	session int // requests of one user

	// At the engine.
	endpoint          int
	computed, target  int  // tokens
	ran               bool // in the step under way
	generated         int
	shared, anonymous int // blocks
	cachedAtStart     int // tokens; -1 before
	// At the gateway.
	gateway         int
	version         int
	state           any // what the policy keeps of it
	firstAt, doneAt float64
}

// workload makes the requests of one run: rate is requests per second, seconds
// how long they arrive.
type workload struct {
	name  string
	loads [3]float64 // rates, from light to just below saturation
	lora  int        // slots, 0 none
	make  func(g *generator, rate, seconds float64)
}

// generator collects requests. Each has its own random stream, so that every
// policy meets the same ones.
type generator struct {
	*rand.Rand
	requests []*request
	ids      uint64
}

func generate(w *workload, rate, seconds float64, seed uint64) []*request {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x5eed))}
	w.make(g, rate, seconds)
	slices.SortStableFunc(g.requests, func(a, b *request) int { return cmp.Compare(a.at, b.at) })
	for i, r := range g.requests {
		r.id = i
	}
	return g.requests
}

// text is a piece of a prompt: tokens that are the same wherever the id is.
type text struct {
	id     uint64
	tokens int
}

// unique returns a text like no other.
func (g *generator) unique(tokens int) text {
	g.ids++
	return text{g.ids<<20 | 1, tokens}
}

// add makes a request of a prompt put together from texts.
func (g *generator) add(at float64, output int, texts ...text) *request {
	r := &request{at: at, output: max(1, output), cachedAtStart: -1}
	h, filled := uint64(14695981039346656037), 0
	for _, t := range texts {
		r.prompt += t.tokens
		left := t.tokens
		for left > 0 {
			n := min(left, blockTokens-filled)
			left -= n
			filled += n
			h = (h ^ t.id ^ uint64(left)<<40) * 0x9E3779B97F4A7C15
			h ^= h >> 29
			if filled == blockTokens {
				r.blocks = append(r.blocks, h)
				filled = 0
			}
		}
	}
	r.prompt = max(1, r.prompt)
	r.target = r.prompt
	g.requests = append(g.requests, r)
	return r
}

// arrivals calls f at the instants of a Poisson process.
func (g *generator) arrivals(rate, seconds float64, f func(at float64)) {
	for at := g.ExpFloat64() / rate; at < seconds; at += g.ExpFloat64() / rate {
		f(at)
	}
}

// lognormal returns a number with that mean and standard deviation.
func (g *generator) lognormal(mean, sd float64) float64 {
	v := math.Log(1 + sd*sd/(mean*mean))
	return math.Exp(math.Log(mean) - v/2 + math.Sqrt(v)*g.NormFloat64())
}

func (g *generator) tokens(mean, sd float64, least, most int) int {
	return max(least, min(most, int(g.lognormal(mean, sd))))
}

// zipf returns 0 to n-1 with weight (v+k)^-s.
func (g *generator) zipf(s, v float64, n int) func() int {
	sums := make([]float64, n)
	total := 0.0
	for k := range sums {
		total += math.Pow(v+float64(k), -s)
		sums[k] = total
	}
	return func() int {
		i, _ := slices.BinarySearch(sums, g.Float64()*total)
		return min(i, n-1)
	}
}

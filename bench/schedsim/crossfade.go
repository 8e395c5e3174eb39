package main

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// crossfade runs the project's own picker.
type crossfade struct {
	world     *world
	scheduler *scheduling.Scheduler
	pools     []*routing.Pool // by version
	index     map[string]int  // endpoints by address
	prompt    []byte          // scratch
	picks     int
	cpu       time.Duration
	rejected  int

	telling bool    // urgent news is on its way
	told    float64 // when the last was told
}

// held is what a request has at the gateway.
type held struct {
	request     llm.Request
	call        scheduling.Call
	reservation *scheduling.Reservation
}

func newCrossfade(o scheduling.Options, seed uint64) func(*world, int) policy {
	return func(w *world, gateway int) policy {
		o.Rand = rand.New(rand.NewPCG(seed, uint64(gateway)))
		c := &crossfade{world: w, scheduler: scheduling.New(o), index: map[string]int{}}
		members := w.members
		if members == nil {
			members = [][]int{nil}
			for i := range w.engines {
				members[0] = append(members[0], i)
			}
		}
		for v, endpoints := range members {
			p := &routing.Pool{ID: fmt.Sprintf("v%d", v), Inference: true}
			for _, i := range endpoints {
				address := fmt.Sprintf("10.0.0.%d:8000", i)
				c.index[address] = i
				p.Endpoints = append(p.Endpoints, routing.Endpoint{Address: address})
			}
			c.pools = append(c.pools, p)
		}
		return c
	}
}

var epoch = time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)

func (c *crossfade) at() time.Time {
	return epoch.Add(time.Duration(c.world.now * float64(time.Second)))
}

// text writes the prompt as bytes, four for each token; equal blocks are equal
// bytes.
func (c *crossfade) text(r *request) []byte {
	const bytes = 4
	n := r.prompt * bytes
	for len(c.prompt) < n {
		c.prompt = append(c.prompt, 0)
	}
	b := c.prompt[:n]
	for i, id := range r.blocks {
		binary.LittleEndian.PutUint64(b[i*blockTokens*bytes:], id)
	}
	return b
}

func (c *crossfade) pick(r *request) int {
	h := &held{}
	h.request = llm.Request{Stream: true, Prompt: c.text(r)}
	h.call = scheduling.Call{Request: &h.request, Model: r.adapter, At: c.at(), Flow: fmt.Sprint(r.session)}
	r.state = h
	start := time.Now()
	d, waiting, err := c.scheduler.Offer(&h.call, c.pools[r.version], func(d scheduling.Decision, err error) { c.granted(r, d, err) })
	c.cpu += time.Since(start)
	c.picks++
	switch {
	case err != nil:
		c.granted(r, d, err)
		return -1
	case waiting != nil:
		return -1
	}
	h.reservation = d.Reservation
	c.tellIfUrgent(r.gateway)
	return c.index[d.Endpoint.Address]
}

// granted ends a wait. A call that was refused comes again, as clients do.
func (c *crossfade) granted(r *request, d scheduling.Decision, err error) {
	if err != nil {
		c.rejected++
		c.world.after(1, func() {
			if i := c.pick(r); i >= 0 {
				c.world.send(r, i)
			}
		})
		return
	}
	r.state.(*held).reservation = d.Reservation
	c.tellIfUrgent(r.gateway)
	c.world.send(r, c.index[d.Endpoint.Address])
}

// tellIfUrgent lets the other gateways hear what should not wait for the interval,
// but not more often than a gateway with two others tells.
func (c *crossfade) tellIfUrgent(gateway int) {
	const pause, late = 0.01, 0.001
	if c.world.share == 0 || c.telling {
		return
	}
	select {
	case <-c.scheduler.Urgent():
	default:
		return
	}
	c.telling = true
	c.world.after(late+max(0, c.told+pause-c.world.now), func() {
		c.telling = false
		c.told = c.world.now
		shareNews(c.world, gateway)
	})
}

func (c *crossfade) first(r *request)  { r.state.(*held).reservation.FirstToken(c.at()) }
func (c *crossfade) tokens(r *request) { r.state.(*held).reservation.Tokens(r.generated) }

func (c *crossfade) done(r *request) {
	r.state.(*held).reservation.End(scheduling.EndResult{At: c.at(), Usage: llm.Usage{
		Known: true, PromptTokens: r.prompt, CompletionTokens: r.generated, CachedTokens: r.cachedAtStart,
	}})
}

func (c *crossfade) scraped(i int, m scrape) {
	c.scheduler.Observe(fmt.Sprintf("10.0.0.%d:8000", i), scheduling.Metrics{
		At: c.at(), Waiting: m.waiting, Running: m.running, KVUsage: m.usage,
		BlockSize: blockTokens, Blocks: c.world.engine.KVTokens / blockTokens,
		MaxAdapters: c.world.engine.LoRASlots, ActiveAdapters: m.active, WaitAdapters: m.queued,
		Adapters: adapterNames(c.world.engine.LoRASlots),
	})
}

// adapterNames are those the engines list on /v1/models.
func adapterNames(slots int) []string {
	if slots == 0 {
		return nil
	}
	var out []string
	for i := range 60 {
		out = append(out, fmt.Sprintf("adapter-%d", i))
	}
	return out
}

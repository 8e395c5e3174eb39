package main

import (
	"container/heap"
	"math/rand/v2"
)

// A policy is one gateway's way to choose endpoints. It learns only what a
// gateway sees: what it sent, what came back, and scrapes.
type policy interface {
	// pick is called when r arrives. It returns the endpoint, or -1 to hold r
	// back and call world.send later.
	pick(r *request) int
	first(r *request)  // r's first token has come
	tokens(r *request) // so have 16 more
	done(r *request)
	scraped(endpoint int, m scrape)
}

// scrape is what an engine's metrics say.
type scrape struct {
	waiting, running int
	usage            float64
	active, queued   []string // adapters
}

// setup of one run.
type setup struct {
	engine     constants
	endpoints  int
	gateways   int
	scrape     float64 // seconds between scrapes of an endpoint; 0 none
	toEngine   float64 // seconds
	makePolicy func(w *world, gateway int) policy
	// share is a sync between gateways; 0 none.
	share float64
	// versions: for a canary; nil one version.
	version func(r *request, rand *rand.Rand) int
	members [][]int // endpoints by version
}

// world is one run: engines, gateways and the clock.
type world struct {
	setup
	now      float64
	events   events
	number   int
	engines  []*engine
	plans    []plan
	policies []policy
	rand     *rand.Rand
	pending  int // requests that are not done
	finished []*request
	onSync   func()
}

// event is something that happens at an instant.
type event struct {
	at     float64
	number int
	do     func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].number < e[j].number
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	old[len(old)-1].do = nil
	*e = old[:len(old)-1]
	return x
}

func (w *world) after(seconds float64, do func()) {
	w.number++
	heap.Push(&w.events, event{w.now + seconds, w.number, do})
}

func newWorld(s setup, seed uint64) *world {
	w := &world{setup: s, rand: rand.New(rand.NewPCG(seed, 0xd1ce))}
	w.gateways = max(1, w.gateways)
	for range s.endpoints {
		w.engines = append(w.engines, newEngine(s.engine))
	}
	w.plans = make([]plan, s.endpoints)
	for g := range w.gateways {
		w.policies = append(w.policies, s.makePolicy(w, g))
	}
	return w
}

// run plays the requests and returns those that were answered.
func (w *world) run(requests []*request) []*request {
	w.pending = len(requests)
	for _, r := range requests {
		r.gateway = 0
		if w.gateways > 1 {
			r.gateway = w.rand.IntN(w.gateways)
		}
		w.after(r.at, func() { w.arrive(r) })
	}
	if w.scrape > 0 {
		for i := range w.engines {
			w.after(w.scrape*float64(i+1)/float64(len(w.engines)), func() { w.scrapeEngine(i) })
		}
	}
	if w.share > 0 && w.onSync != nil {
		w.after(w.share, w.sync)
	}
	for len(w.events) > 0 && w.pending > 0 {
		e := heap.Pop(&w.events).(event)
		w.now = e.at
		e.do()
	}
	return w.finished
}

func (w *world) sync() {
	w.onSync()
	w.after(w.share, w.sync)
}

func (w *world) arrive(r *request) {
	if w.version != nil {
		r.version = w.version(r, w.rand)
	}
	if i := w.policies[r.gateway].pick(r); i >= 0 {
		w.send(r, i)
	}
}

// send gives r to an endpoint.
func (w *world) send(r *request, endpoint int) {
	r.endpoint = endpoint
	w.after(w.toEngine, func() {
		e := w.engines[endpoint]
		e.waiting = append(e.waiting, r)
		w.step(endpoint)
	})
}

// step lets an idle engine begin.
func (w *world) step(i int) {
	e := w.engines[i]
	if e.busy {
		return
	}
	d := e.begin(w.now, &w.plans[i])
	if d == 0 {
		return
	}
	e.busy = true
	w.after(d, func() {
		e.busy = false
		e.finish(w.token, w.done)
		w.step(i)
	})
}

func (w *world) token(r *request) {
	p := w.policies[r.gateway]
	if r.generated == 1 {
		r.firstAt = w.now
		p.first(r)
	} else if r.generated%16 == 0 {
		p.tokens(r)
	}
}

func (w *world) done(r *request) {
	r.doneAt = w.now
	w.pending--
	w.finished = append(w.finished, r)
	w.policies[r.gateway].done(r)
}

func (w *world) scrapeEngine(i int) {
	e := w.engines[i]
	m := scrape{waiting: len(e.waiting), running: len(e.running), usage: e.usage()}
	if e.lora.slots > 0 {
		m.active = names(e.activeAdapters())
		queued := map[string]bool{}
		for _, r := range e.waiting {
			queued[r.adapter] = true
		}
		m.queued = names(queued)
	}
	for _, p := range w.policies {
		p.scraped(i, m)
	}
	w.after(w.scrape, func() { w.scrapeEngine(i) })
}

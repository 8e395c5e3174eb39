package proxy

import (
	"context"
	"sync"
	"sync/atomic"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/upstream"
)

// What became of a copy of a request, for a MirrorObserver or a ShadowObserver.
const (
	MirrorAnswered = "answered" // its answer was read to the end and thrown away
	MirrorFailed   = "failed"   // no endpoint, no answer, or not in time
	MirrorDropped  = "dropped"  // not sent, for too many were under way or the body was too large
)

// mirrors are the copies of requests that are under way. They live apart from the
// requests they are copies of: no client waits for one, none outlives Proxy.Close,
// and their number, their memory and their time are bounded by limits of their own.
type mirrors struct {
	base   context.Context
	cancel context.CancelFunc
	memory budget

	mu      sync.Mutex
	free    int // how many more may be under way
	closed  bool
	running sync.WaitGroup
}

func newMirrors(l Limits) *mirrors {
	m := &mirrors{free: l.Mirrors}
	m.memory.limit = l.MirrorBytes
	m.base, m.cancel = context.WithCancel(context.Background())
	return m
}

// start runs f in a goroutine, unless too many run. then is called with its result
// when the next may start.
func (m *mirrors) start(f func() string, then func(result string)) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.free <= 0 {
		return false
	}
	m.free--
	m.running.Go(func() {
		result := f()
		m.mu.Lock()
		m.free++
		m.mu.Unlock()
		then(result)
	})
	return true
}

// close cuts what is under way and waits for its end.
func (m *mirrors) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.running.Wait()
}

// mirrorBody is the body of one request's shadows. Once they are started nobody
// changes it.
type mirrorBody struct {
	memory *budget
	limit  int64
	users  atomic.Int32 // shadows that are not over

	mu    sync.Mutex // a streamed body is read by another goroutine than the exchange's
	data  []byte
	taken int64
	over  bool // nothing is kept any more
}

// add keeps p as well, as long as all fits.
func (b *mirrorBody) add(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || len(p) == 0 {
		return
	}
	need := int64(len(b.data) + len(p))
	if need > b.limit || need > b.taken && !b.grow(need) {
		b.give()
		return
	}
	b.data = append(b.data, p...)
}

func (b *mirrorBody) grow(need int64) bool {
	size := max(need, min(2*b.taken, b.limit))
	if !b.memory.take(size - b.taken) {
		return false
	}
	grown := make([]byte, len(b.data), size)
	copy(grown, b.data)
	b.data, b.taken = grown, size
	return true
}

// give gives the memory back, for good.
func (b *mirrorBody) give() {
	b.over = true
	b.memory.give(b.taken)
	b.data, b.taken = nil, 0
}

// done is called once for each shadow; the last one gives the memory back.
func (b *mirrorBody) done() {
	if b.users.Add(-1) == 0 {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.give()
	}
}

// whole reports whether everything that was read has been kept.
func (b *mirrorBody) whole() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return !b.over
}

// mirror makes the shadows of the request, once: for the route's mirrors and for
// rollouts (compare.go). Those of a body that is yet to be
// streamed wait for its end (startShadows).
func (x *exchange) mirror() {
	ofRule, ofBackend := x.rule.Filters.Mirrors, x.visit.Backend.Filters.Mirrors
	if len(ofRule)+len(ofBackend) == 0 && !x.mayCopy(OfRule) && !x.mayCopy(OfModel) || x.mirrored || x.asksForUpgrade() {
		return
	}
	x.mirrored = true
	x.addShadows(ofRule, &x.rule.Filters)
	x.addShadows(ofBackend, &x.rule.Filters, &x.visit.Backend.Filters)
	x.addCopies()
	if len(x.shadows) == 0 {
		return
	}
	limit, _ := x.limit()
	body := &mirrorBody{memory: &x.proxy.mirrors.memory, limit: limit}
	body.users.Store(int32(len(x.shadows)))
	for _, s := range x.shadows {
		s.body = body
	}
	switch {
	case x.upload != nil:
		x.upload.copy = body
		return
	case x.body.buffer != nil:
		body.add(*x.body.buffer)
	}
	x.startShadows()
}

// addShadows adds a shadow for each of the mirrors whose turn it is. levels are the
// filters that the copy passes.
func (x *exchange) addShadows(list []*routing.Mirror, levels ...*routing.Filters) {
	for _, m := range list {
		if !m.Draw() {
			continue
		}
		s := x.newShadow(m.Pool, levels...)
		s.mirror = m
		if x.request.HasModel && m.Pool.Inference {
			if rule := m.Pool.Rule(x.request.Model); rule != nil {
				caller := x.caller()
				s.target, _, _ = rule.DrawFor(&caller)
			}
		}
		x.shadows = append(x.shadows, s)
	}
}

// newShadow composes a copy of the request, without its body, for a pool.
func (x *exchange) newShadow(pool *routing.Pool, levels ...*routing.Filters) *shadow {
	x.composeClientHeader()
	for _, f := range levels {
		f.RequestHeaders.Apply(x.header)
	}
	s := &shadow{proxy: x.proxy, pool: pool, identity: x.visit.Listener.Identity}
	s.request = upstream.Request{
		Method: x.r.Method, Host: x.host(levels), Target: x.target(levels), Header: x.header.Clone(),
		FirstByteTimeout: max(x.proxy.timeouts.FirstByte, 0), IdleTimeout: max(x.proxy.timeouts.StreamIdle, 0),
	}
	clear(x.header)
	return s
}

// startShadows sends the shadows on their way. It comes again when the exchange is
// over, for those that had to wait; whose body never ended are dropped.
func (x *exchange) startShadows() {
	for _, s := range x.shadows {
		if !s.body.whole() || x.upload != nil && !x.upload.ended.Load() || !x.proxy.mirrors.start(s.run, s.end) {
			s.end(MirrorDropped)
		}
	}
	x.shadows = nil
}

package proxy

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
)

// What became of a copy of a request, for a MirrorObserver.
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

// A shadow is one copy of a request.
type shadow struct {
	proxy   *Proxy
	mirror  *routing.Mirror
	request upstream.Request // without its body
	body    *mirrorBody
	// identity is what the mirror's endpoints are shown over TLS.
	identity *routing.Identity
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

// mirror makes the shadows of the request, once. Those of a body that is yet to be
// streamed wait for its end (startShadows).
func (x *exchange) mirror() {
	ofRule, ofBackend := x.rule.Filters.Mirrors, x.visit.Backend.Filters.Mirrors
	if len(ofRule)+len(ofBackend) == 0 || x.mirrored || x.asksForUpgrade() {
		return
	}
	x.mirrored = true
	x.addShadows(ofRule, &x.rule.Filters)
	x.addShadows(ofBackend, &x.rule.Filters, &x.visit.Backend.Filters)
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
		x.composeClientHeader()
		for _, f := range levels {
			f.RequestHeaders.Apply(x.header)
		}
		s := &shadow{proxy: x.proxy, mirror: m, identity: x.visit.Listener.Identity}
		s.request = upstream.Request{
			Method: x.r.Method, Host: x.host(levels), Target: x.target(levels), Header: x.header.Clone(),
			FirstByteTimeout: max(x.proxy.timeouts.FirstByte, 0), IdleTimeout: max(x.proxy.timeouts.StreamIdle, 0),
		}
		clear(x.header)
		x.shadows = append(x.shadows, s)
	}
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

// end closes the books of the shadow.
func (s *shadow) end(result string) {
	s.body.done()
	if o, ok := s.proxy.observer.(MirrorObserver); ok {
		o.Mirrored(s.mirror, result)
	}
}

// run returns what became of the shadow.
func (s *shadow) run() string {
	ctx := s.proxy.mirrors.base
	if limit := s.proxy.timeouts.Mirror; limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	if s.send(ctx) != nil {
		return MirrorFailed
	}
	return MirrorAnswered
}

// send has an endpoint chosen, asks it and reads its answer to the end.
func (s *shadow) send(ctx context.Context) error {
	call := scheduling.Call{At: s.proxy.now()}
	request := s.address(&call)
	decision, err := s.proxy.picker.Pick(ctx, &call, s.mirror.Pool)
	if err != nil {
		return err
	}
	s.fill(request, call.Model)
	reason := llm.ReasonUpstreamReset
	defer func() {
		decision.Reservation.End(scheduling.EndResult{At: s.proxy.now(), Failed: endpointFailed(reason)})
	}()
	answer, err := s.ask(ctx, decision.Endpoint.Address)
	if err != nil {
		return err
	}
	defer answer.Close()
	if _, err = io.Copy(io.Discard, answer); err == nil || ctx.Err() != nil {
		reason = llm.ReasonOK // to be cut off by us speaks not against the endpoint
	}
	return err
}

// address fills in what the picker is told of the call, and returns what was read
// of the body; nil when it names no model.
func (s *shadow) address(call *scheduling.Call) *llm.Request {
	if !s.mirror.Pool.Inference || len(s.body.data) == 0 {
		return nil
	}
	request, err := llm.Scan(s.body.data)
	if err != nil || !request.HasModel {
		return nil
	}
	call.Request, call.Model = &request, request.Model
	if rule := s.mirror.Pool.Rule(request.Model); rule != nil {
		call.Priority = rule.Priority
		if target := rule.Draw(); target != "" {
			call.Model = target
		}
	}
	return &request
}

// fill gives the request its body, with the model that the mirror's pool calls it.
func (s *shadow) fill(request *llm.Request, model string) {
	switch data := s.body.data; {
	case len(data) == 0:
	case request != nil && model != request.Model:
		parts := request.WithModel(data, model)
		s.request.Body = parts[:]
	default:
		s.request.Body = [][]byte{data}
	}
}

// ask sends the request to addr and returns the body of the answer.
func (s *shadow) ask(ctx context.Context, addr string) (io.ReadCloser, error) {
	pool, out := s.mirror.Pool, &s.request
	if pool.Plain() {
		response, err := s.proxy.upstream.Do(ctx, addr, out)
		if err != nil {
			return nil, err
		}
		return response, nil
	}
	if why := identityFailure(pool, s.identity); why != "" {
		return nil, errors.New(why)
	}
	r := newTransportRequest(ctx, pool, addr, out)
	lent := &loan{body: out.Body}
	lent.lend(r)
	response, err := s.proxy.transport(pool, s.identity).RoundTrip(r)
	if err != nil {
		return nil, transportError(ctx, addr, err)
	}
	return response.Body, nil
}

package proxy

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
)

// A shadow is one copy of a request.
type shadow struct {
	proxy   *Proxy
	pool    *routing.Pool
	request upstream.Request // without its body
	body    *mirrorBody
	// target is the model that the pool is asked for, where it was drawn with the
	// request; "" where that is to be done when the body is there.
	target string
	// identity is what the pool's endpoints are shown over TLS.
	identity *routing.Identity

	// One of these is set: whom the copy is for, or what its answer is compared with.
	mirror *routing.Mirror
	versus *comparison
}

// end closes the books of the shadow.
func (s *shadow) end(result string) {
	s.body.done()
	if s.versus != nil {
		s.versus.endCopy(result)
	} else if o, ok := s.proxy.observer.(MirrorObserver); ok {
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
	if s.versus != nil {
		return s.versus.run(ctx, s)
	}
	if s.send(ctx, s.discard) != nil {
		return MirrorFailed
	}
	return MirrorAnswered
}

// send has an endpoint chosen and the talk with it done by ask, which returns why it
// ended, one of llm's reasons.
func (s *shadow) send(ctx context.Context, ask func(context.Context, *scheduling.Decision) (string, error)) error {
	call := scheduling.Call{At: s.proxy.now()}
	request := s.address(&call)
	decision, err := s.proxy.picker.Pick(ctx, &call, s.pool)
	if err != nil {
		return err
	}
	s.fill(request, call.Model)
	reason, err := ask(ctx, &decision)
	decision.Reservation.End(scheduling.EndResult{At: s.proxy.now(), Failed: endpointFailed(reason)})
	return err
}

// discard asks the endpoint and reads its answer to the end.
func (s *shadow) discard(ctx context.Context, d *scheduling.Decision) (reason string, err error) {
	answer, err := s.ask(ctx, d.Endpoint.Address)
	if err == nil {
		defer answer.Close()
		tell := d.Reservation
		if !computes(answer.status) {
			tell = nil
		}
		_, err = io.Copy(&firstByte{s.proxy, tell}, answer)
	}
	var e *upstream.Error
	switch {
	case ctx.Err() != nil:
		return llm.ReasonRequestTimeout, err // to be cut off by us speaks not against the endpoint
	case errors.As(err, &e):
		return blameEndpoint(err).reason, err
	case err != nil:
		return llm.ReasonUpstreamReset, err
	case answer.status >= 500:
		return llm.ReasonUpstreamError, nil
	}
	return llm.ReasonOK, nil
}

// firstByte throws away what is written, but for telling of its first byte.
type firstByte struct {
	proxy *Proxy
	tell  *scheduling.Reservation // nil once it has been told
}

func (f *firstByte) Write(p []byte) (int, error) {
	f.tell.FirstToken(f.proxy.now())
	f.tell = nil
	return len(p), nil
}

// address fills in what the picker is told of the call, and returns what was read
// of the body; nil when it names no model.
func (s *shadow) address(call *scheduling.Call) *llm.Request {
	if !s.pool.Inference || len(s.body.data) == 0 {
		return nil
	}
	request, err := llm.Scan(s.body.data)
	if err != nil || !request.HasModel {
		return nil
	}
	call.Request, call.Model, call.CacheSalt = &request, request.Model, string(request.CacheSalt)
	target := s.target
	if rule := s.pool.Rule(request.Model); rule != nil {
		call.Priority = rule.Priority
		if target == "" {
			target = rule.Draw()
		}
	}
	if target != "" {
		call.Model = target
	}
	if s.versus != nil {
		call.Priority = sheddable
	}
	return &request
}

// sheddable is the priority of what nobody waits for: in a full pool it comes after
// every client, and leaves its place in the queue to any.
const sheddable = math.MinInt32

// fill gives the request its body, with the model that the pool calls it and the
// limit that a comparison sets.
func (s *shadow) fill(request *llm.Request, model string) {
	switch data := s.body.data; {
	case len(data) == 0:
	case request != nil && s.versus != nil:
		s.request.Body = request.Revised(data, s.versus.revision(request, model))
	case request != nil && model != request.Model:
		parts := request.WithModel(data, model)
		s.request.Body = parts[:]
	default:
		s.request.Body = [][]byte{data}
	}
}

// shadowAnswer is the answer to a shadow. Its Read is the body's.
type shadowAnswer struct {
	io.ReadCloser
	status int
	header http.Header
}

// ask sends the request to addr and returns the answer once its head is there.
func (s *shadow) ask(ctx context.Context, addr string) (shadowAnswer, error) {
	pool, out := s.pool, &s.request
	if pool.Plain() {
		response, err := s.proxy.upstream.Do(ctx, addr, out)
		if err != nil {
			return shadowAnswer{}, err
		}
		return shadowAnswer{response, response.Status, response.Header}, nil
	}
	if why := identityFailure(pool, s.identity); why != "" {
		return shadowAnswer{}, errors.New(why)
	}
	r := newTransportRequest(ctx, pool, addr, out)
	lent := &loan{body: out.Body}
	lent.lend(r)
	response, err := s.proxy.transport(pool, s.identity).RoundTrip(r)
	if err != nil {
		return shadowAnswer{}, transportError(ctx, addr, err)
	}
	return shadowAnswer{response.Body, response.StatusCode, response.Header}, nil
}

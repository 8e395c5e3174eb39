package proxy

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
)

// A comparison is a model call that stable serves and the copy of it that is sent to
// the candidate. The copy is a shadow like those of mirrors, within the same limits:
// nobody waits for it. Its answer is metered as the client's is.
//
// Not copied are requests that are pinned, for those asked for their side; what is no
// model call; and requests to a pool that an external picker chooses for, since the
// picker would book what it is told of as if somebody waited for it.
type comparison struct {
	proxy      *Proxy
	assignment *routing.Assignment
	path       string // of the call, which says which API it is of

	// Each side's is its own goroutine's until that has called over.
	stable, copy llm.Outcome
	left         atomic.Int32 // sides that are not over
	void         atomic.Bool  // one side is no sample of its version

	// Of the copy while it is under way:
	request  *llm.Request // as its body has it
	meter    llm.Meter
	metered  bool
	events   bool
	decision *scheduling.Decision
}

// mayCopy reports whether the request is one that the part's rollout may have copied.
func (x *exchange) mayCopy(part int) bool {
	p := &x.visit.Parts[part]
	if p.Assignment == nil || p.Assignment.Shadow == nil || p.Candidate || p.How == routing.Pinned {
		return false
	}
	return !x.rescued && x.request.HasModel && x.body.buffer != nil
}

// addCopies adds a shadow for each rollout that wants the request copied.
func (x *exchange) addCopies() {
	for i := range x.visit.Parts {
		a := x.visit.Parts[i].Assignment
		if !x.mayCopy(i) || !x.comparable(i) || !a.DrawShadow() {
			continue
		}
		c := &comparison{proxy: x.proxy, assignment: a}
		s := x.newCopy(i)
		s.versus, x.comparisons[i] = c, c
		s.request.Header["Accept-Encoding"] = identity // the meter reads it
		c.path, _, _ = strings.Cut(s.request.Target, "?")
		c.left.Store(2)
		c.copy = llm.Outcome{
			Route: x.rule.ID, Pool: s.pool.Name, Model: x.request.Model, Stream: x.request.Stream,
			PromptBytes: len(x.request.Prompt), BytesIn: int64(len(*x.body.buffer)),
		}
		x.shadows = append(x.shadows, s)
	}
}

// candidateBackend is where the candidate of the part's rollout is served.
func (x *exchange) candidateBackend(part int) *routing.Backend {
	if part == OfRule {
		return &x.rule.Backends[x.rule.Assignment.Candidate]
	}
	return x.visit.Backend // the targets of a model share it
}

// comparable reports whether the candidate can be sent copies.
func (x *exchange) comparable(part int) bool {
	pool := x.candidateBackend(part).Pool
	return pool != nil && pool.Inference && pool.Picker == nil && identityFailure(pool, x.visit.Listener.Identity) == ""
}

// newCopy composes the copy as the candidate would have been sent the request.
func (x *exchange) newCopy(part int) *shadow {
	backend := x.candidateBackend(part)
	s := x.newShadow(backend.Pool, &x.rule.Filters, &backend.Filters)
	rule := backend.Pool.Rule(x.request.Model)
	switch {
	case part == OfModel:
		s.target = rule.Targets[rule.Assignment.Candidate].Model
	case rule != nil && rule.Assignment != nil:
		s.target = rule.Targets[rule.Assignment.Stable].Model // one candidate at a time
	}
	return s
}

// revision is what the copy asks for otherwise than the request.
func (c *comparison) revision(request *llm.Request, model string) llm.Revision {
	c.request, c.copy.Target = request, model
	return llm.Revision{Model: model, MaxTokens: c.assignment.Shadow.MaxTokens, LimitField: limitField(c.path)}
}

// run sends the copy and returns what became of it.
func (c *comparison) run(ctx context.Context, s *shadow) string {
	c.copy.Start = c.proxy.now()
	err := s.send(ctx, func(ctx context.Context, d *scheduling.Decision) (string, error) {
		err := c.hear(ctx, s, d)
		if c.metered {
			c.copy.Report = c.meter.Result()
		}
		c.copy.Reason = c.reason(ctx, err)
		return c.copy.Reason, err
	})
	c.copy.End = c.proxy.now()
	// The client's request may last long; the copy's memory is not to.
	c.request, c.decision, c.meter = nil, nil, llm.Meter{}
	if c.copy.Reason == "" {
		c.copy.Reason = copyUnpicked(ctx, err)
	}
	var full *scheduling.SaturatedError
	switch {
	case errors.As(err, &full):
		return MirrorDropped // no room for what nobody waits for
	case err != nil:
		return MirrorFailed
	}
	return MirrorAnswered
}

// hear has the endpoint asked and its answer metered.
func (c *comparison) hear(ctx context.Context, s *shadow, d *scheduling.Decision) error {
	c.copy.Endpoint, c.decision = d.Endpoint.Address, d
	answer, err := s.ask(ctx, d.Endpoint.Address)
	if err != nil {
		return err
	}
	defer answer.Close()
	contentType := answer.header.Get("Content-Type")
	c.copy.Status = answer.status
	c.events = strings.EqualFold(mediaType(contentType), "text/event-stream")
	if c.metered = answer.header.Get("Content-Encoding") == ""; c.metered {
		c.meter.Reset(contentType)
		if c.request != nil {
			c.meter.Expect(c.request)
		}
	}
	_, err = io.Copy(c, answer)
	return err
}

// Write meters a piece of the answer.
func (c *comparison) Write(p []byte) (int, error) {
	now := c.proxy.now()
	if c.copy.FirstByte.IsZero() {
		c.copy.FirstByte = now
		if computes(c.copy.Status) {
			c.decision.Reservation.FirstToken(now)
		}
	}
	c.copy.BytesOut += int64(len(p))
	if c.metered {
		c.meter.Observe(p, now)
	}
	return len(p), nil
}

// reason tells why the copy ended once an endpoint was chosen, as reason and blame do
// for requests.
func (c *comparison) reason(ctx context.Context, err error) string {
	var e *upstream.Error
	switch {
	case err == nil, c.events && c.copy.Report.Done:
		return answerReason(&c.copy, c.events, true)
	case ctx.Err() != nil:
		return llm.ReasonRequestTimeout
	case c.copy.Status != 0 && !errors.As(err, &e):
		return llm.ReasonUpstreamTruncated // by net/http's client
	}
	return blameEndpoint(err).reason
}

// copyUnpicked tells why no endpoint was chosen for a copy.
func copyUnpicked(ctx context.Context, err error) string {
	var public *llm.Error
	switch {
	case errors.As(err, &public):
		return pickerReason(public)
	case errors.Is(err, scheduling.ErrNoEndpoints), errors.Is(err, scheduling.ErrExhausted):
		return llm.ReasonNoEndpoints
	case ctx.Err() != nil:
		return llm.ReasonRequestTimeout
	}
	return llm.ReasonPickerFailed
}

// endCopy closes the books of the copy.
func (c *comparison) endCopy(result string) {
	if result == MirrorDropped || c.proxy.mirrors.base.Err() != nil {
		c.void.Store(true)
	}
	if o, ok := c.proxy.observer.(ShadowObserver); ok {
		o.Shadowed(c.assignment, result)
	}
	c.over()
}

// endComparisons closes the books of the requests that were copied.
func (x *exchange) endComparisons() {
	for _, c := range x.comparisons {
		if c == nil {
			continue
		}
		c.stable = x.visit.Outcome
		if x.rescued {
			c.void.Store(true) // what another rollout's candidate failed
		}
		c.over()
	}
}

// over is called once for each side.
func (c *comparison) over() {
	if c.left.Add(-1) != 0 || c.void.Load() {
		return
	}
	if o, ok := c.proxy.observer.(CompareObserver); ok {
		o.Compared(c.assignment, &c.stable, &c.copy)
	}
}

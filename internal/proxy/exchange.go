package proxy

import (
	"context"
	"net/http"
	"runtime/debug"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
)

// An exchange is one request on its way. Exchanges are used again, so whatever
// is handed out of one must not be kept by anyone after finish.
type exchange struct {
	proxy *Proxy
	w     http.ResponseWriter
	r     *http.Request
	port  uint16
	// ctx ends when the client leaves or the route's request timeout passes.
	ctx    context.Context
	cancel context.CancelFunc
	// base is ctx as it was before anything that concerns one backend alone could end
	// it: the rollout's cancelling of a candidate, or a pool's picker.
	base  context.Context
	trial *trial // nil: the request is on no candidate

	snapshot *routing.Snapshot // the one this request lives and dies with
	visit    Visit             // listener, route, backend and what is known of the outcome
	rule     *routing.Rule     // of visit.Route
	pool     *routing.Pool     // of visit.Backend

	rescued bool // taken from a candidate that failed, see rescue.go
	before  int  // tries before those at the present backend

	body    heldBody    // a body in memory
	request llm.Request // what was read of it; HasModel is false for every other body
	upload  *upload     // a body that is streamed
	shadows []*shadow   // copies for mirrors that wait for the end of upload

	comparisons [2]*comparison // with a copy that a candidate got, by part; nil: none

	out       upstream.Request // what the engine is sent
	header    http.Header      // out.Header, this exchange's own
	parts     [3][]byte        // out.Body
	forwarded [3]string        // values of X-Forwarded-*

	call     scheduling.Call
	decision scheduling.Decision // of the try under way
	// tryCtx ends when the route's limit on one try passes; nil when it has none.
	tryCtx        context.Context
	endTryContext context.CancelFunc
	reply         reply

	// The talk with the pool's external picker, nil where the in-process one
	// chooses, what it chose, and how many of these were asked.
	consultation Consultation
	chosen       []string
	turn         int

	meter      llm.Meter
	tokens     int               // content events after the first, so far
	restorer   *llm.NameRestorer // nil: the answer passes as it is
	restored   []byte            // its output, used again
	writeUntil time.Time         // the deadline for a client that does not read

	onInformational func(int, http.Header)

	ended    bool // the request's body was read to its end
	begun    bool // the Observer knows
	mirrored bool // copies were made
	wrote    bool // the client has been sent a status
	events   bool // the answer is an event stream
	metered  bool // meter watches the answer
	flushing bool // each piece of the answer is sent on at once
	aborted  bool // the client's connection must break, for that tells it the answer is not whole
}

func newExchange(p *Proxy) *exchange {
	x := &exchange{proxy: p, header: make(http.Header, 16)}
	// Made once here, for closures per request would cost allocations.
	x.meter.GapObserver = func(gap time.Duration) {
		x.tokens++
		p.observer.Gap(&x.visit, gap)
	}
	x.onInformational = x.informational
	return x
}

func (p *Proxy) begin(w http.ResponseWriter, r *http.Request, port uint16) *exchange {
	p.active.Add(1)
	x := p.exchanges.Get().(*exchange)
	x.w, x.r, x.port, x.ctx = w, r, port, r.Context()
	x.snapshot = p.snapshot.Load()
	x.visit.Request = r
	x.visit.Outcome.Start = p.now()
	return x
}

func (x *exchange) run() {
	if no := x.serve(); no != nil {
		x.refuse(no)
	}
}

// serve is one request's journey. A step that returns a refusal has written
// nothing to the client.
func (x *exchange) serve() *refusal {
	if no := checkFraming(x.r); no != nil {
		return no
	}
	if x.asksForOptions() {
		x.empty(http.StatusOK)
		return nil
	}
	if no := x.match(); no != nil {
		return no
	}
	if x.answersItself() {
		return nil
	}
	if no := x.readBody(); no != nil {
		return no
	}
	if no := x.draw(); no != nil {
		return no
	}
	no := x.ask()
	if no != nil && x.rescue(no.reason) {
		no = x.ask()
	}
	return no
}

// ask sends the request to the backend that was drawn and passes its answer on.
func (x *exchange) ask() *refusal {
	if no := x.enter(); no != nil {
		return no
	}
	x.mirror()
	x.compose()
	if no := x.consult(); no != nil {
		return no
	}
	return x.forward()
}

// answersItself answers what needs no engine.
func (x *exchange) answersItself() bool {
	switch {
	case x.asksForPermission():
		x.permit()
	case x.rule.Filters.Redirect != nil:
		x.redirect(x.rule.Filters.Redirect)
	case x.asksForModels():
		x.listModels()
	default:
		return false
	}
	return true
}

// asksForOptions reports a request about the gateway itself, OPTIONS * (RFC 9110
// §9.3.7). No route matches it.
func (x *exchange) asksForOptions() bool {
	return x.r.Method == http.MethodOptions && x.r.RequestURI == "*"
}

// empty answers with a status and the header set so far, without a body.
func (x *exchange) empty(status int) {
	x.leaveBody()
	x.w.Header()["Content-Length"] = []string{"0"}
	x.wrote = true
	x.w.WriteHeader(status)
	x.visit.Outcome.Status, x.visit.Outcome.Reason = status, llm.ReasonOK
}

// refuse tells the client why nothing comes of its request.
func (x *exchange) refuse(no *refusal) {
	o := &x.visit.Outcome
	o.Status, o.Reason = no.public.Status, no.reason
	x.wrote = true
	x.leaveBody()
	// HTTP/2 frames its requests itself, and a connection carries many.
	closing := no.closing && x.r.ProtoMajor == 1
	no.bodiless = x.r.Method == http.MethodHead
	o.BytesOut += int64(no.write(x.w, closing, x.allowOrigin))
}

// began tells the Observer, once.
func (x *exchange) began() {
	if !x.begun {
		x.begun = true
		x.proxy.observer.Begin(&x.visit)
	}
}

// finish closes the books of the exchange, whatever way it ended, and makes it
// ready for another request. It must be deferred directly.
func (x *exchange) finish() {
	p := x.proxy
	fault := recover()
	if fault != nil {
		p.logger.Error("request handler failed", "fault", fault, "stack", string(debug.Stack()))
		x.fail()
	}
	x.settle()
	x.closeUpload()
	x.startShadows()
	x.began()
	p.observer.End(&x.visit)
	x.endComparisons()
	x.body.release(p)
	x.leaveTrials()
	if x.cancel != nil {
		x.cancel()
	}
	aborted := x.aborted
	// A streamed body's reader may still be in use, and after a fault so may
	// anything else.
	if x.upload == nil && fault == nil {
		x.reset()
		p.exchanges.Put(x)
	}
	p.active.Add(-1)
	if aborted {
		panic(http.ErrAbortHandler)
	}
}

// fail answers for a fault of our own.
func (x *exchange) fail() {
	if x.reply.open() {
		x.reply.close()
	}
	if x.wrote {
		x.visit.Outcome.Reason, x.aborted = llm.ReasonInternal, true
		return
	}
	no := refuse(llm.Internal("The gateway failed; its log says why."), llm.ReasonInternal)
	no.closing = true
	x.refuse(no)
}

// reset forgets the request but keeps the memory that the next one can use.
func (x *exchange) reset() {
	clear(x.header)
	clear(x.call.Tried)
	tried := x.call.Tried[:0]
	*x = exchange{
		proxy: x.proxy, meter: x.meter, header: x.header, restored: x.restored[:0],
		onInformational: x.onInformational,
	}
	x.call.Tried = tried
}

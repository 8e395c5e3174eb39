package proxy

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/upstream"
)

// errBusy is the failure of a try whose endpoint answered 503: it is full or going
// down, and another may not be.
var errBusy = errors.New("endpoint answered 503")

// errRefused is the failure of a try whose answer the route does not take.
var errRefused = errors.New("answer is one that the route retries")

// errFailed is the failure of a try at a candidate that answered with an error, so
// that stable is asked.
var errFailed = errors.New("the candidate answered with an error")

// unwelcome returns an error when the answer that came is better not passed on and
// the request can be sent again: when a candidate's is an error and stable can be
// asked, when its status is one that the route retries or,
// on routes that say nothing of retries, when it is a 503 and another endpoint can
// be asked. But for the route's wish this holds for pools of model servers alone:
// what an error of other services means is not ours to guess.
func (x *exchange) unwelcome(try int) error {
	switch {
	case x.reply.status >= 500 && x.pool.Inference && x.rescuable() >= 0:
		return errFailed
	case try >= x.retries() || x.upload.consumed() || x.out.Upgrade:
	case x.rule.Retry != nil:
		if x.rule.Retry.Refuses(x.reply.status) {
			return errRefused
		}
	case x.reply.status == http.StatusServiceUnavailable && x.pool.Inference && x.others():
		return errBusy
	}
	return nil
}

// retries is how many tries there may be after the first.
func (x *exchange) retries() int {
	if r := x.rule.Retry; r != nil && r.Attempts > 0 {
		return r.Attempts
	}
	return x.proxy.limits.Retries
}

// defaultBackoff is the time before a retry on routes that ask for retries and do
// not say how long. It keeps a failing endpoint from being asked again at once.
const defaultBackoff = 25 * time.Millisecond

// maxDoublings bounds how far the time between tries grows.
const maxDoublings = 3

// backOff waits before the try after the given one, on routes that ask for retries,
// and lets all endpoints be asked again when all have been, or all that an external
// picker chose. Without such a route it
// is another endpoint's turn at once.
func (x *exchange) backOff(try int) *refusal {
	r := x.rule.Retry
	if r == nil {
		return nil
	}
	if len(x.call.Tried) >= len(x.pool.Endpoints) || x.consultation != nil && !x.others() {
		x.call.Tried, x.turn = x.call.Tried[:0], 0
	}
	timer := time.NewTimer(cmp.Or(r.Backoff, defaultBackoff) << min(try, maxDoublings))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-x.ctx.Done():
		return x.blame(x.ctx.Err())
	}
}

// mayRetry decides whether another endpoint is asked after a try failed with err.
// It is only reached while the client has seen nothing of an answer.
//
// A connection that did not come about is always worth another endpoint. One that
// broke before the first byte is too, but the endpoint may have begun to work:
// to compute a completion twice does no harm, to do what other POSTs do twice may.
// Timeouts are not retried: they are how long someone wants to wait in all. A route
// that asks for retries has them of any method, and after its own limit on one try.
//
// The candidate of a rollout is not worth so much patience where stable can be asked:
// what did not fail at once, by finding no connection, is stable's next.
func (x *exchange) mayRetry(err error, try int) bool {
	if try >= x.retries() || x.upload.consumed() || x.ctx.Err() != nil {
		return false
	}
	spoiled := x.rescuable() >= 0
	if x.tryCtx != nil && x.tryCtx.Err() != nil {
		return x.rule.Retry != nil && !spoiled
	}
	if err == errBusy || err == errRefused {
		return true
	}
	var e *upstream.Error
	switch {
	case !errors.As(err, &e):
		return false
	case e.Op == upstream.OpDial:
		return !spoiled || x.others()
	case spoiled:
		return false
	}
	return e.BeforeFirstByte && !e.Timeout && (x.rule.Retry != nil || x.pool.Inference || idempotent(x.r.Method))
}

// idempotent methods may be repeated (RFC 9110 §9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// blame says whose fault a failed try or a broken answer is.
func (x *exchange) blame(err error) *refusal {
	if fault := x.upload.failure(); fault != nil {
		if errors.Is(fault, errTooLarge) {
			return tooLarge(x.limit())
		}
		return x.blameClient(fault)
	}
	switch {
	case context.Cause(x.r.Context()) == errDrained:
		return refuse(llm.Unavailable("The gateway is going down."), llm.ReasonDraining)
	case x.r.Context().Err() != nil:
		return clientGone()
	case context.Cause(x.ctx) == errRolloutCancelled:
		return refuseBriefly(llm.Unavailable("The version that was to answer this request has been withdrawn; send it again."), llm.ReasonRolloutCancelled)
	case x.consultation != nil || x.pool != nil && x.pool.Picker != nil:
		if no := x.blameExternal(err); no != nil {
			return no
		}
	}
	switch {
	case context.Cause(x.ctx) == errRequestTimeout:
		return refuse(llm.GatewayTimeout("The answer took longer than the route's request timeout allows."), llm.ReasonRequestTimeout)
	case x.tryCtx != nil && context.Cause(x.tryCtx) == errAttemptTimeout:
		return refuse(llm.GatewayTimeout("The engine's answer took longer than the route's backend timeout allows."), llm.ReasonUpstreamTimeout)
	case err == errRefused, err == errFailed:
		return refuse(llm.BadGateway("The engine kept answering with an error."), llm.ReasonUpstreamError)
	case err == errBusy:
		return refuseBriefly(llm.Unavailable("The engine is overloaded or going down."), llm.ReasonUpstreamError)
	}
	return blameEndpoint(err)
}

func blameEndpoint(err error) *refusal {
	var e *upstream.Error
	switch {
	case !errors.As(err, &e):
		return refuse(llm.BadGateway("The engine could not be reached."), llm.ReasonUpstreamReset)
	case e.Op == upstream.OpRequest:
		return refuse(llm.BadRequest("", "The request cannot be forwarded: its host, target or a header is malformed."), llm.ReasonBadRequest)
	case e.Op == upstream.OpDial:
		return refuseBriefly(llm.BadGateway("No connection to the engine could be made."), llm.ReasonUpstreamConnect)
	case e.Op == upstream.OpBody && e.Timeout:
		return refuse(llm.GatewayTimeout("The engine fell silent in the middle of its answer."), llm.ReasonIdleTimeout)
	case e.Op == upstream.OpBody:
		return refuse(llm.BadGateway("The engine's answer broke off."), llm.ReasonUpstreamTruncated)
	case e.Timeout:
		return refuse(llm.GatewayTimeout("The engine did not begin its answer in time."), llm.ReasonFirstByteTimeout)
	case e.BeforeFirstByte:
		return refuse(llm.BadGateway("The engine closed the connection without an answer."), llm.ReasonUpstreamReset)
	}
	return refuse(llm.BadGateway("The engine's answer is not HTTP."), llm.ReasonUpstreamInvalid)
}

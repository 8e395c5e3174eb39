package proxy

import (
	"context"
	"errors"
	"net/http"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/upstream"
)

// errBusy is the failure of a try whose endpoint answered 503: it is full or going
// down, and another may not be.
var errBusy = errors.New("endpoint answered 503")

// busy reports whether the answer that came is a 503 better not passed on, since
// another endpoint can be asked. Only model calls: what a 503 of other services
// means is not ours to guess.
func (x *exchange) busy(try int) bool {
	return x.reply.status == http.StatusServiceUnavailable && x.pool.Inference &&
		try < x.proxy.limits.Retries && x.others() &&
		!x.upload.consumed() && !x.out.Upgrade
}

// mayRetry decides whether another endpoint is asked after a try failed with err.
// It is only reached while the client has seen nothing of an answer.
//
// A connection that did not come about is always worth another endpoint. One that
// broke before the first byte is too, but the endpoint may have begun to work:
// to compute a completion twice does no harm, to do what other POSTs do twice may.
// Timeouts are not retried: they are how long someone wants to wait in all.
func (x *exchange) mayRetry(err error, try int) bool {
	if try >= x.proxy.limits.Retries || x.upload.consumed() ||
		x.ctx.Err() != nil || x.tryCtx != nil && x.tryCtx.Err() != nil {
		return false
	}
	if err == errBusy {
		return true
	}
	var e *upstream.Error
	if !errors.As(err, &e) {
		return false
	}
	if e.Op == upstream.OpDial {
		return true
	}
	return e.BeforeFirstByte && !e.Timeout && (x.pool.Inference || idempotent(x.r.Method))
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

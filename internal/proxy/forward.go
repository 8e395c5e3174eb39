package proxy

import (
	"context"
	"errors"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/scheduling"
)

// forward sends the request to one endpoint after another until one answers, and
// passes that answer on.
func (x *exchange) forward() *refusal {
	x.began()
	var failed *refusal // of the try before
	for try := 0; ; try++ {
		if no := x.pick(); no != nil {
			if failed != nil {
				return failed // what went wrong says more than that nothing is left
			}
			return no
		}
		x.visit.Outcome.Retries = x.before + try
		err := x.send(try)
		if err == nil {
			if no := x.showPicker(); no != nil {
				return no
			}
			return x.answer()
		}
		failed = x.blame(err)
		again := x.mayRetry(err, try)
		x.endTry(failed.reason)
		if !again {
			return failed
		}
		x.call.Tried = append(x.call.Tried, x.decision.Endpoint.Address)
		if no := x.backOff(try); no != nil {
			return no
		}
	}
}

// pick has an endpoint chosen and reserved.
func (x *exchange) pick() *refusal {
	if !x.nextChosen() {
		return x.noEndpoints()
	}
	x.call.At = x.proxy.now()
	decision, err := x.proxy.picker.Pick(x.ctx, &x.call, x.pool)
	if err != nil {
		return x.blamePicker(err)
	}
	x.decision = decision
	x.visit.Outcome.Endpoint = decision.Endpoint.Address
	return nil
}

func (x *exchange) blamePicker(err error) *refusal {
	var public *llm.Error
	var full *scheduling.SaturatedError
	switch {
	case errors.As(err, &full):
		no := refuseBriefly(llm.RateLimited("Every endpoint of "+x.pool.Name+" is full; try again later."), llm.ReasonRateLimited)
		no.wait = full.RetryAfter
		return no
	case errors.As(err, &public):
		return &refusal{public: public, reason: pickerReason(public), retryAfter: public.Status == 429 || public.Status == 503}
	case errors.Is(err, scheduling.ErrNoEndpoints), errors.Is(err, scheduling.ErrExhausted):
		return x.noEndpoints()
	case x.ctx.Err() != nil:
		return x.blame(err)
	}
	x.proxy.logger.Warn("endpoint picker failed", "pool", x.pool.Name, "error", err)
	return refuseBriefly(llm.Unavailable("No endpoint could be chosen."), llm.ReasonPickerFailed)
}

func pickerReason(public *llm.Error) string {
	switch public.Status {
	case 404:
		return llm.ReasonModelNotFound
	case 429:
		return llm.ReasonRateLimited
	case 503:
		return llm.ReasonNoEndpoints
	}
	return llm.ReasonPickerFailed
}

// send asks the endpoint that was picked and waits for the head of its answer.
func (x *exchange) send(try int) error {
	ctx := x.tryContext()
	var err error
	if x.pool.Plain() {
		err = x.sendPlain(ctx)
	} else {
		err = x.sendByTransport(ctx)
	}
	if err == nil {
		if err = x.unwelcome(try); err != nil {
			x.reply.close()
		}
	}
	return err
}

func (x *exchange) sendPlain(ctx context.Context) error {
	response, err := x.proxy.upstream.Do(ctx, x.decision.Endpoint.Address, &x.out)
	if err != nil {
		return err
	}
	x.reply = reply{plain: response, status: response.Status, header: response.Header, length: response.ContentLength}
	return nil
}

// tryContext is the context of one try at one endpoint.
func (x *exchange) tryContext() context.Context {
	limit := x.rule.Timeouts.BackendRequest
	if limit <= 0 {
		return x.ctx
	}
	ctx, cancel := context.WithTimeoutCause(x.ctx, limit, errAttemptTimeout)
	x.endTryContext, x.tryCtx = cancel, ctx
	return ctx
}

// endTry gives the endpoint's reservation back and forgets the try's context.
func (x *exchange) endTry(reason string) {
	x.decision.Reservation.End(scheduling.EndResult{
		At:     x.proxy.now(),
		Usage:  x.visit.Outcome.Report.Usage,
		Failed: endpointFailed(reason),
	})
	x.decision.Reservation = nil
	if x.endTryContext != nil {
		x.endTryContext()
		x.endTryContext, x.tryCtx = nil, nil
	}
}

// endpointFailed reports whether a call that ended for this reason speaks against
// its endpoint.
func endpointFailed(reason string) bool {
	switch reason {
	case llm.ReasonUpstreamConnect, llm.ReasonUpstreamReset, llm.ReasonUpstreamInvalid, llm.ReasonUpstreamTimeout,
		llm.ReasonFirstByteTimeout, llm.ReasonIdleTimeout, llm.ReasonUpstreamTruncated,
		llm.ReasonUpstreamStreamError, llm.ReasonUpstreamError:
		return true
	}
	return false
}

package proxy

import (
	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// A rescue keeps clients from paying for an experiment: a request that the candidate
// of a rollout failed is sent to stable instead, as if it had been assigned there,
// as long as nothing of an answer has reached the client and sending it again does no
// harm. It happens once in a request's life, and only while an attempt is under way:
// later the candidate is what everybody gets. Requests that are pinned keep their
// candidate's error, for whoever pins one wants to see it.
//
// A pool with an external picker is no exception: the consultation about the
// candidate's pool ends and, where stable's has a picker, another begins. What a
// picker answers in an engine's stead is passed on as an engine's would be.

// rescuable returns which part's candidate the request can be taken from, or -1. It
// looks at the request alone, not at what went wrong.
func (x *exchange) rescuable() int {
	if x.rescued || x.wrote || x.visit.Outcome.Status != 0 || x.upload.consumed() || x.base == nil || x.base.Err() != nil {
		return -1
	}
	for i := range x.visit.Parts {
		p := &x.visit.Parts[i]
		if a := p.Assignment; a != nil && a.Watched && p.Candidate && p.How != routing.Pinned && x.stableReady(i) {
			return i
		}
	}
	return -1
}

// stableReady reports whether stable has an endpoint that can be asked.
func (x *exchange) stableReady(part int) bool {
	pool := x.pool // the targets of a model share it
	if part == OfRule {
		pool = x.rule.Backends[x.rule.Assignment.Stable].Pool
	}
	return pool != nil && len(pool.Endpoints) > 0
}

// rescue makes the request stable's when its candidate ended it for the given reason
// and that is worth another try. It tells the observer of the failure in any case.
func (x *exchange) rescue(reason string) bool {
	x.tellFailed(reason)
	part := x.rescuable()
	if part < 0 || !x.worthRescue(reason) {
		return false
	}
	x.began()
	drawn := x.visit.Backend
	for i := range x.visit.Parts {
		if p := &x.visit.Parts[i]; p.Assignment != nil {
			p.Rescued = reason
		}
	}
	x.leaveBackend(reason, part)
	if part == OfRule {
		x.visit.Backend = &x.rule.Backends[x.rule.Assignment.Stable]
	}
	if o, ok := x.proxy.observer.(RescueObserver); ok {
		o.Rescued(&x.visit, drawn)
	}
	return true
}

// worthRescue decides by why the candidate's try ended. Where the engine may have
// begun to work, what mayRetry says of repeating holds here too.
func (x *exchange) worthRescue(reason string) bool {
	switch {
	case reason == llm.ReasonNoEndpoints, reason == llm.ReasonBackendInvalid, reason == llm.ReasonUpstreamConnect:
		return true
	case !x.speaksAgainst(reason) && reason != llm.ReasonRolloutCancelled:
		return false
	}
	return x.pool.Inference || x.rule.Retry != nil || idempotent(x.r.Method)
}

// speaksAgainst reports whether a request that ended for this reason before the first
// byte of an answer speaks against the version that it was drawn to: its endpoints, or
// an external picker of its own. Limits, of engines or ours, do not.
func (x *exchange) speaksAgainst(reason string) bool {
	switch reason {
	case llm.ReasonNoEndpoints, llm.ReasonBackendInvalid, llm.ReasonRequestTimeout:
		return true
	case llm.ReasonPickerFailed:
		return x.pool.Picker != nil
	}
	return endpointFailed(reason)
}

// leaveBackend undoes whatever was done for the backend that failed; what is of the
// request stays.
func (x *exchange) leaveBackend(reason string, part int) {
	if x.reply.open() {
		x.reply.close()
	}
	x.endConsultation()
	x.endTry(reason)
	x.leaveTrials()
	x.ctx = x.base
	tried := x.call.Tried
	if part == OfModel && reason == llm.ReasonUpstreamConnect && x.others() {
		// Another model may work where this one did not, but none does where nobody
		// listens.
		tried = append(tried, x.decision.Endpoint.Address)
	} else {
		clear(tried)
		tried = tried[:0]
	}
	x.call = scheduling.Call{Tried: tried}
	x.decision, x.reply = scheduling.Decision{}, reply{}
	x.chosen, x.turn = nil, 0
	x.restorer, x.visit.Model = nil, nil
	clear(x.header)
	x.out.Stream, x.out.Body, x.parts = nil, nil, [3][]byte{}
	o := &x.visit.Outcome
	o.Pool, o.Target, o.Endpoint = "", "", ""
	x.before = o.Retries + 1
	o.Retries, x.rescued = x.before, true
}

// tellFailed notes and tells why the candidates that the request is on failed it,
// once. The client has been sent nothing.
func (x *exchange) tellFailed(reason string) {
	if x.rescued || !x.speaksAgainst(reason) {
		return
	}
	o, told := x.proxy.observer.(RolloutObserver)
	for i := range x.visit.Parts {
		p := &x.visit.Parts[i]
		if p.Assignment == nil || !p.Candidate || p.Failed != "" {
			continue
		}
		p.Failed = reason
		if told {
			x.began()
			o.Failed(&x.visit, i, reason)
		}
	}
}

// tellFirstByte tells that the first byte of an answer has come, of requests with a
// part in a rollout.
func (x *exchange) tellFirstByte() {
	if x.visit.Parts[OfRule].Assignment == nil && x.visit.Parts[OfModel].Assignment == nil {
		return
	}
	if o, ok := x.proxy.observer.(RolloutObserver); ok {
		o.FirstByte(&x.visit)
	}
}

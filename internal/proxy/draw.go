package proxy

import (
	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// draw chooses the backend among the rule's, by the weights, among those that can
// serve the model.
func (x *exchange) draw() *refusal {
	model := x.request.Model
	all := x.rule.Split("")
	if all == nil || all.Total() == 0 {
		return refuse(llm.Internal("The route has no backend with a weight above 0."), llm.ReasonRouteInvalid)
	}
	split := x.rule.Split(model)
	if split == nil {
		return refuse(llm.ModelNotFound(model), llm.ReasonModelNotFound)
	}
	x.visit.Excluded = split.Total() < all.Total()
	caller := x.caller()
	drawn, at, ok := x.rule.Assign(split.Draw(), model, &caller)
	if ok {
		if a := x.rule.Assignment; at.Candidate {
			if at = x.place(a, at); !at.Candidate {
				drawn = a.Stable
			}
		}
		x.visit.Parts[OfRule] = Part{Assignment: x.rule.Assignment, Place: at}
	}
	x.visit.Backend, x.base = &x.rule.Backends[drawn], x.ctx
	return nil
}

// enter finds what the backend's pool is asked for, and refuses when it cannot be
// asked.
func (x *exchange) enter() *refusal {
	backend := x.visit.Backend
	if x.pool = backend.Pool; x.pool == nil {
		return refuse(llm.Internal("The backend drawn for this request cannot be served: "+backend.Failure+"."), llm.ReasonBackendInvalid)
	}
	x.visit.Outcome.Pool = x.pool.Name
	if why := identityFailure(x.pool, x.visit.Listener.Identity); why != "" {
		return refuse(llm.Internal("The gateway has no client certificate to show the backend: "+why+"."), llm.ReasonBackendInvalid)
	}
	x.drawTarget()
	x.joinTrials()
	if len(x.pool.Endpoints) == 0 {
		return x.noEndpoints()
	}
	return nil
}

func (x *exchange) noEndpoints() *refusal {
	return refuseBriefly(llm.Unavailable("No endpoint of "+x.pool.Name+" is ready."), llm.ReasonNoEndpoints)
}

// caller is what the request tells of who sends it. Its fields of the body alias the
// body.
func (x *exchange) caller() routing.Caller {
	r := &x.request
	return routing.Caller{Header: x.r.Header, User: r.User, PromptCacheKey: r.PromptCacheKey, SafetyIdentifier: r.SafetyIdentifier}
}

// drawTarget finds what the model's name means in the pool. Pools known not to
// serve the model never get here: Rule.Split leaves them out.
func (x *exchange) drawTarget() {
	x.call.Request, x.call.Model = nil, x.request.Model
	x.call.CacheSalt = string(x.request.CacheSalt)
	if !x.pool.Inference {
		return
	}
	x.call.Flow = x.flow()
	if x.body.buffer != nil {
		x.call.Request = &x.request
	}
	if x.request.HasModel {
		if rule := x.pool.Rule(x.request.Model); rule != nil {
			x.visit.Model = rule
			x.call.Priority = rule.Priority
			if target := x.drawModel(rule); target != "" {
				x.call.Model = target
			}
		}
	}
	x.visit.Outcome.Target = x.call.Model
	if p, ok := x.objective(); ok {
		x.call.Priority = p
	}
}

// drawModel draws the rule's target for the request. One that was rescued is not
// sent to another candidate, and is nobody's sample any more.
func (x *exchange) drawModel(rule *routing.ModelRule) string {
	if a := rule.Assignment; x.rescued && a != nil {
		return rule.Targets[a.Stable].Model
	}
	caller := x.caller()
	target, at, ok := rule.DrawFor(&caller)
	if a := rule.Assignment; ok && at.Candidate {
		if at = x.place(a, at); !at.Candidate {
			target = rule.Targets[a.Stable].Model
		}
	}
	if ok && !x.rescued {
		x.visit.Parts[OfModel] = Part{Assignment: rule.Assignment, Place: at}
	}
	return target
}

// objective returns the priority that the request chose by naming one of the
// pool's InferenceObjectives. A name the pool lacks chooses nothing.
func (x *exchange) objective() (priority int, ok bool) {
	if len(x.pool.Objectives) == 0 {
		return 0, false
	}
	for _, header := range [...]string{objectiveHeader, objectiveHeaderOld} {
		if names := x.r.Header[header]; len(names) > 0 {
			priority, ok = x.pool.Objectives[names[0]]
			return priority, ok
		}
	}
	return 0, false
}

// flow returns who the request says it is for.
func (x *exchange) flow() string {
	for _, header := range [...]string{fairnessHeader, fairnessHeaderOld} {
		if ids := x.r.Header[header]; len(ids) > 0 {
			return ids[0][:min(len(ids[0]), longestFlow)]
		}
	}
	return ""
}

package translate

import (
	"fmt"
	"net/http"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/routing"
)

// assignment is the split that the overlay lays over alternatives stable and
// candidate.
func (x *rolloutOverlay) assignment(stable, candidate int) *routing.Assignment {
	a := &routing.Assignment{Rollout: x.ref.Namespace + "/" + x.ref.Name, Stable: stable, Candidate: candidate, Share: x.share,
		Include: set(x.object.Spec.Assignment.Include), Exclude: set(x.object.Spec.Assignment.Exclude)}
	a.Override = http.CanonicalHeaderKey(x.object.Spec.Assignment.OverrideHeader)
	for _, k := range x.object.Spec.Assignment.Keys {
		a.Keys = append(a.Keys, routing.Key{Header: http.CanonicalHeaderKey(k.Header), Cookie: k.Cookie, Field: k.BodyField, Consumer: k.Consumer})
	}
	if s := x.object.Status.Shares; s != nil {
		a.Salt, a.Attempt, a.Revision, a.Watched = s.Salt, s.Attempt, s.Revision, s.Watched
		x.setTask(a, s.Task)
	}
	a.Seal()
	x.applied = true
	return a
}

// setTask has gateways do what the status says beside serving. Nothing is begun for
// a candidate that is not wanted any longer.
func (x *rolloutOverlay) setTask(a *routing.Assignment, t *cfv1a1.RolloutTask) {
	a.Cancel = x.aborted && x.plan.Abort.Cancel || t != nil && t.Cancel
	if t == nil || x.aborted {
		return
	}
	if w := t.Warmup; w != nil {
		a.Warmup = &routing.Warmup{Requests: int(min(max(w.Requests, 0), maxWarmupRequests)), Probes: probes(x.object.Spec.Steps)}
	}
	if m := t.Mirror; m != nil {
		a.Shadow = &routing.Shadow{Percent: int(min(max(m.Percent, 0), 100)), MaxTokens: int(max(m.MaxTokens, 0))}
	}
}

// Bounds of a warm-up, which are those of the CRD.
const (
	maxWarmupRequests = 10_000 // to each endpoint
	maxProbes         = 32
)

// defaultProbePath is where a warm-up's requests go that name no path.
const defaultProbePath = "/v1/chat/completions"

// probes returns the requests of all warm-ups of a plan.
func probes(steps []cfv1a1.RolloutStep) []routing.Probe {
	var out []routing.Probe
	for i := range steps {
		w := steps[i].Warmup
		if w == nil {
			continue
		}
		for _, r := range w.Requests {
			if len(out) < maxProbes {
				out = append(out, routing.Probe{Path: defaulted(r.Path, defaultProbePath), Body: r.Body})
			}
		}
	}
	return out
}

func set(list []string) map[string]struct{} {
	if len(list) == 0 {
		return nil
	}
	out := make(map[string]struct{}, len(list))
	for _, s := range list {
		out[s] = struct{}{}
	}
	return out
}

// at returns the overlay of a place, or nil.
func (b *build) at(p splitPlace) *rolloutOverlay {
	for _, x := range b.rollouts {
		if x.place == p {
			return x
		}
	}
	return nil
}

// overlayRule lays a rollout over a rule's weights: the pair keeps the sum of its
// weights beside other backends, and one of the two stands for both in the draw.
func (b *build) overlayRule(r *rule) {
	x := b.at(splitPlace{ref: r.route.ref, rule: r.index})
	if x == nil || r.broken() {
		return
	}
	s, c := x.backends(r.route.object, r.spec)
	stable, candidate := &r.routing.Backends[s], &r.routing.Backends[c]
	if !x.applied && candidate.Weight > 0 && x.object.Status.Shares == nil {
		b.report(Warning, r.route.ref, fmt.Sprintf("%s.backendRefs[%d].weight", r.field, c),
			fmt.Sprintf("%s gives the candidate its share from now on, none at first; the weight of %d counts again when it is deleted", x.ref, candidate.Weight), "set the weight to 0")
	}
	stable.Weight, candidate.Weight = pairWeights(stable.Weight, candidate.Weight, x.share)
	r.routing.Assignment = x.assignment(s, c)
}

// pairWeights gives the sum to the side that stands for both: stable, unless the
// candidate has everything.
func pairWeights(stable, candidate, share uint32) (s, c uint32) {
	sum := min(stable+candidate, 1_000_000)
	if share == routing.Buckets {
		return 0, sum
	}
	return sum, 0
}

// overlayTargets lays a rollout over the targets of a model name, with the candidate
// added where the object does not list it.
func (b *build) overlayTargets(p *pool, ref ObjectRef, name string, targets []routing.Target) ([]routing.Target, *routing.Assignment) {
	x := b.at(splitPlace{ref: ref, name: name})
	if x == nil {
		return targets, nil
	}
	out := append([]routing.Target(nil), targets...)
	s, c := -1, -1
	for i := range out {
		if s < 0 && out[i].Model == x.stable.Model {
			s = i
		}
		if c < 0 && out[i].Model == x.candidate.Model {
			c = i
		}
	}
	if s < 0 {
		return targets, nil
	}
	if c < 0 {
		c = len(out)
		out = append(out, routing.Target{Model: x.candidate.Model})
	}
	out[s].Weight, out[c].Weight = pairWeights(out[s].Weight, out[c].Weight, x.share)
	x.pools = append(x.pools, p)
	return out, x.assignment(s, c)
}

package translate

import (
	"fmt"
	"maps"
	"slices"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	"crossfade.dev/internal/routing"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
)

// pool is an InferencePool of either group.
type pool struct {
	ref        ObjectRef
	generation int64
	selector   map[string]string
	ports      []int32
	routing    *routing.Pool
	// picker is what is wrong with the reference to an endpoint picker; requests
	// to the pool then fail. note is what else there is to say of it.
	picker verdict
	note   string
	// selected is how many pods the selector matches, ready or not.
	selected int
	// parents are the Gateways with a route to the pool, and whether one of
	// those routes is accepted there.
	parents map[ObjectRef]bool
	// controllers by parent, as in the parent's GatewayClass.
	controllers map[ObjectRef]string
	// owners is where each of routing's Rules, and the generic one, comes from.
	owners map[string]origin
}

// origin is a field of an object.
type origin struct {
	ref   ObjectRef
	field string
}

// genericName stands for the generic rule among a pool's owners; no model has it.
const genericName = ""

// translatePools fills b.pools, with endpoints and names.
func (b *build) translatePools() {
	b.pools = map[ObjectRef]*pool{}
	for _, o := range oldestFirst(b.in.InferencePools) {
		b.addPool(b.newPool(o))
	}
	for _, o := range oldestFirst(b.in.LegacyInferencePools) {
		b.addPool(b.newLegacyPool(o))
	}
	b.translateModels()
	b.translateRewrites()
	b.translateObjectives()
}

func (b *build) newPool(o *infv1.InferencePool) *pool {
	p := &pool{ref: refTo(inferenceGroup, kindInferencePool, o), generation: o.Generation, selector: map[string]string{}, routing: &routing.Pool{}}
	for k, v := range o.Spec.Selector.MatchLabels {
		p.selector[string(k)] = string(v)
	}
	for _, t := range o.Spec.TargetPorts {
		p.ports = append(p.ports, int32(t.Number))
	}
	if o.Spec.AppProtocol == infv1.AppProtocolH2C {
		p.routing.Protocol = routing.H2C
	}
	if o.Spec.EndpointPickerRef != nil {
		b.resolvePicker(p, o)
	}
	return p
}

func (b *build) newLegacyPool(o *infv1a2.InferencePool) *pool {
	p := &pool{ref: refTo(legacyGroup, kindInferencePool, o), generation: o.Generation, selector: o.Spec.Selector,
		ports: []int32{o.Spec.TargetPortNumber}, routing: &routing.Pool{}}
	if o.Spec.ExtensionRef != nil {
		b.resolveExtension(p, o)
	}
	return p
}

// addPool completes p with its endpoints and what they report.
func (b *build) addPool(p *pool) {
	pods := b.selectPods(p.ref.Namespace, p.selector)
	p.selected = len(pods)
	p.parents, p.controllers, p.owners = map[ObjectRef]bool{}, map[ObjectRef]string{}, map[string]origin{}
	r := p.routing
	r.ID = fmt.Sprintf("%s.%s/%s/%s", p.ref.Kind, p.ref.Group, p.ref.Namespace, p.ref.Name)
	r.Kind, r.Name, r.Inference = p.ref.Kind, p.ref.Namespace+"/"+p.ref.Name, true
	r.Rules, r.Objectives = map[string]*routing.ModelRule{}, map[string]int{}
	r.Endpoints = b.podEndpoints(pods, p.ports)
	b.learnModels(r)
	b.pools[p.ref] = p
}

// learnModels fills in what the endpoints of r report.
func (b *build) learnModels(r *routing.Pool) {
	r.ModelsKnown = len(r.Endpoints) > 0
	for i := range r.Endpoints {
		e := &r.Endpoints[i]
		names, ok := b.in.Models[e.Address]
		if !ok {
			r.ModelsKnown = false
			continue
		}
		e.Models = append(make([]string, 0, len(names)), names...)
		slices.Sort(e.Models)
		r.Models = append(r.Models, names...)
	}
	slices.Sort(r.Models)
	r.Models = slices.Compact(r.Models)
}

// used notes that a route of Gateway g refers to the pool.
func (p *pool) used(g *gateway, byAccepted bool) {
	p.parents[g.ref] = p.parents[g.ref] || byAccepted
	p.controllers[g.ref] = g.class.controller
}

// named is the status of an object that says something of names in a pool; pool
// is nil when there is none.
type named struct {
	pool   *pool
	status Status
}

// finishPools writes the statuses of the pools and of what names things in them,
// now that routes are attached. On a cluster the pools that no Gateway of ours
// leads to, and their models, are another controller's to speak of.
func (b *build) finishPools() {
	for _, n := range b.named {
		if n.pool == nil || len(n.pool.parents) > 0 || !b.opts.Cluster {
			b.statuses = append(b.statuses, n.status)
		}
	}
	for _, p := range b.pools {
		s := Status{Ref: p.ref, Generation: p.generation}
		for _, g := range slices.SortedFunc(maps.Keys(p.parents), CompareRefs) {
			cs := conditions{generation: p.generation}
			if p.parents[g] {
				cs.yes(accepted, string(infv1.InferencePoolReasonAccepted), "")
			} else {
				cs.no(accepted, string(infv1.InferencePoolReasonHTTPRouteNotAccepted), "no HTTPRoute to this pool is accepted")
			}
			if p.picker.bad() {
				cs.no(resolvedRefs, p.picker.reason, p.picker.message)
			} else {
				cs.yes(resolvedRefs, resolvedRefs, p.note)
			}
			s.Parents = append(s.Parents, ParentStatus{Parent: g, Controller: p.controllers[g], Conditions: cs.list})
		}
		b.statuses = append(b.statuses, s)
	}
}

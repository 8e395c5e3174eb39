package translate

import (
	"cmp"
	"slices"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Build translates in. It reads nothing but its arguments, does not change them
// and may be called concurrently. Equal inputs, in whatever order their lists
// are, give equal results.
func Build(in *Resources, opts Options) *Result {
	b := &build{in: in, opts: opts, index: newIndex(in)}
	b.findRollouts()
	b.translateGateways()
	b.translatePools()
	b.findParents()
	b.attachPolicies()
	b.translateRoutes()
	b.finishPools()
	b.finishGateways()
	b.finishRollouts()
	b.warn()
	return b.result()
}

// build is the state of one Build: its input and what has been found so far.
type build struct {
	in   *Resources
	opts Options
	*index

	gateways []*gateway // ours, oldest first
	// classless are the Gateways whose class does not exist on a cluster: perhaps
	// ours a moment ago.
	classless []*gwv1.Gateway
	pools     map[ObjectRef]*pool     // every InferencePool, of both groups
	services  map[string]*servicePool // by routing.Pool.ID, those that routes use
	routes    []*route                // with a parent of ours, oldest first
	limits    map[target]*policy      // ClientTrafficPolicies
	timeouts  map[target]*policy      // BackendTrafficPolicies
	named     []named                 // InferenceModels and their like
	tls       *tlsPolicies
	rollouts  []*rolloutOverlay // oldest first

	statuses []Status
	problems []Problem
}

// report adds a problem; field may be "", remedy should not.
func (b *build) report(s Severity, ref ObjectRef, field, message, remedy string) {
	b.problems = append(b.problems, Problem{Severity: s, Ref: ref, Field: field, Message: message, Remedy: remedy})
}

// everyClassIsOurs says that no other controller shares the objects, or that
// which Gateway is served was decided before.
func (b *build) everyClassIsOurs() bool { return len(b.opts.Controllers) == 0 }

// alone says that whatever nobody serves is worth a word, for nobody else will.
func (b *build) alone() bool { return b.everyClassIsOurs() && b.opts.Only.Name == "" }

func (b *build) result() *Result {
	slices.SortStableFunc(b.statuses, func(x, y Status) int { return CompareRefs(x.Ref, y.Ref) })
	slices.SortStableFunc(b.problems, compareProblems)
	return &Result{Snapshot: b.snapshot(), Statuses: b.statuses, Problems: slices.Compact(b.problems), DataPlanes: b.dataPlanes(), Rollouts: b.followable()}
}

func compareProblems(a, b Problem) int {
	return cmp.Or(CompareRefs(a.Ref, b.Ref), compareFields(a.Field, b.Field),
		cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Message, b.Message))
}

// compareFields orders paths of fields as a person reads them: rules[9] before
// rules[10].
func compareFields(a, b string) int {
	for a != "" && b != "" {
		x, restA := cutRun(a)
		y, restB := cutRun(b)
		if digits := isDigit(x[0]) && isDigit(y[0]); digits && len(x) != len(y) {
			return cmp.Compare(len(x), len(y))
		}
		if c := cmp.Compare(x, y); c != 0 {
			return c
		}
		a, b = restA, restB
	}
	return cmp.Compare(a, b)
}

// cutRun cuts s, which is not empty, after its first run of digits or of others.
func cutRun(s string) (run, rest string) {
	for i := range len(s) {
		if isDigit(s[i]) != isDigit(s[0]) {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// snapshot gathers the programmed listeners of all Gateways by port, and the
// pools their routes use.
func (b *build) snapshot() *routing.Snapshot {
	s := &routing.Snapshot{Pools: map[string]*routing.Pool{}}
	ports := map[uint16]*routing.Port{}
	for _, g := range b.gateways {
		for _, l := range g.allListeners() {
			if !l.programmed {
				continue
			}
			p := ports[l.port]
			if p == nil {
				p = &routing.Port{Number: l.port, TLS: l.tls}
				ports[l.port] = p
				s.Ports = append(s.Ports, p)
			}
			l.routing.SortRoutes()
			p.Listeners = append(p.Listeners, l.routing)
			l.routing.EachRoute(func(r *routing.Route) { addPools(s, r.Rule) })
		}
	}
	slices.SortFunc(s.Ports, func(x, y *routing.Port) int { return cmp.Compare(x.Number, y.Number) })
	for _, p := range s.Ports {
		slices.SortStableFunc(p.Listeners, func(x, y *routing.Listener) int {
			return routing.CompareHosts(x.Hostname, y.Hostname)
		})
	}
	return s
}

func addPools(s *routing.Snapshot, r *routing.Rule) {
	r.EachPool(func(p *routing.Pool) { s.Pools[p.ID] = p })
}

package translate

import (
	"fmt"
	"time"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// rule is one rule of an HTTPRoute.
type rule struct {
	route   *route
	spec    *gwv1.HTTPRouteRule
	index   int
	field   string // spec.rules[i]
	matches []routing.Match
	faults  []fault
	// routing is the rule without policies; listeners whose policy sets another
	// request timeout have a variant, by that timeout.
	routing    *routing.Rule
	ownTimeout bool
	variants   map[time.Duration]*routing.Rule
}

// fault is what keeps a rule, or one of its backends, from being served.
type fault struct {
	field, reason, message, remedy string
	backend                        int // wholeRule, or the index of a backend
}

const wholeRule = -1

func unsupported(field, message, remedy string) *fault {
	return &fault{field: field, reason: unsupportedValue, message: message, remedy: remedy, backend: wholeRule}
}

// fail notes and reports a fault.
func (b *build) fail(r *rule, f *fault) {
	r.faults = append(r.faults, *f)
	b.report(Error, r.route.ref, f.field, f.message, f.remedy)
}

// translateRule translates rule i of a route. A rule with a fault as a whole
// answers 500 to what its matches cover.
func (b *build) translateRule(rt *route, i int) *rule {
	r := &rule{route: rt, spec: &rt.object.Spec.Rules[i], index: i, field: fmt.Sprintf("spec.rules[%d]", i),
		variants: map[time.Duration]*routing.Rule{}}
	r.routing = &routing.Rule{ID: fmt.Sprintf("%s/%s/%s", rt.ref.Namespace, rt.ref.Name, r.name())}
	b.translateMatches(r)
	filters, f := b.filters(r, r.spec.Filters, r.field, false)
	if f != nil {
		b.fail(r, f)
	}
	r.routing.Filters = filters
	if f := r.translateTimeouts(); f != nil {
		b.fail(r, f)
	}
	if f := r.translateRetry(); f != nil {
		b.fail(r, f)
	}
	for j := range r.spec.BackendRefs {
		r.routing.Backends = append(r.routing.Backends, b.backend(r, j))
	}
	for _, f := range r.faults {
		if f.backend == wholeRule {
			r.routing = &routing.Rule{ID: r.routing.ID, Failure: f.message}
			break
		}
	}
	b.reportUnhonoured(r)
	b.overlayRule(r)
	r.routing.Seal()
	return r
}

// name identifies the rule in its route.
func (r *rule) name() string {
	if n := value(r.spec.Name, ""); n != "" {
		return n
	}
	return fmt.Sprint(r.index)
}

// broken says that the rule as a whole is not served.
func (r *rule) broken() bool { return r.routing.Failure != "" }

func (b *build) translateMatches(r *rule) {
	if len(r.spec.Matches) == 0 {
		r.matches = []routing.Match{{PathType: routing.PathPrefix, Path: "/"}}
		return
	}
	for i := range r.spec.Matches {
		m, f := match(&r.spec.Matches[i], fmt.Sprintf("%s.matches[%d]", r.field, i))
		if f != nil {
			b.fail(r, f)
			continue
		}
		r.matches = append(r.matches, m)
	}
}

func (r *rule) translateTimeouts() *fault {
	t := r.spec.Timeouts
	if t == nil {
		return nil
	}
	var ok bool
	if t.Request != nil {
		r.ownTimeout = true
		if r.routing.Timeouts.Request, ok = duration(*t.Request); !ok {
			return unsupported(r.field+".timeouts.request", fmt.Sprintf("%q is no duration", *t.Request), "write it as 30s or 1h30m")
		}
	}
	if t.BackendRequest != nil {
		if r.routing.Timeouts.BackendRequest, ok = duration(*t.BackendRequest); !ok {
			return unsupported(r.field+".timeouts.backendRequest", fmt.Sprintf("%q is no duration", *t.BackendRequest), "write it as 30s or 1h30m")
		}
	}
	return nil
}

// duration parses a Gateway API duration (GEP-2257); 0 means none.
func duration(d gwv1.Duration) (time.Duration, bool) {
	out, err := time.ParseDuration(string(d))
	return out, err == nil && out >= 0
}

// reportUnhonoured warns of fields that a rule can be served without.
func (b *build) reportUnhonoured(r *rule) {
	if r.spec.SessionPersistence != nil {
		b.unhonoured(r, ".sessionPersistence", "sessionPersistence is not honoured; requests of one session may reach different endpoints")
	}
}

func (b *build) unhonoured(r *rule, field, message string) {
	r.route.notes = append(r.route.notes, "rule "+r.name()+": "+message)
	b.report(Warning, r.route.ref, r.field+field, message, "remove the field if you can do without")
}

// ruleFor returns the rule as a listener serves it, with the request timeout of the
// policies that apply there.
func (b *build) ruleFor(r *rule, l *listener) *routing.Rule {
	timeout, ok := b.requestTimeout(r, l)
	if r.ownTimeout || r.broken() || !ok || timeout == r.routing.Timeouts.Request {
		return r.routing
	}
	v := r.variants[timeout]
	if v == nil {
		// Sealed splits are shared: all listeners draw from one sequence.
		c := *r.routing
		c.Timeouts.Request = timeout
		v = &c
		r.variants[timeout] = v
	}
	return v
}

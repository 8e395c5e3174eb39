package translate

import (
	"fmt"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// requestMirror adds a mirror to out. One whose backend does not resolve is left
// out and counts in ResolvedRefs, but the rule is served: Gateway API wants such a
// mirror dropped, for clients lose nothing by it.
func (b *build) requestMirror(out *routing.Filters, spec *gwv1.HTTPRequestMirrorFilter, r *rule, at string) *fault {
	if spec == nil {
		return missing(at, "requestMirror")
	}
	at += ".requestMirror"
	m := &routing.Mirror{}
	if f := mirrorShare(m, spec, at); f != nil {
		return f
	}
	to, port, name := r.reference(&spec.BackendRef)
	pool, wrong, remedy := b.resolve(r.route, to, port)
	if wrong.bad() {
		wrong.message = "mirror: " + wrong.message
		r.route.unresolved = append(r.route.unresolved, wrong)
		b.report(Error, r.route.ref, at+".backendRef", wrong.message, remedy)
		return nil
	}
	if b.broken(to, pool) != "" {
		return nil // whose fault it is has reported it
	}
	m.Ref, m.Pool = name, pool
	out.Mirrors = append(out.Mirrors, m)
	return nil
}

// mirrorShare reads which share of the requests is mirrored.
func mirrorShare(m *routing.Mirror, spec *gwv1.HTTPRequestMirrorFilter, at string) *fault {
	switch {
	case spec.Percent != nil && spec.Fraction != nil:
		return unsupported(at, "percent and fraction exclude each other", "remove one of them")
	case spec.Percent != nil:
		if *spec.Percent < 0 || *spec.Percent > 100 {
			return unsupported(at+".percent", fmt.Sprintf("%d is no percentage", *spec.Percent), "use 0 to 100")
		}
		m.Numerator, m.Denominator = uint32(*spec.Percent), 100
	case spec.Fraction != nil:
		n, d := spec.Fraction.Numerator, int32(100)
		if spec.Fraction.Denominator != nil {
			d = *spec.Fraction.Denominator
		}
		if n < 0 || d < 1 || n > d {
			return unsupported(at+".fraction", fmt.Sprintf("%d/%d is no share of the requests", n, d), "use a fraction from 0 to 1")
		}
		m.Numerator, m.Denominator = uint32(n), uint32(d)
	}
	return nil
}

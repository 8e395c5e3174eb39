package translate

import (
	"fmt"
	"slices"

	"crossfade.dev/internal/routing"
	"golang.org/x/net/http/httpguts"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// defaultMaxAge is maxAge in seconds when a filter sets none (HTTPCORSFilter).
const defaultMaxAge = 5

// cors translates a filter that answers preflights. One of a single backend cannot
// be honoured: a preflight is answered before a backend is drawn.
func (b *build) cors(out *routing.Filters, spec *gwv1.HTTPCORSFilter, r *rule, at string, ofBackend bool) *fault {
	switch {
	case ofBackend:
		return unsupported(at, "CORS of a single backend is not supported", "move the filter to the rule")
	case out.CORS != nil:
		return twice(at, gwv1.HTTPRouteFilterCORS)
	case spec == nil:
		return missing(at, "cors")
	}
	at += ".cors"
	c := &routing.CORS{MaxAge: spec.MaxAge, Credential: spec.AllowCredentials != nil && *spec.AllowCredentials}
	if c.MaxAge <= 0 {
		c.MaxAge = defaultMaxAge
	}
	if f := corsOrigins(c, spec.AllowOrigins, at+".allowOrigins"); f != nil {
		return f
	}
	c.AnyMethod = slices.Contains(spec.AllowMethods, "*")
	c.Methods = tokens(spec.AllowMethods)
	c.AnyHeader = slices.Contains(spec.AllowHeaders, "*")
	c.Headers = tokens(spec.AllowHeaders)
	c.ExposeAny = slices.Contains(spec.ExposeHeaders, "*")
	c.Expose = tokens(spec.ExposeHeaders)
	for _, name := range slices.Concat(c.Methods, c.Headers, c.Expose) {
		if !httpguts.ValidHeaderFieldName(name) {
			return unsupported(at, fmt.Sprintf("%q is no name of a method or header", name), "correct the name")
		}
	}
	out.CORS = c
	b.warnOfPreflights(r, at)
	return nil
}

func corsOrigins(c *routing.CORS, list []gwv1.CORSOrigin, at string) *fault {
	for i, s := range list {
		if s == "*" {
			c.AnyOrigin = true
			continue
		}
		o, ok := routing.ParseOrigin(string(s))
		if !ok {
			return unsupported(fmt.Sprintf("%s[%d]", at, i), fmt.Sprintf("%q is no origin", s), "write it as https://host or https://*.host, with a port if it needs one")
		}
		c.Origins = append(c.Origins, o)
	}
	return nil
}

func tokens[T ~string](list []T) []string {
	var out []string
	for _, s := range list {
		if s != "*" {
			out = append(out, string(s))
		}
	}
	return out
}

// warnOfPreflights reports a rule that no preflight can reach, since all of its
// matches want another method.
func (b *build) warnOfPreflights(r *rule, at string) {
	reached := func(m routing.Match) bool { return m.Method == "" || m.Method == string(gwv1.HTTPMethodOptions) }
	if len(r.matches) > 0 && !slices.ContainsFunc(r.matches, reached) {
		b.report(Warning, r.route.ref, at, "no match of the rule takes method OPTIONS, so preflights never get here", "match OPTIONS as well, or no method")
	}
}

package translate

import (
	"fmt"
	"net/http"
	"regexp"
	"regexp/syntax"
	"strings"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// match translates one HTTPRouteMatch; field is its path. Regular expressions
// are RE2 and must match the whole path or value.
func match(m *gwv1.HTTPRouteMatch, field string) (routing.Match, *fault) {
	var out routing.Match
	if f := pathMatch(&out, m.Path, field+".path"); f != nil {
		return out, f
	}
	if m.Method != nil {
		if !knownMethod(*m.Method) {
			return out, unsupported(field+".method", fmt.Sprintf("method %q is not known", *m.Method), "use a method of HTTP in upper case")
		}
		out.Method = string(*m.Method)
	}
	for i, h := range m.Headers {
		v, f := valueMatch(http.CanonicalHeaderKey(string(h.Name)), h.Value, value(h.Type, ""), fmt.Sprintf("%s.headers[%d]", field, i))
		if f != nil {
			return out, f
		}
		out.Headers = addFirst(out.Headers, v)
	}
	for i, q := range m.QueryParams {
		v, f := valueMatch(string(q.Name), q.Value, value(q.Type, ""), fmt.Sprintf("%s.queryParams[%d]", field, i))
		if f != nil {
			return out, f
		}
		out.Query = addFirst(out.Query, v)
	}
	return out, nil
}

// addFirst adds v unless its name is there already: only the first of equal names
// counts (HTTPHeaderMatch, HTTPQueryParamMatch).
func addFirst(list []routing.ValueMatch, v routing.ValueMatch) []routing.ValueMatch {
	for _, have := range list {
		if have.Name == v.Name {
			return list
		}
	}
	return append(list, v)
}

func pathMatch(out *routing.Match, p *gwv1.HTTPPathMatch, field string) *fault {
	kind, path := gwv1.PathMatchPathPrefix, "/"
	if p != nil {
		kind, path = gwv1.PathMatchType(value(p.Type, string(kind))), value(p.Value, path)
	}
	switch kind {
	case gwv1.PathMatchExact, gwv1.PathMatchPathPrefix:
		if !strings.HasPrefix(path, "/") {
			return unsupported(field+".value", fmt.Sprintf("path %q does not begin with a slash", path), "begin it with /")
		}
		out.Path = path
		if kind == gwv1.PathMatchExact {
			out.PathType = routing.PathExact
		} else if out.Path = strings.TrimRight(path, "/"); out.Path == "" {
			out.Path = "/"
		}
	case gwv1.PathMatchRegularExpression:
		re, err := wholeMatch(path)
		if err != nil {
			return unsupported(field+".value", err.Error(), "use RE2 syntax")
		}
		out.PathType, out.Path, out.Regex = routing.PathRegex, path, re
	default:
		return unsupported(field+".type", fmt.Sprintf("path match type %q is not supported", kind), "use Exact, PathPrefix or RegularExpression")
	}
	return nil
}

// valueMatch translates a match of a header or query parameter.
func valueMatch(name, want, kind, field string) (routing.ValueMatch, *fault) {
	out := routing.ValueMatch{Name: name, Value: want}
	switch kind {
	case "", string(gwv1.HeaderMatchExact):
	case string(gwv1.HeaderMatchRegularExpression):
		re, err := wholeMatch(want)
		if err != nil {
			return out, unsupported(field+".value", err.Error(), "use RE2 syntax")
		}
		out.Regex = re
	default:
		return out, unsupported(field+".type", fmt.Sprintf("match type %q is not supported", kind), "use Exact or RegularExpression")
	}
	return out, nil
}

// wholeMatch compiles an expression that must match from beginning to end.
func wholeMatch(s string) (*regexp.Regexp, error) {
	// Parsed alone first: brackets that do not balance could otherwise lean on
	// those put around it.
	if _, err := syntax.Parse(s, syntax.Perl); err != nil {
		return nil, err
	}
	return regexp.Compile("^(?:" + s + ")$")
}

func knownMethod(m gwv1.HTTPMethod) bool {
	switch m {
	case gwv1.HTTPMethodGet, gwv1.HTTPMethodHead, gwv1.HTTPMethodPost, gwv1.HTTPMethodPut, gwv1.HTTPMethodDelete,
		gwv1.HTTPMethodConnect, gwv1.HTTPMethodOptions, gwv1.HTTPMethodTrace, gwv1.HTTPMethodPatch:
		return true
	}
	return false
}

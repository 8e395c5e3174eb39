package translate

import (
	"fmt"
	"net/http"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// filters translates the filters of rule r, or those of one of its backends;
// field is what they are fields of. Each kind has one function below; a filter
// that is not honoured is a fault and never skipped.
func (b *build) filters(r *rule, list []gwv1.HTTPRouteFilter, field string, ofBackend bool) (routing.Filters, *fault) {
	var out routing.Filters
	for i := range list {
		spec, at := &list[i], fmt.Sprintf("%s.filters[%d]", field, i)
		var f *fault
		switch spec.Type {
		case gwv1.HTTPRouteFilterRequestHeaderModifier:
			f = headerModifier(&out.RequestHeaders, spec.RequestHeaderModifier, at)
		case gwv1.HTTPRouteFilterResponseHeaderModifier:
			f = headerModifier(&out.ResponseHeaders, spec.ResponseHeaderModifier, at)
		case gwv1.HTTPRouteFilterRequestRedirect:
			f = requestRedirect(&out, spec.RequestRedirect, r, at, ofBackend)
		case gwv1.HTTPRouteFilterURLRewrite:
			f = urlRewrite(&out, spec.URLRewrite, r, at)
		case gwv1.HTTPRouteFilterRequestMirror:
			f = b.requestMirror(&out, spec.RequestMirror, r, at)
		case gwv1.HTTPRouteFilterCORS:
			f = b.cors(&out, spec.CORS, r, at, ofBackend)
		case gwv1.HTTPRouteFilterExternalAuth:
			f = externalAuth(at)
		case gwv1.HTTPRouteFilterExtensionRef:
			f = extensionRef(spec.ExtensionRef, at)
		default:
			f = unsupported(at+".type", fmt.Sprintf("filter %q is not supported", spec.Type), "remove the filter")
		}
		if f != nil {
			return out, f
		}
	}
	if out.Redirect != nil && out.Rewrite != nil {
		return out, &fault{field: field + ".filters", reason: string(gwv1.RouteReasonIncompatibleFilters),
			message: "RequestRedirect and URLRewrite exclude each other", remedy: "remove one of them", backend: wholeRule}
	}
	return out, nil
}

// externalAuth is not honoured yet.
func externalAuth(at string) *fault {
	return unsupported(at, "ExternalAuth is not supported yet", "remove the filter only if the route needs no authorization")
}

// extensionRef is not honoured: Crossfade has no filters of its own.
func extensionRef(r *gwv1.LocalObjectReference, at string) *fault {
	kind := "nothing"
	if r != nil {
		kind = "kind " + string(r.Kind)
	}
	return unsupported(at+".extensionRef", "an ExtensionRef to "+kind+" is not supported", "remove the filter")
}

// twice is the fault of a filter that a rule may have only once.
func twice(at string, kind gwv1.HTTPRouteFilterType) *fault {
	return unsupported(at, fmt.Sprintf("%s appears twice", kind), "merge the two filters")
}

func missing(at, field string) *fault {
	return unsupported(at, "the filter lacks its "+field, "add "+field)
}

func requestRedirect(out *routing.Filters, spec *gwv1.HTTPRequestRedirectFilter, r *rule, at string, ofBackend bool) *fault {
	switch {
	case ofBackend:
		return unsupported(at, "RequestRedirect of a single backend is not supported", "move the filter to the rule")
	case out.Redirect != nil:
		return twice(at, gwv1.HTTPRouteFilterRequestRedirect)
	case spec == nil:
		return missing(at, "requestRedirect")
	}
	at += ".requestRedirect"
	path, f := pathChange(spec.Path, r, at+".path")
	if f != nil {
		return f
	}
	out.Redirect = &routing.Redirect{Scheme: value(spec.Scheme, ""), Hostname: value(spec.Hostname, ""), Path: path, Status: http.StatusFound}
	if s := out.Redirect.Scheme; s != "" && s != "http" && s != "https" {
		return unsupported(at+".scheme", fmt.Sprintf("scheme %q is not supported", s), "use http or https")
	}
	if spec.Port != nil {
		if *spec.Port < 1 || *spec.Port > 65535 {
			return unsupported(at+".port", fmt.Sprintf("port %d does not exist", *spec.Port), "use 1 to 65535")
		}
		out.Redirect.Port = uint16(*spec.Port)
	}
	if spec.StatusCode != nil {
		out.Redirect.Status = *spec.StatusCode
	}
	switch out.Redirect.Status {
	case 301, 302, 303, 307, 308:
		return nil
	}
	return unsupported(at+".statusCode", fmt.Sprintf("status %d is no redirect", out.Redirect.Status), "use 301, 302, 303, 307 or 308")
}

func urlRewrite(out *routing.Filters, spec *gwv1.HTTPURLRewriteFilter, r *rule, at string) *fault {
	switch {
	case out.Rewrite != nil:
		return twice(at, gwv1.HTTPRouteFilterURLRewrite)
	case spec == nil:
		return missing(at, "urlRewrite")
	}
	path, f := pathChange(spec.Path, r, at+".urlRewrite.path")
	if f != nil {
		return f
	}
	out.Rewrite = &routing.Rewrite{Hostname: value(spec.Hostname, ""), Path: path}
	return nil
}

// pathChange translates a path modifier; one that replaces the prefix needs a
// prefix in every match of the rule.
func pathChange(m *gwv1.HTTPPathModifier, r *rule, at string) (routing.PathChange, *fault) {
	if m == nil {
		return routing.PathChange{}, nil
	}
	switch m.Type {
	case gwv1.FullPathHTTPPathModifier:
		path := value(m.ReplaceFullPath, "")
		if path == "" {
			path = "/"
		}
		return routing.PathChange{Type: routing.ReplaceFullPath, Value: path}, nil
	case gwv1.PrefixMatchHTTPPathModifier:
		for _, m := range r.matches {
			if m.PathType != routing.PathPrefix {
				return routing.PathChange{}, unsupported(at+".type", "ReplacePrefixMatch needs every match of the rule to be of type PathPrefix", "use ReplaceFullPath, or split the rule")
			}
		}
		return routing.PathChange{Type: routing.ReplacePrefixMatch, Value: value(m.ReplacePrefixMatch, "")}, nil
	}
	return routing.PathChange{}, unsupported(at+".type", fmt.Sprintf("path change %q is not supported", m.Type), "use ReplaceFullPath or ReplacePrefixMatch")
}

package proxy

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Fields of the CORS protocol (Fetch standard), those of answers first.
const (
	corsAllowOrigin      = "Access-Control-Allow-Origin"
	corsAllowCredentials = "Access-Control-Allow-Credentials"
	corsAllowMethods     = "Access-Control-Allow-Methods"
	corsAllowHeaders     = "Access-Control-Allow-Headers"
	corsExposeHeaders    = "Access-Control-Expose-Headers"
	corsMaxAge           = "Access-Control-Max-Age"
	corsRequestMethod    = "Access-Control-Request-Method"
	corsRequestHeaders   = "Access-Control-Request-Headers"
)

// asksForPermission reports a preflight: a browser's question whether a page may
// send a request. With a CORS filter it is the gateway's to answer.
func (x *exchange) asksForPermission() bool {
	return x.rule.Filters.CORS != nil && x.r.Method == http.MethodOptions &&
		x.r.Header.Get("Origin") != "" && x.r.Header.Get(corsRequestMethod) != ""
}

// permit answers a preflight. A page that is not allowed is told nothing, which
// browsers take for a no.
func (x *exchange) permit() {
	c, h := x.rule.Filters.CORS, x.w.Header()
	if x.allowOrigin(h) {
		if methods, ok := permitted(c.Methods, c.AnyMethod, c.Credential, x.r.Header[corsRequestMethod]); ok {
			h[corsAllowMethods] = methods
		}
		if headers, ok := permitted(c.Headers, c.AnyHeader, c.Credential, x.r.Header[corsRequestHeaders]); ok {
			h[corsAllowHeaders] = headers
		}
		h[corsMaxAge] = []string{strconv.Itoa(int(c.MaxAge))}
	}
	h.Add("Vary", corsRequestMethod+", "+corsRequestHeaders)
	x.rule.Filters.ResponseHeaders.Apply(h)
	x.empty(http.StatusNoContent)
}

// permitted is the value of a field that lists what is allowed. Browsers do not
// take * for a wildcard when credentials are allowed, so what was asked for is
// repeated then.
func permitted(list []string, any, credentials bool, asked []string) ([]string, bool) {
	switch {
	case !any:
		return []string{strings.Join(list, ", ")}, len(list) > 0
	case !credentials:
		return []string{"*"}, true
	}
	return []string{strings.Join(asked, ", ")}, len(asked) > 0
}

// allowOrigin gives an answer the fields that let the page read it, if the rule's
// CORS filter allows its origin, and reports whether it does. What the engine says
// of CORS does not count beside the filter.
func (x *exchange) allowOrigin(h http.Header) bool {
	if x.rule == nil || x.rule.Filters.CORS == nil {
		return false
	}
	c := x.rule.Filters.CORS
	for _, name := range [...]string{corsAllowOrigin, corsAllowCredentials, corsAllowMethods, corsAllowHeaders, corsExposeHeaders, corsMaxAge} {
		delete(h, name)
	}
	if c.AnyOrigin && !c.Credential {
		h[corsAllowOrigin] = []string{"*"}
		x.expose(h)
		return true
	}
	h.Add("Vary", "Origin")
	origin := x.r.Header["Origin"]
	if len(origin) != 1 || !c.AllowsOrigin(origin[0]) {
		return false
	}
	h[corsAllowOrigin] = []string{origin[0]}
	if c.Credential {
		h[corsAllowCredentials] = []string{"true"}
	}
	x.expose(h)
	return true
}

// expose names the fields of the answer that the page may read. With credentials
// * is no wildcard here either, so all names are listed.
func (x *exchange) expose(h http.Header) {
	c := x.rule.Filters.CORS
	switch {
	case !c.ExposeAny:
		if len(c.Expose) > 0 {
			h[corsExposeHeaders] = []string{strings.Join(c.Expose, ", ")}
		}
	case !c.Credential:
		h[corsExposeHeaders] = []string{"*"}
	default:
		h[corsExposeHeaders] = []string{strings.Join(slices.Sorted(maps.Keys(h)), ", ")}
	}
}

package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"crossfade.dev/internal/routing"
)

// redirect answers with the place to go to instead.
func (x *exchange) redirect(to *routing.Redirect) {
	h := x.w.Header()
	h["Location"] = []string{x.location(to)}
	x.allowOrigin(h)
	x.rule.Filters.ResponseHeaders.Apply(h)
	status := to.Status
	if status == 0 {
		status = http.StatusFound
	}
	x.empty(status)
}

// location builds the URL: what the filter sets, else what the request had
// (HTTPRequestRedirectFilter, Gateway API). The query is kept.
func (x *exchange) location(to *routing.Redirect) string {
	scheme := to.Scheme
	if scheme == "" {
		scheme = "http"
		if secure, _ := clientTLS(x.r); secure {
			scheme = "https"
		}
	}
	host := to.Hostname
	if host == "" {
		host = withoutPort(x.r.Host)
	}
	port := to.Port
	if port == 0 && to.Scheme == "" {
		port = x.port
	}
	// Ports that the scheme implies are left out.
	if port != 0 && !(scheme == "http" && port == 80) && !(scheme == "https" && port == 443) {
		host += ":" + strconv.Itoa(int(port))
	}
	u := x.r.URL
	location := scheme + "://" + host + to.Path.Apply(u.EscapedPath(), x.visit.Route.Match.Path)
	if u.RawQuery != "" {
		location += "?" + u.RawQuery
	}
	return location
}

// withoutPort strips the port from a Host header; an IPv6 address keeps its
// brackets.
func withoutPort(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		return host[:i]
	}
	return host
}

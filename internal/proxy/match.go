package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// match finds the listener and route of the request.
func (x *exchange) match() *refusal {
	if no := checkTarget(x.r); no != nil {
		return no
	}
	if x.snapshot == nil {
		return refuseBriefly(llm.Unavailable("The gateway has no configuration yet."), llm.ReasonDraining)
	}
	port := x.snapshot.Port(x.port)
	if port == nil {
		return refuse(llm.RouteNotFound(), llm.ReasonRouteNotFound)
	}
	listener := port.Listener(x.r.Host)
	if secure, name := clientTLS(x.r); secure && port.Listener(name) != listener && (name != "" || checksClients(listener)) {
		// Another listener's routes must not be reachable with this one's certificate
		// (Gateway API, listener isolation), nor past its check of clients.
		return refuse(&llm.Error{
			Status: http.StatusMisdirectedRequest, Type: "invalid_request_error", Code: "misdirected_request",
			Message: "This connection was opened for another host; open one for the host you ask for.",
		}, llm.ReasonRouteNotFound)
	}
	if listener == nil {
		return refuse(llm.RouteNotFound(), llm.ReasonRouteNotFound)
	}
	x.visit.Listener = listener
	route, ok := listener.Match(x.r)
	if !ok {
		return refuse(llm.RouteNotFound(), llm.ReasonRouteNotFound)
	}
	x.visit.Route, x.rule = route, route.Rule
	x.visit.Outcome.Route = route.Rule.ID
	if route.Rule.Failure != "" {
		return refuse(llm.Internal("The route cannot be served: "+route.Rule.Failure+"."), llm.ReasonRouteInvalid)
	}
	if limit := route.Rule.Timeouts.Request; limit > 0 {
		x.ctx, x.cancel = context.WithTimeoutCause(x.ctx, limit, errRequestTimeout)
	}
	return nil
}

// checksClients reports a listener whose connections begin with a check.
func checksClients(l *routing.Listener) bool { return l != nil && l.Clients != nil }

// The causes with which contexts of an exchange end, beside the client's leaving.
var (
	errRequestTimeout = errors.New("the route's request timeout passed")
	errAttemptTimeout = errors.New("the route's backend request timeout passed")
)

// checkTarget refuses requests whose target two servers could take for different
// ones, and methods that ask for a tunnel.
func checkTarget(r *http.Request) *refusal {
	switch {
	case r.Method == http.MethodConnect:
		return refuse(&llm.Error{
			Status: http.StatusMethodNotAllowed, Type: "invalid_request_error", Code: "method_not_allowed",
			Message: "CONNECT is not served here: this is a gateway, not a forward proxy.",
		}, llm.ReasonBadRequest)
	case strings.IndexByte(r.RequestURI, '#') >= 0:
		return refuse(llm.BadRequest("", "The request target holds a fragment (#); escape it as %23."), llm.ReasonBadRequest)
	case !cleanPath(r.URL.Path):
		return refuse(llm.BadRequest("", "The path holds a dot segment, a backslash or a zero byte, "+
			"plain or escaped; send the path it stands for."), llm.ReasonBadRequest)
	}
	return nil
}

// cleanPath reports whether an unescaped path means the same to every server: it
// has no segment . or .., no backslash and no zero byte. It is given the
// unescaped path because some servers unescape before they split: to those
// a%2f..%2fb has a dot segment too.
func cleanPath(path string) bool {
	start := 0 // of the segment
	for i := 0; i <= len(path); i++ {
		if i == len(path) || path[i] == '/' {
			if s := path[start:i]; s == "." || s == ".." {
				return false
			}
			start = i + 1
			continue
		}
		if path[i] == '\\' || path[i] == 0 {
			return false
		}
	}
	return true
}

package proxy

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Request headers by which a client chooses an InferenceObjective; the newer name
// wins (spec.md, llm-d-router).
const (
	objectiveHeader    = "X-Llm-D-Inference-Objective"
	objectiveHeaderOld = "X-Gateway-Inference-Objective"
)

// isControl names the fields with which gateways and endpoint pickers talk to each
// other. A client must not speak for them, and an engine has no use for them.
func isControl(name string) bool {
	if !strings.HasPrefix(name, "X-Gateway-") && !strings.HasPrefix(name, "X-Llm-D-") {
		return false
	}
	switch name {
	case objectiveHeader, objectiveHeaderOld,
		"X-Gateway-Destination-Endpoint", "X-Gateway-Destination-Endpoint-Subset",
		"X-Gateway-Destination-Endpoint-Served", "X-Gateway-Destination-Endpoint-Fallback",
		"X-Gateway-Inference-Fairness-Id", "X-Llm-D-Inference-Fairness-Id",
		"X-Gateway-Model-Name-Rewrite", "X-Llm-D-Model-Name-Rewrite":
		return true
	}
	return false
}

// isHopByHop names the fields that are about one connection (RFC 9110 §7.6.1)
// together with those that frame the message, which every hop writes itself.
func isHopByHop(name string) bool {
	switch name {
	case "Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Content-Length", "Host", "Expect":
		return true
	}
	return false
}

// composeHeader fills x.header with what the engine is sent: the client's
// end-to-end fields, who asked, and the route's changes.
func (x *exchange) composeHeader() {
	h := x.header
	x.composeClientHeader()
	x.rule.Filters.RequestHeaders.Apply(h)
	x.visit.Backend.Filters.RequestHeaders.Apply(h)
	if x.restorer != nil {
		// An encoded answer could not be given the client's model name.
		h["Accept-Encoding"] = identity
	}
}

// composeClientHeader fills x.header with the client's end-to-end fields and with
// who asked.
func (x *exchange) composeClientHeader() {
	h, from := x.header, x.r.Header
	named := from["Connection"]
	for name, values := range from {
		if isHopByHop(name) || isControl(name) || len(named) > 0 && listed(named, name) {
			continue
		}
		// Clipped, so that a filter that adds a value copies the client's.
		h[name] = values[:len(values):len(values)]
	}
	x.composeForwarded()
}

var identity = []string{"identity"}

// listed reports whether a Connection header names the field.
func listed(connection []string, name string) bool {
	return httpguts.HeaderValuesContainsToken(connection, name)
}

// composeForwarded tells the engine what this hop knows of the client. The list of
// addresses is carried on; proto and host are those of this hop, whatever the
// client claimed.
func (x *exchange) composeForwarded() {
	h, r, f := x.header, x.r, &x.forwarded
	f[0] = remoteHost(r.RemoteAddr)
	if before := h["X-Forwarded-For"]; len(before) > 0 {
		f[0] = strings.Join(before, ", ") + ", " + f[0]
	}
	h["X-Forwarded-For"] = f[0:1:1]
	f[1] = "http"
	if secure, _ := clientTLS(r); secure {
		f[1] = "https"
	}
	h["X-Forwarded-Proto"] = f[1:2:2]
	delete(h, "X-Forwarded-Host")
	if f[2] = r.Host; f[2] != "" {
		h["X-Forwarded-Host"] = f[2:3:3]
	}
}

// remoteHost is the address of host:port without the port and brackets.
func remoteHost(address string) string {
	if i := strings.LastIndexByte(address, ':'); i >= 0 {
		address = address[:i]
	}
	return strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
}

// copyAnswerHeader gives the client the engine's end-to-end fields, as the route
// changes them.
func (x *exchange) copyAnswerHeader(from http.Header) {
	h := x.w.Header()
	named := from["Connection"]
	for name, values := range from {
		// Content-Length is the answer's own and comes with the framing.
		if isHopByHop(name) || len(named) > 0 && listed(named, name) {
			continue
		}
		h[name] = values[:len(values):len(values)]
	}
	x.allowOrigin(h)
	x.rule.Filters.ResponseHeaders.Apply(h)
	x.visit.Backend.Filters.ResponseHeaders.Apply(h)
	if _, ok := h["Content-Type"]; !ok {
		h["Content-Type"] = nil // nothing said is better than net/http's guess
	}
}

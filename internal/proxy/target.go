package proxy

import (
	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// compose makes the request that engines are sent, whichever is picked.
func (x *exchange) compose() {
	rule := x.visit.Model
	if rule != nil && rule.Restore && x.call.Model != x.request.Model {
		x.restorer = llm.NewNameRestorer(x.call.Model, x.request.Model)
	}
	x.composeHeader()
	x.out.Method = x.r.Method
	x.out.Header = x.header
	levels := [...]*routing.Filters{&x.rule.Filters, &x.visit.Backend.Filters}
	x.out.Host = x.host(levels[:])
	x.out.Target = x.target(levels[:])
	x.out.FirstByteTimeout = max(x.proxy.timeouts.FirstByte, 0)
	x.out.IdleTimeout = max(x.proxy.timeouts.StreamIdle, 0)
	x.out.Informational = nil
	if x.r.ProtoAtLeast(1, 1) {
		x.out.Informational = x.onInformational
	}
	x.out.Upgrade = x.asksForUpgrade()
	if x.out.Upgrade {
		x.header["Upgrade"] = x.r.Header["Upgrade"]
	}
	x.composeBody()
}

// composeBody sends what the client sent; only a changed model name is spliced in.
func (x *exchange) composeBody() {
	switch {
	case x.upload != nil:
		x.out.Stream, x.out.ContentLength = x.upload, x.r.ContentLength
	case x.body.buffer != nil && x.call.Model != x.request.Model:
		x.parts = x.request.WithModel(*x.body.buffer, x.call.Model)
		x.out.Body = x.parts[:]
	case x.body.buffer != nil && len(*x.body.buffer) > 0:
		x.parts[0] = *x.body.buffer
		x.out.Body = x.parts[:1]
	}
}

// host is the Host that engines see: the client's, unless a filter says another.
// Of levels the last that has something to say counts.
func (x *exchange) host(levels []*routing.Filters) string {
	host := x.r.Host
	for _, f := range levels {
		if f.Rewrite != nil && f.Rewrite.Hostname != "" {
			host = f.Rewrite.Hostname
		}
	}
	// A header filter may name Host too; the client's own is never in the header.
	if set := x.header["Host"]; len(set) > 0 {
		host = set[0]
		delete(x.header, "Host")
	}
	return host
}

// target is the path and query that engines see, byte for byte as the client sent
// them where no filter rewrites the path.
func (x *exchange) target(levels []*routing.Filters) string {
	u := x.r.URL
	change := routing.PathChange{}
	for _, f := range levels {
		if f.Rewrite != nil && f.Rewrite.Path.Type != routing.KeepPath {
			change = f.Rewrite.Path
		}
	}
	if change.Type == routing.KeepPath {
		if raw := x.r.RequestURI; len(raw) > 0 && (raw[0] == '/' || raw == "*") {
			return raw
		}
		return u.RequestURI() // the request named its host as well
	}
	path := change.Apply(u.EscapedPath(), x.visit.Route.Match.Path)
	if u.RawQuery != "" || u.ForceQuery {
		path += "?" + u.RawQuery
	}
	return path
}

package routing

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// PathType says how a Match compares the path.
type PathType int

// The path types of Gateway API.
const (
	PathPrefix PathType = iota // by whole path elements
	PathExact
	PathRegex // the whole path, RE2 syntax
)

// Match is what one HTTPRouteMatch asks of a request; all parts must agree.
type Match struct {
	PathType PathType
	Path     string // for PathPrefix without a trailing slash, except "/"; for PathRegex as written
	Regex    *regexp.Regexp
	Method   string // "" = any
	Headers  []ValueMatch
	Query    []ValueMatch
}

// ValueMatch compares one header (canonical name) or query parameter.
type ValueMatch struct {
	Name  string
	Value string         // what it must equal, or the expression as written
	Regex *regexp.Regexp // nil: exact
}

// Route is one match of one rule, the unit of precedence.
type Route struct {
	Match Match
	Rule  *Rule
	// Created, Object and the order of rules and matches break ties: oldest
	// first, then namespace/name, then as written.
	Created time.Time
	Object  string // namespace/name of the HTTPRoute
	Order   int    // position of the rule and match in its HTTPRoute
}

// routeTable holds the routes of one hostname by path, each list in order of
// precedence.
type routeTable struct {
	exact  map[string][]*Route
	prefix map[string][]*Route
	regex  []*Route
}

// AddRoute attaches r to the listener under hostname, which must be the
// intersection of the listener's and the route's. Call SortRoutes after the last.
func (l *Listener) AddRoute(hostname string, r *Route) {
	t := l.table(hostname)
	switch r.Match.PathType {
	case PathExact:
		t.exact[r.Match.Path] = append(t.exact[r.Match.Path], r)
	case PathPrefix:
		t.prefix[r.Match.Path] = append(t.prefix[r.Match.Path], r)
	case PathRegex:
		t.regex = append(t.regex, r)
	}
}

// table returns the routes of hostname, which it makes when there are none yet.
func (l *Listener) table(hostname string) *routeTable {
	if t := l.hosts[hostname]; t != nil {
		return t
	}
	if l.hosts == nil {
		l.hosts, l.suffixes = map[string]*routeTable{}, map[string]*routeTable{}
	}
	t := &routeTable{exact: map[string][]*Route{}, prefix: map[string][]*Route{}}
	l.hosts[hostname] = t
	if suffix, ok := strings.CutPrefix(hostname, "*."); ok {
		l.suffixes[suffix] = t
	}
	return t
}

// SortRoutes puts the routes of every path in order of precedence.
func (l *Listener) SortRoutes() {
	for _, t := range l.hosts {
		for _, rs := range t.exact {
			slices.SortFunc(rs, comparePrecedence)
		}
		for _, rs := range t.prefix {
			slices.SortFunc(rs, comparePrecedence)
		}
		slices.SortFunc(t.regex, comparePrecedence)
	}
}

// comparePrecedence orders routes of equal path: with a method first, then more
// headers, more query parameters, the older object, its name, its order
// (HTTPRouteRule.matches, Gateway API). Longer expressions go first among regular
// expressions, whose order Gateway API leaves to us.
func comparePrecedence(a, b *Route) int {
	if d := len(b.Match.Path) - len(a.Match.Path); d != 0 {
		return d
	}
	if am, bm := a.Match.Method != "", b.Match.Method != ""; am != bm {
		if am {
			return -1
		}
		return 1
	}
	if d := len(b.Match.Headers) - len(a.Match.Headers); d != 0 {
		return d
	}
	if d := len(b.Match.Query) - len(a.Match.Query); d != 0 {
		return d
	}
	if d := a.Created.Compare(b.Created); d != 0 {
		return d
	}
	if d := strings.Compare(a.Object, b.Object); d != 0 {
		return d
	}
	return a.Order - b.Order
}

// Match returns the route that r follows, or false. Hostnames are tried from
// most to least specific: an exact one, wildcards from long to short, none.
func (l *Listener) Match(r *http.Request) (*Route, bool) {
	q := query{request: r}
	if t := l.hosts[""]; t != nil && len(l.hosts) == 1 {
		return t.match(&q)
	}
	host := CanonicalHost(r.Host)
	if t := l.hosts[host]; t != nil && host != "" {
		if route, ok := t.match(&q); ok {
			return route, true
		}
	}
	for rest := host; ; {
		i := strings.IndexByte(rest, '.')
		if i < 0 {
			break
		}
		rest = rest[i+1:]
		if t := l.suffixes[rest]; t != nil {
			if route, ok := t.match(&q); ok {
				return route, true
			}
		}
	}
	if t := l.hosts[""]; t != nil {
		return t.match(&q)
	}
	return nil, false
}

// EachRoute calls f with every route of the listener, in no particular order.
func (l *Listener) EachRoute(f func(*Route)) {
	for _, t := range l.hosts {
		for _, rs := range t.exact {
			for _, r := range rs {
				f(r)
			}
		}
		for _, rs := range t.prefix {
			for _, r := range rs {
				f(r)
			}
		}
		for _, r := range t.regex {
			f(r)
		}
	}
}

func (t *routeTable) match(q *query) (*Route, bool) {
	path := q.request.URL.EscapedPath()
	if path == "" {
		path = "/"
	}
	if r, ok := first(t.exact[path], q); ok {
		return r, true
	}
	for _, r := range t.regex {
		if r.Match.Regex.MatchString(path) && r.Match.agrees(q) {
			return r, true
		}
	}
	// Prefixes end at element borders, so the candidates are the path itself and
	// its ancestors: as many look-ups as the path has elements.
	for p := strings.TrimSuffix(path, "/"); ; {
		if p == "" {
			return first(t.prefix["/"], q)
		}
		if r, ok := first(t.prefix[p], q); ok {
			return r, true
		}
		p = p[:max(strings.LastIndexByte(p, '/'), 0)]
	}
}

func first(routes []*Route, q *query) (*Route, bool) {
	for _, r := range routes {
		if r.Match.agrees(q) {
			return r, true
		}
	}
	return nil, false
}

// agrees compares everything but the path.
func (m *Match) agrees(q *query) bool {
	if m.Method != "" && m.Method != q.request.Method {
		return false
	}
	for i := range m.Headers {
		if !m.Headers[i].matchHeader(q.request) {
			return false
		}
	}
	for i := range m.Query {
		v, ok := q.param(m.Query[i].Name)
		if !ok || !m.Query[i].accepts(v) {
			return false
		}
	}
	return true
}

func (v *ValueMatch) matchHeader(r *http.Request) bool {
	if v.Name == "Host" {
		return v.accepts(r.Host)
	}
	values := r.Header[v.Name]
	switch len(values) {
	case 0:
		return false
	case 1:
		return v.accepts(values[0])
	}
	// Several fields of one name are one comma-separated value (RFC 9110 §5.2).
	return v.accepts(strings.Join(values, ","))
}

func (v *ValueMatch) accepts(s string) bool {
	if v.Regex != nil {
		return v.Regex.MatchString(s)
	}
	return v.Value == s
}

// query parses the request's query at most once, and only when asked.
type query struct {
	request *http.Request
	values  url.Values
}

// param returns the first value of the parameter, as Gateway API recommends.
func (q *query) param(name string) (string, bool) {
	if q.values == nil {
		q.values = q.request.URL.Query()
	}
	vs, ok := q.values[name]
	if !ok || len(vs) == 0 {
		return "", false
	}
	return vs[0], true
}

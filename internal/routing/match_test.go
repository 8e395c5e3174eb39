package routing

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// attached is a route under one hostname, as AddRoute takes it.
type attached struct {
	host  string
	route *Route
}

// bruteMatch is Match told the long way: all routes that fit, then the best of
// them by the rules of Gateway API, each spelled out.
func bruteMatch(routes []attached, r *http.Request) *Route {
	host := strings.ToLower(r.Host)
	if i := strings.LastIndex(host, ":"); i >= 0 {
		host = host[:i]
	}
	fits := slices.DeleteFunc(slices.Clone(routes), func(a attached) bool {
		return !bruteHost(a.host, host) || !brutePath(a.route.Match, r.URL.Path) || !bruteRest(a.route.Match, r)
	})
	slices.SortFunc(fits, func(a, b attached) int {
		m, n := a.route.Match, b.route.Match
		return cmp.Or(
			boolFirst(a.host != "" && a.host[0] != '*', b.host != "" && b.host[0] != '*'),
			cmp.Compare(len(b.host), len(a.host)),
			boolFirst(m.PathType == PathExact, n.PathType == PathExact),
			boolFirst(m.PathType == PathRegex, n.PathType == PathRegex),
			cmp.Compare(len(n.Path), len(m.Path)),
			boolFirst(m.Method != "", n.Method != ""),
			cmp.Compare(len(n.Headers), len(m.Headers)),
			cmp.Compare(len(n.Query), len(m.Query)),
			a.route.Created.Compare(b.route.Created),
			cmp.Compare(a.route.Object, b.route.Object),
			cmp.Compare(a.route.Order, b.route.Order))
	})
	if len(fits) == 0 {
		return nil
	}
	return fits[0].route
}

func boolFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

func bruteHost(pattern, host string) bool {
	if suffix, wild := strings.CutPrefix(pattern, "*."); wild {
		label, rest, ok := strings.Cut(host, ".")
		return ok && label != "" && (rest == suffix || strings.HasSuffix(rest, "."+suffix))
	}
	return pattern == "" || pattern == host
}

func brutePath(m Match, path string) bool {
	switch m.PathType {
	case PathExact:
		return path == m.Path
	case PathRegex:
		return m.Regex.MatchString(path)
	}
	return m.Path == "/" || path == m.Path || strings.HasPrefix(path, m.Path+"/")
}

func bruteRest(m Match, r *http.Request) bool {
	if m.Method != "" && m.Method != r.Method {
		return false
	}
	for _, h := range m.Headers {
		if !slices.Contains(r.Header.Values(h.Name), h.Value) {
			return false
		}
	}
	for _, q := range m.Query {
		if r.URL.Query().Get(q.Name) != q.Value {
			return false
		}
	}
	return true
}

// choices draws from bytes, and zeros when they are used up.
type choices struct{ data []byte }

func (c *choices) next(n int) int {
	if len(c.data) == 0 {
		return 0
	}
	v := int(c.data[0])
	c.data = c.data[1:]
	return v % n
}

func one[T any](c *choices, of ...T) T { return of[c.next(len(of))] }

var regexes = map[string]*regexp.Regexp{"/a|/b": regexp.MustCompile("^(?:/a|/b)$"), "/.*b": regexp.MustCompile("^(?:/.*b)$")}

func (c *choices) route(order int) attached {
	r := &Route{Order: order, Object: one(c, "n/a", "n/b"), Created: time.Unix(int64(c.next(2)), 0)}
	m := &r.Match
	switch m.PathType = one(c, PathPrefix, PathExact, PathPrefix, PathRegex); m.PathType {
	case PathRegex:
		m.Path = one(c, "/a|/b", "/.*b")
		m.Regex = regexes[m.Path]
	case PathExact:
		m.Path = one(c, "/", "/a", "/a/", "/a/b", "/b")
	case PathPrefix:
		m.Path = one(c, "/", "/a", "/a/b", "/b")
	}
	m.Method = one(c, "", "", "GET")
	for _, name := range []string{"X-A", "X-B"}[:c.next(3)] {
		m.Headers = append(m.Headers, ValueMatch{Name: name, Value: one(c, "1", "2")})
	}
	if c.next(3) == 0 {
		m.Query = []ValueMatch{{Name: "q", Value: one(c, "1", "2")}}
	}
	return attached{one(c, "", "a.com", "b.a.com", "*.a.com", "*.b.a.com", "*.com"), r}
}

func (c *choices) request() *http.Request {
	r := &http.Request{Method: one(c, "GET", "POST"), Header: http.Header{}, URL: &url.URL{
		Path:     one(c, "/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b", "/a//b", "//", "/c"),
		RawQuery: one(c, "", "q=1", "q=2&q=1", "x=1"),
	}}
	r.Host = one(c, "a.com", "b.a.com", "x.b.a.com:8080", "B.A.Com", "other", "y.com", "")
	for _, name := range []string{"X-A", "X-B"}[:c.next(3)] {
		r.Header[name] = []string{one(c, "1", "2")}
	}
	return r
}

// compareMatches builds a listener from data and asks it and its brute-force twin
// for the same requests.
func compareMatches(t *testing.T, data []byte) {
	t.Helper()
	c := &choices{data}
	var routes []attached
	l := &Listener{}
	for i := range 1 + c.next(12) {
		a := c.route(i)
		routes = append(routes, a)
		l.AddRoute(a.host, a.route)
	}
	l.SortRoutes()
	for range 8 {
		r := c.request()
		got, ok := l.Match(r)
		if want := bruteMatch(routes, r); got != want || ok != (want != nil) {
			var table strings.Builder
			for _, a := range routes {
				fmt.Fprintf(&table, "%p host %q %s %s %v %d\n", a.route, a.host, a.route.Match, a.route.Object, a.route.Created.Unix(), a.route.Order)
			}
			t.Fatalf("%s %q %s headers %v: got %p, want %p of\n%s", r.Method, r.Host, r.URL, r.Header, got, want, &table)
		}
	}
}

func TestMatchAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5_000 {
		data := make([]byte, 30+r.IntN(150))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		compareMatches(t, data)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add([]byte{3, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20})
	f.Add([]byte(strings.Repeat("\x05\x03\x02\x00\x01", 20)))
	f.Fuzz(func(t *testing.T, data []byte) { compareMatches(t, data) })
}

// FuzzMatchRequest sends arbitrary requests through a listener of every kind of
// match: it must find a route or none, and never panic.
func FuzzMatchRequest(f *testing.F) {
	l := &Listener{}
	for i, m := range []Match{{PathType: PathExact, Path: "/a"}, {Path: "/"}, {Path: "/a/b"}, {PathType: PathRegex, Path: "/.*b", Regex: regexes["/.*b"]},
		{Path: "/q", Query: []ValueMatch{{Name: "q", Value: "1"}}}, {Path: "/h", Headers: []ValueMatch{{Name: "Host", Value: "a.com"}}}} {
		l.AddRoute([]string{"", "a.com", "*.a.com"}[i%3], &Route{Match: m, Order: i})
	}
	l.SortRoutes()
	f.Add("a.com", "/a", "q=1")
	f.Add("x.a.com.", "/a%2fb", "%")
	f.Add("[::1]:80", "", "a;b")
	f.Add("*.a.com", "//", "")
	f.Fuzz(func(t *testing.T, host, path, query string) {
		u := &url.URL{Path: path, RawPath: path, RawQuery: query}
		route, ok := l.Match(&http.Request{Method: "GET", Host: host, URL: u, Header: http.Header{}})
		if ok != (route != nil) {
			t.Fatalf("%v, %v", route, ok)
		}
	})
}

func TestMatchDetails(t *testing.T) {
	l := &Listener{}
	add := func(name string, m Match) { l.AddRoute("", &Route{Match: m, Object: name}) }
	add("host", Match{Path: "/h", Headers: []ValueMatch{{Name: "Host", Value: "a.com"}}})
	add("list", Match{Path: "/l", Headers: []ValueMatch{{Name: "X", Value: "1,2"}}})
	add("pattern", Match{Path: "/p", Query: []ValueMatch{{Name: "q", Regex: regexp.MustCompile("^(?:[0-9]+)$")}}})
	add("escaped", Match{PathType: PathExact, Path: "/a%2Fb"})
	l.SortRoutes()
	get := func(target string, header http.Header) string {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := l.Match(&http.Request{Method: "GET", Host: u.Host, URL: u, Header: header})
		if !ok {
			return ""
		}
		return r.Object
	}
	for _, c := range []struct {
		target string
		header http.Header
		want   string
	}{
		{"http://a.com/h", nil, "host"},
		{"http://b.com/h", nil, ""},
		{"http://b.com/l", http.Header{"X": {"1", "2"}}, "list"},
		{"http://b.com/l", http.Header{"X": {"1"}}, ""},
		{"http://b.com/p?q=12", nil, "pattern"},
		{"http://b.com/p?q=1x", nil, ""},
		{"http://b.com/p?q", nil, ""},
		{"http://b.com/p", nil, ""},
		{"http://b.com/a%2Fb", nil, "escaped"},
		{"http://b.com/a/b", nil, ""},
	} {
		if got := get(c.target, c.header); got != c.want {
			t.Errorf("%s %v: got %q, want %q", c.target, c.header, got, c.want)
		}
	}
}

func TestPortListener(t *testing.T) {
	var p Port
	for _, h := range []string{"a.example.com", "*.deep.example.com", "*.example.com"} {
		p.Listeners = append(p.Listeners, &Listener{Name: h, Hostname: h})
	}
	s := &Snapshot{Ports: []*Port{{Number: 80}, {Number: 443, Listeners: p.Listeners}}}
	for host, want := range map[string]string{
		"a.example.com": "a.example.com", "A.EXAMPLE.com:443": "a.example.com", "a.example.com.": "a.example.com",
		"b.example.com": "*.example.com", "x.deep.example.com": "*.deep.example.com", "deep.example.com": "*.example.com",
		"example.com": "", "example.org": "", "": "", "[::1]:443": "",
	} {
		got := ""
		if l := s.Listener(443, host); l != nil {
			got = l.Name
		}
		if got != want {
			t.Errorf("%q: listener %q, want %q", host, got, want)
		}
	}
	if s.Listener(1, "a.example.com") != nil || s.Listener(80, "a.example.com") != nil {
		t.Error("a listener of another port")
	}
}

func TestHostIntersection(t *testing.T) {
	patterns := []string{"", "example.com", "a.example.com", "b.a.example.com", "*.example.com", "*.a.example.com", "*.com", "*.ba.example.com", "other.org"}
	hosts := []string{"example.com", "a.example.com", "b.a.example.com", "c.b.a.example.com", "x.ba.example.com", "com", "other.org", "x.org"}
	for _, a := range patterns {
		for _, b := range patterns {
			shared, ok := HostIntersection(a, b)
			if back, okBack := HostIntersection(b, a); back != shared || okBack != ok {
				t.Errorf("%q and %q: %q %v one way, %q %v the other", a, b, shared, ok, back, okBack)
			}
			for _, h := range hosts {
				both := HostMatches(a, h) && HostMatches(b, h)
				if got := ok && HostMatches(shared, h); got != both {
					t.Errorf("%q and %q share %q (%v); for %s that is %v, want %v", a, b, shared, ok, h, got, both)
				}
			}
		}
	}
}

package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"crossfade.dev/internal/routing"
)

func TestHeadersReachEngineCleaned(t *testing.T) {
	rule := to(service("a", engine(t, echoing("a"))))
	w := newWorld(t, serving(rule))
	c := w.dial()
	io.WriteString(c, strings.ReplaceAll(`GET /x?a=b HTTP/1.1
Host: Example.com:8080
Connection: close, X-Hop, Keep-Alive
X-Hop: 1
Keep-Alive: 300
Proxy-Connection: keep-alive
Proxy-Authorization: secret
Te: trailers, deflate
Upgrade: h2c
Http2-Settings: AAMAAABkAAQAoAAAAAIAAAAA
Authorization: Bearer x
User-Agent: me
Accept: a
Accept: b
X-Forwarded-For: 10.0.0.1
X-Forwarded-For: 10.0.0.2
X-Forwarded-Proto: https
X-Forwarded-Host: spoofed
X-Gateway-Destination-Endpoint: 10.0.0.9:1
X-Gateway-Destination-Endpoint-Subset: 10.0.0.9:1
X-Llm-D-Inference-Objective: o
X-Gateway-Inference-Fairness-Id: f
X-Gateway-Other: kept

`, "\n", "\r\n"))
	body, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(body), "\r\n\r\n")
	e := echoed(t, answerSeen{status: 200, body: text})
	want := http.Header{
		"Authorization":     {"Bearer x"},
		"User-Agent":        {"me"},
		"Accept":            {"a", "b"},
		"Http2-Settings":    {"AAMAAABkAAQAoAAAAAIAAAAA"}, // means nothing without the upgrade
		"X-Forwarded-For":   {"10.0.0.1, 10.0.0.2, 127.0.0.1"},
		"X-Forwarded-Proto": {"http"},
		"X-Forwarded-Host":  {"Example.com:8080"},
		"X-Gateway-Other":   {"kept"},
	}
	if !reflect.DeepEqual(e.Header, want) {
		t.Errorf("engine got %v\nwant       %v", e.Header, want)
	}
	if e.Host != "Example.com:8080" || e.Target != "/x?a=b" {
		t.Errorf("engine got Host %q, target %q", e.Host, e.Target)
	}
}

func TestHeaderFilters(t *testing.T) {
	rule := to(service("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Answer"] = []string{"1", "2"}
		w.Header().Set("X-Secret", "s")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("X-Hop", "h")
		echoing("a")(w, r)
	})))
	rule.Filters.RequestHeaders = &routing.HeaderChange{
		Set:    []routing.HeaderField{{Name: "X-Set", Value: "rule"}, {Name: "X-Both", Value: "rule"}},
		Add:    []routing.HeaderField{{Name: "X-Add", Value: "rule"}},
		Remove: []string{"X-Remove"},
	}
	rule.Backends[0].Filters.RequestHeaders = &routing.HeaderChange{
		Set: []routing.HeaderField{{Name: "X-Both", Value: "backend"}, {Name: "Host", Value: "set.example"}},
		Add: []routing.HeaderField{{Name: "X-Add", Value: "backend"}},
	}
	rule.Filters.ResponseHeaders = &routing.HeaderChange{
		Add:    []routing.HeaderField{{Name: "X-Answer", Value: "3"}},
		Remove: []string{"X-Secret"},
	}
	rule.Backends[0].Filters.ResponseHeaders = &routing.HeaderChange{Set: []routing.HeaderField{{Name: "X-Backend", Value: "a"}}}
	w := newWorld(t, serving(rule))
	for range 2 { // what one request adds must not be there for the next
		a := w.get("/", "X-Set", "client", "X-Add", "client", "X-Remove", "client")
		e := echoed(t, a)
		if !reflect.DeepEqual(e.Header["X-Add"], []string{"client", "rule", "backend"}) || e.Header.Get("X-Set") != "rule" ||
			e.Header.Get("X-Both") != "backend" || e.Header.Get("X-Remove") != "" || e.Host != "set.example" {
			t.Errorf("engine got %v, Host %q", e.Header, e.Host)
		}
		if !reflect.DeepEqual(a.header["X-Answer"], []string{"1", "2", "3"}) || a.header.Get("X-Secret") != "" ||
			a.header.Get("X-Backend") != "a" || a.header.Get("X-Hop") != "" {
			t.Errorf("client got %v", a.header)
		}
	}
}

// Exchanges are used again: one client's fields must never show up in another's
// request.
func TestHeadersDoNotOutliveTheirRequest(t *testing.T) {
	w := newWorld(t, serving(to(service("a", engine(t, echoing("a"))))))
	for i := range 20 {
		w.get("/", "Authorization", "secret", "X-First", "1")
		if e := echoed(t, w.get("/", "X-Second", "2")); e.Header.Get("Authorization") != "" || e.Header.Get("X-First") != "" {
			t.Fatalf("after %d requests the engine got %v", 2*i+2, e.Header)
		}
	}
}

// Filters that add a value must not write into the client's header, whatever room
// its slices have.
func TestFiltersLeaveTheClientsHeaderAlone(t *testing.T) {
	rule := to(service("a", engine(t, echoing("a"))))
	rule.Filters.RequestHeaders = &routing.HeaderChange{Add: []routing.HeaderField{{Name: "X-Add", Value: "rule"}}}
	w := newWorld(t, serving(rule))
	values := append(make([]string, 0, 4), "client")
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header["X-Add"] = values
	seen := httptest.NewRecorder()
	w.proxy.Handler(80).ServeHTTP(seen, r)
	if seen.Code != 200 || values[:2][1] != "" {
		t.Errorf("answer is %d, the client's values are now %q", seen.Code, values[:2])
	}
}

func TestTargetIsForwardedAsSent(t *testing.T) {
	w := newWorld(t, serving(to(service("a", engine(t, echoing("a"))))))
	for _, target := range []string{"/", "/a%2Fb", "/a%2fb", "/%7Euser/~x", "//double//", "/a;b=c", "/a?", "/a?x=%zz&y=%20+", "/\"<>", "/\xc3\xa9", "/a...b/.well-known/..x"} {
		c := w.dial()
		io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		body, _ := io.ReadAll(c)
		_, text, _ := strings.Cut(string(body), "\r\n\r\n")
		if !strings.HasPrefix(string(body), "HTTP/1.1 200") {
			t.Errorf("%q: client got %q", target, body)
			continue
		}
		if e := echoed(t, answerSeen{status: 200, body: text}); e.Target != target {
			t.Errorf("engine got %q, want %q", e.Target, target)
		}
	}
}

func TestRewrites(t *testing.T) {
	cases := []struct {
		name          string
		rule, backend *routing.Rewrite
		sent          string
		target, host  string
	}{
		{"full path", &routing.Rewrite{Path: routing.PathChange{Type: routing.ReplaceFullPath, Value: "/other"}}, nil, "/one/two?q=1", "/other?q=1", "client.example"},
		{"prefix", &routing.Rewrite{Path: routing.PathChange{Type: routing.ReplacePrefixMatch, Value: "/new"}}, nil, "/one/two%2Fx?", "/new/two%2Fx?", "client.example"},
		{"prefix to root", &routing.Rewrite{Path: routing.PathChange{Type: routing.ReplacePrefixMatch, Value: "/"}}, nil, "/one", "/", "client.example"},
		{"host", &routing.Rewrite{Hostname: "rule.example"}, nil, "/one", "/one", "rule.example"},
		{"backend's wins", &routing.Rewrite{Hostname: "rule.example", Path: routing.PathChange{Type: routing.ReplaceFullPath, Value: "/rule"}},
			&routing.Rewrite{Hostname: "backend.example", Path: routing.PathChange{Type: routing.ReplaceFullPath, Value: "/backend"}}, "/one", "/backend", "backend.example"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rule := to(service("a", engine(t, echoing("a"))))
			rule.Filters.Rewrite, rule.Backends[0].Filters.Rewrite = c.rule, c.backend
			w := newWorld(t, snapshotOf(&routing.Listener{}, route{prefix("/one"), rule}))
			e := echoed(t, w.get(c.sent, "Host", "client.example"))
			if e.Target != c.target || e.Host != c.host {
				t.Errorf("engine got %s at %s, want %s at %s", e.Target, e.Host, c.target, c.host)
			}
		})
	}
}

func TestRewrittenPathNamesModel(t *testing.T) {
	rule := to(pool("a", engine(t, echoing("a"))))
	rule.Filters.Rewrite = &routing.Rewrite{Path: routing.PathChange{Type: routing.ReplaceFullPath, Value: "/v1/completions"}}
	w := newWorld(t, serving(rule))
	isOpenAIError(t, w.post("/complete", `{}`), 400, "names no model")
}

func TestRedirects(t *testing.T) {
	cases := []struct {
		name   string
		to     routing.Redirect
		sent   string
		status int
		want   string
	}{
		{"host", routing.Redirect{Hostname: "other.example"}, "/one/x?q=1", 302, "http://other.example/one/x?q=1"},
		{"status", routing.Redirect{Hostname: "other.example", Status: 301}, "/one", 301, "http://other.example/one"},
		{"scheme", routing.Redirect{Scheme: "https", Status: 308}, "/one", 308, "https://client.example/one"},
		{"scheme and port", routing.Redirect{Scheme: "https", Port: 8443}, "/one", 302, "https://client.example:8443/one"},
		{"port", routing.Redirect{Port: 8080}, "/one", 302, "http://client.example:8080/one"},
		{"well-known port", routing.Redirect{Port: 80}, "/one", 302, "http://client.example/one"},
		{"prefix", routing.Redirect{Path: routing.PathChange{Type: routing.ReplacePrefixMatch, Value: "/new"}}, "/one/x%2F", 302, "http://client.example/new/x%2F"},
		{"path", routing.Redirect{Path: routing.PathChange{Type: routing.ReplaceFullPath, Value: "/new"}}, "/one/x", 302, "http://client.example/new"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			rule := to()
			rule.Filters.Redirect = &c.to
			w := newWorld(t, snapshotOf(&routing.Listener{}, route{prefix("/one"), rule}))
			a := w.get(c.sent, "Host", "client.example:81")
			if a.status != c.status || a.header.Get("Location") != c.want {
				t.Errorf("answer is %d to %q, want %d to %q", a.status, a.header.Get("Location"), c.status, c.want)
			}
		})
	}
}

func TestCleanPath(t *testing.T) {
	for path, want := range map[string]bool{
		"/": true, "": true, "/a/b": true, "/.a/b.": true, "/a..b": true, "/...": true, "//": true,
		"/.": false, "/..": false, "/./a": false, "/a/../b": false, "/a/..": false, ".": false, `/a\b`: false, "/a\x00": false,
	} {
		if got := cleanPath(path); got != want {
			t.Errorf("cleanPath(%q) = %v", path, got)
		}
	}
}

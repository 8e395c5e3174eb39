package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"crossfade.dev/internal/routing"
)

// seen is what a mirror's engine was asked.
type seen struct {
	method, uri, host, body string
	header                  http.Header
}

// witness is an engine that keeps what it is asked and answers what nobody may see.
type witness struct {
	mu  sync.Mutex
	all []seen
}

func (s *witness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.all = append(s.all, seen{r.Method, r.RequestURI, r.Host, string(body), r.Header})
	s.mu.Unlock()
	w.WriteHeader(http.StatusTeapot)
	io.WriteString(w, "shadow")
}

// mirrorCounts is a recorder that also counts what became of copies.
type mirrorCounts struct {
	recorder
	results map[string]int
}

func (o *mirrorCounts) Mirrored(_ *routing.Mirror, result string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.results[result]++
}

func (o *mirrorCounts) of(result string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.results[result]
}

// newMirrorWorld is newWorld with an observer that counts copies.
func newMirrorWorld(t *testing.T, rule *routing.Rule, change ...func(*Options)) (*world, *mirrorCounts) {
	counts := &mirrorCounts{results: map[string]int{}}
	watched := func(o *Options) { o.Observer = counts }
	return newWorld(t, serving(rule), append(change, watched)...), counts
}

func (o *mirrorCounts) wait(t *testing.T, result string, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d copies %s", n, result), func() bool { return o.of(result) == n })
}

func TestMirrorsGetCopies(t *testing.T) {
	one, two := &witness{}, &witness{}
	rule := to(service("a", engine(t, echoing("a"))))
	rule.Filters = routing.Filters{
		RequestHeaders: &routing.HeaderChange{Set: []routing.HeaderField{{Name: "X-Set", Value: "1"}}},
		Rewrite:        &routing.Rewrite{Hostname: "b.example.com", Path: routing.PathChange{Type: routing.ReplacePrefixMatch, Value: "/x"}},
		Mirrors:        []*routing.Mirror{{Pool: service("one", engine(t, one.ServeHTTP))}, {Pool: service("two", engine(t, two.ServeHTTP))}},
	}
	// What is done to the requests of one backend does not concern the rule's mirrors.
	rule.Backends[0].Filters.RequestHeaders = &routing.HeaderChange{Set: []routing.HeaderField{{Name: "X-Backend", Value: "1"}}}
	w, counts := newMirrorWorld(t, rule)
	e := echoed(t, w.send(w.request("PUT", "/y?q=1", strings.NewReader("body")), "X-Own", "2"))
	if e.Engine != "a" || e.Header.Get("X-Backend") != "1" {
		t.Errorf("the client's request went to %q with %v", e.Engine, e.Header)
	}
	counts.wait(t, MirrorAnswered, 2)
	for _, s := range []*witness{one, two} {
		got := s.all[0]
		if got.method != "PUT" || got.uri != "/x/y?q=1" || got.host != "b.example.com" || got.body != "body" {
			t.Errorf("mirror got %s %s %s %q", got.method, got.host, got.uri, got.body)
		}
		if h := got.header; h.Get("X-Set") != "1" || h.Get("X-Own") != "2" || h.Get("X-Backend") != "" {
			t.Errorf("mirror got header %v", h)
		}
	}
}

func TestMirrorOfABackendPassesItsFilters(t *testing.T) {
	shadow := &witness{}
	rule := to(service("a", engine(t, echoing("a"))))
	rule.Backends[0].Filters = routing.Filters{
		RequestHeaders: &routing.HeaderChange{Set: []routing.HeaderField{{Name: "X-Backend", Value: "1"}}},
		Mirrors:        []*routing.Mirror{{Pool: service("one", engine(t, shadow.ServeHTTP))}},
	}
	w, counts := newMirrorWorld(t, rule)
	w.get("/")
	counts.wait(t, MirrorAnswered, 1)
	if shadow.all[0].header.Get("X-Backend") != "1" {
		t.Errorf("mirror got header %v", shadow.all[0].header)
	}
}

func TestMirrorOfModelCallsRenamesTheModel(t *testing.T) {
	shadow := &witness{}
	candidate := pool("candidate", engine(t, shadow.ServeHTTP))
	candidate.Rules = map[string]*routing.ModelRule{"m": routing.NewModelRule("x", "m", []routing.Target{{Model: "m-v2", Weight: 1}}, false, 0)}
	rule := to(pool("a", engine(t, echoing("a"))))
	rule.Filters.Mirrors = []*routing.Mirror{{Pool: candidate}}
	w, counts := newMirrorWorld(t, rule)
	if e := echoed(t, w.post("/v1/completions", `{"model":"m","prompt":"p"}`)); e.Body != `{"model":"m","prompt":"p"}` {
		t.Errorf("engine got %q", e.Body)
	}
	counts.wait(t, MirrorAnswered, 1)
	if got := shadow.all[0].body; got != `{"model":"m-v2","prompt":"p"}` {
		t.Errorf("mirror got %q", got)
	}
	if left := w.proxy.mirrors.memory.used.Load(); left != 0 {
		t.Errorf("%d bytes are still taken", left)
	}
}

// A rollout of the mirror's pool has the copies as well: who is on the candidate
// there is so in copies too.
func TestMirrorOfAPoolInARollout(t *testing.T) {
	shadow := &witness{}
	candidate := adapters(pool("candidate", engine(t, shadow.ServeHTTP)))
	candidate.Rules["m"].Assignment.Keys = []routing.Key{{Field: routing.BodyUser}}
	candidate.Rules["m"].Assignment.Exclude = map[string]struct{}{"vip": {}}
	rule := to(pool("a", engine(t, echoing("a"))))
	rule.Filters.Mirrors = []*routing.Mirror{{Pool: candidate}}
	w, counts := newMirrorWorld(t, rule)
	for i, user := range []string{"any", "vip"} {
		w.post("/v1/completions", `{"model":"m","user":"`+user+`"}`)
		counts.wait(t, MirrorAnswered, i+1)
	}
	if one, two := shadow.all[0].body, shadow.all[1].body; one != `{"model":"v2","user":"any"}` || two != `{"model":"v1","user":"vip"}` {
		t.Errorf("mirror got %q and %q", one, two)
	}
}

// TestMirrorsTakeTheirShare wants the share met exactly over whole hundreds.
func TestMirrorsTakeTheirShare(t *testing.T) {
	shadow := &witness{}
	rule := to(service("a", engine(t, saying200)))
	rule.Filters.Mirrors = []*routing.Mirror{
		{Ref: "s", Pool: service("s", engine(t, shadow.ServeHTTP)), Numerator: 20, Denominator: 100},
		{Ref: "none", Pool: service("none", deadAddress(t)), Numerator: 0, Denominator: 3},
	}
	w, counts := newMirrorWorld(t, rule)
	for range 200 {
		w.get("/")
	}
	counts.wait(t, MirrorAnswered, 40)
	if n := counts.of(MirrorFailed); n > 0 {
		t.Errorf("%d copies went to the mirror that takes none", n)
	}
}

func saying200(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

// TestMirrorsNeverHoldClients has mirrors that do not answer, cannot be reached or
// are too many.
func TestMirrorsNeverHoldClients(t *testing.T) {
	release := make(chan struct{})
	stuck := engine(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	rule := to(service("a", engine(t, echoing("a"))))
	rule.Filters.Mirrors = []*routing.Mirror{{Pool: service("stuck", stuck)}}
	w, counts := newMirrorWorld(t, rule, func(o *Options) { o.Limits.Mirrors = 2 })
	for range 5 {
		if e := echoed(t, w.get("/")); e.Engine != "a" {
			t.Errorf("engine is %q", e.Engine)
		}
	}
	counts.wait(t, MirrorDropped, 3)
	close(release)
	counts.wait(t, MirrorAnswered, 2)
	w.get("/")
	counts.wait(t, MirrorAnswered, 3)
}

func TestMirrorsThatFail(t *testing.T) {
	rule := to(service("a", engine(t, echoing("a"))))
	rule.Filters.Mirrors = []*routing.Mirror{{Pool: service("dead", deadAddress(t))}, {Pool: service("empty")}}
	w, counts := newMirrorWorld(t, rule)
	if a := w.get("/"); a.status != 200 {
		t.Errorf("status is %d", a.status)
	}
	counts.wait(t, MirrorFailed, 2)
}

// TestMirrorsOfLargeBodies drops copies whose body does not fit, and no request.
func TestMirrorsOfLargeBodies(t *testing.T) {
	shadow := &witness{}
	rule := to(service("a", engine(t, echoing("a"))))
	rule.Filters.Mirrors = []*routing.Mirror{{Pool: service("s", engine(t, shadow.ServeHTTP))}}
	w, counts := newMirrorWorld(t, rule, func(o *Options) { o.Limits.MirrorBytes = 4 << 10 })
	large := strings.Repeat("x", 64<<10)
	if e := echoed(t, w.send(w.request("POST", "/", strings.NewReader(large)))); e.Body != large {
		t.Errorf("engine got %d bytes", len(e.Body))
	}
	counts.wait(t, MirrorDropped, 1)
	w.send(w.request("POST", "/", strings.NewReader("small")))
	counts.wait(t, MirrorAnswered, 1)
	if got := shadow.all[0].body; got != "small" {
		t.Errorf("mirror got %d bytes", len(got))
	}
	if left := w.proxy.mirrors.memory.used.Load(); left != 0 {
		t.Errorf("%d bytes are still taken", left)
	}
}

// TestCloseCutsMirrors ends with one under way; goleak finds what stays.
func TestCloseCutsMirrors(t *testing.T) {
	arrived := make(chan struct{})
	stuck := engine(t, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	rule := to(service("a", engine(t, echoing("a"))))
	rule.Filters.Mirrors = []*routing.Mirror{{Pool: service("stuck", stuck)}}
	w, counts := newMirrorWorld(t, rule)
	w.get("/")
	<-arrived
	w.proxy.Close()
	if n := counts.of(MirrorFailed); n != 1 {
		t.Errorf("%d copies failed", n)
	}
	w.get("/")
	counts.wait(t, MirrorDropped, 1)
}

package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// attempted is the rollout that these tests are about: everybody is on the candidate.
func attempted() *routing.Assignment {
	a := &routing.Assignment{Rollout: "n/r", Attempt: 1, Candidate: 1, Share: routing.Buckets, Override: "X-Side", Watched: true}
	a.Seal()
	return a
}

// canary is a rule with a rollout from one pool to another.
func canary(stable, candidate *routing.Pool) *routing.Rule {
	rule := to(stable, candidate)
	rule.Assignment = attempted()
	return rule
}

// adapters gives the pool a rollout of m from model v1 to v2.
func adapters(p *routing.Pool) *routing.Pool {
	rule := routing.NewModelRule("x", "m", []routing.Target{{Model: "v1", Weight: 1}, {Model: "v2", Weight: 1}}, true, 0)
	rule.Assignment = attempted()
	p.Rules = map[string]*routing.ModelRule{"m": rule}
	return p
}

// storyteller is a recorder that also keeps the order of what it was told.
type storyteller struct {
	recorder
	story []string
}

func (o *storyteller) tell(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.story = append(o.story, fmt.Sprintf(format, args...))
}

func (o *storyteller) Begin(v *Visit) {
	o.recorder.Begin(v)
	o.tell("begin %s", backendOf(v.Backend))
}
func (o *storyteller) Failed(v *Visit, part int, reason string) { o.tell("failed %d %s", part, reason) }
func (o *storyteller) FirstByte(v *Visit)                       { o.tell("byte of %s", v.Outcome.Pool) }
func (o *storyteller) Rescued(v *Visit, drawn *routing.Backend) {
	o.tell("from %s to %s", backendOf(drawn), backendOf(v.Backend))
}
func (o *storyteller) End(v *Visit) {
	o.tell("end")
	o.recorder.End(v)
}

// told is the story so far.
func (o *storyteller) told() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.story, ", ")
}

func backendOf(b *routing.Backend) string {
	if b == nil {
		return "nobody"
	}
	return b.Ref[strings.LastIndexByte(b.Ref, '/')+1:]
}

// newTrial is newWorld with a storyteller.
func newTrial(t *testing.T, rule *routing.Rule, change ...func(*Options)) (*world, *storyteller) {
	o := &storyteller{}
	w := newWorld(t, serving(rule), append(change, func(options *Options) { options.Observer = o })...)
	w.visits = &o.recorder
	return w, o
}

// slow is an engine that never answers.
func slow(_ http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	<-r.Context().Done()
}

// failures are the ways in which a candidate fails before its first byte.
var failures = map[string]struct {
	reason    string
	addresses func(t *testing.T) []string
	change    []func(*Options)
}{
	"no endpoint":    {llm.ReasonNoEndpoints, func(*testing.T) []string { return nil }, nil},
	"nobody listens": {llm.ReasonUpstreamConnect, func(t *testing.T) []string { return []string{deadAddress(t), deadAddress(t)} }, nil},
	"hangs up":       {llm.ReasonUpstreamReset, func(t *testing.T) []string { return []string{rawEngine(t, hangUp)} }, nil},
	"talks nonsense": {llm.ReasonUpstreamInvalid, func(t *testing.T) []string {
		return []string{rawEngine(t, func(c net.Conn) { io.WriteString(c, "SMTP ready\r\n\r\n") })}
	}, nil},
	"does not begin": {llm.ReasonFirstByteTimeout, func(t *testing.T) []string { return []string{engine(t, slow)} }, []func(*Options){impatient}},
	"answers 500":    {llm.ReasonUpstreamError, func(t *testing.T) []string { return []string{engine(t, saying(500, new(atomic.Int32)))} }, nil},
	"answers 503":    {llm.ReasonUpstreamError, func(t *testing.T) []string { return []string{engine(t, saying(503, new(atomic.Int32)))} }, nil},
}

// impatient does not wait for a first byte long, but longer than any engine takes
// that has one.
func impatient(o *Options) { o.Timeouts.FirstByte = time.Second }

func TestRescue(t *testing.T) {
	for name, c := range failures {
		t.Run(name, func(t *testing.T) {
			rule := canary(pool("stable", engine(t, echoing("good"))), pool("candidate", c.addresses(t)...))
			change := func(value string) routing.Filters {
				return routing.Filters{RequestHeaders: &routing.HeaderChange{Set: []routing.HeaderField{{Name: "X-" + value, Value: "1"}}}}
			}
			rule.Backends[0].Filters, rule.Backends[1].Filters = change("Stable"), change("Candidate")
			w, o := newTrial(t, rule, c.change...)
			e := echoed(t, w.post("/v1/completions", ` {"model":"m"}`))
			if e.Engine != "good" || e.Body != ` {"model":"m"}` || e.Header.Get("X-Stable") != "1" || e.Header.Get("X-Candidate") != "" {
				t.Errorf("engine is %q, got %q with %v", e.Engine, e.Body, e.Header)
			}
			v := w.last(1)
			hasReason(t, v, llm.ReasonOK)
			p := v.Parts[OfRule]
			if !p.Candidate || p.Rescued != c.reason || p.Failed != c.reason || v.Outcome.Pool != "default/stable" || v.Outcome.Retries == 0 || v.Backend != &rule.Backends[0] {
				t.Errorf("part is %+v, outcome %+v", p, v.Outcome)
			}
			want := "begin candidate, failed 0 " + c.reason + ", from candidate to stable, byte of default/stable, end"
			if got := o.told(); got != want {
				t.Errorf("observer was told: %s\nwant %s", got, want)
			}
		})
	}
}

// A backend that does not resolve fails as one without endpoints does.
func TestRescueOfAMissingBackend(t *testing.T) {
	rule := to(pool("stable", engine(t, echoing("good"))))
	rule.Backends = append(rule.Backends, routing.Backend{Ref: "InferencePool default/gone", Weight: 1, Failure: "it is not there"})
	rule.Assignment = attempted()
	w, _ := newTrial(t, rule)
	if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`)); e.Engine != "good" {
		t.Errorf("engine is %q", e.Engine)
	}
	if p := w.last(1).Parts[OfRule]; p.Rescued != llm.ReasonBackendInvalid {
		t.Errorf("part is %+v", p)
	}
}

// The body's keys place requests, of a rule and of a model alike, before the Observer
// hears of them.
func TestPlacesByTheBody(t *testing.T) {
	rule := canary(adapters(pool("stable", engine(t, echoing("stable")))), adapters(pool("candidate", engine(t, echoing("candidate")))))
	var begun []string
	for _, a := range []*routing.Assignment{rule.Assignment, rule.Backends[1].Pool.Rules["m"].Assignment} {
		a.Keys = []routing.Key{{Field: routing.BodyPromptCacheKey}, {Field: routing.BodyUser}, {Field: routing.BodySafetyIdentifier}}
	}
	w, o := newTrial(t, rule)
	for _, body := range []string{
		`{"model":"m","user":"u"}`, `{"model":"m","user":"u","prompt_cache_key":"p"}`, `{"model":"m","safety_identifier":"i"}`, `{"model":"m"}`,
	} {
		w.post("/v1/completions", body)
		v := w.last(len(begun) + 1)
		if one, two := v.Parts[OfRule].Place, v.Parts[OfModel].Place; one != two || !one.Candidate {
			t.Errorf("%s: places are %+v and %+v", body, one, two)
		}
		begun = append(begun, v.Parts[OfRule].Key)
	}
	if want := []string{"u", "p", "i", ""}; !slices.Equal(begun, want) || strings.Count(o.told(), "begin candidate") != len(want) {
		t.Errorf("keys are %q, want %q; observer was told: %s", begun, want, o.told())
	}
}

// Connections that do not come about are tried on the candidate's other endpoints
// first; an answer of 500 is not.
func TestCandidatesRetryWhatIsCheap(t *testing.T) {
	var asked, other atomic.Int32
	stable := pool("stable", engine(t, echoing("good")))
	w, _ := newTrial(t, canary(stable, pool("candidate", deadAddress(t), engine(t, echoing("candidate")))))
	if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`)); e.Engine != "candidate" {
		t.Errorf("engine is %q", e.Engine)
	}
	if v := w.last(1); v.Parts[OfRule].Failed != "" || v.Outcome.Retries != 1 {
		t.Errorf("part is %+v after %d retries", v.Parts[OfRule], v.Outcome.Retries)
	}
	rule := canary(stable, pool("candidate", engine(t, saying(500, &asked)), engine(t, saying(500, &other))))
	rule.Retry = &routing.Retry{Codes: []int{500}, Attempts: 5}
	w.publish(serving(rule))
	if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`)); e.Engine != "good" || asked.Load()+other.Load() != 1 {
		t.Errorf("engine is %q after the candidate was asked %d times", e.Engine, asked.Load()+other.Load())
	}
}

// TestStableFailsToo gives the client stable's answer, and none from anywhere else.
func TestStableFailsToo(t *testing.T) {
	var asked atomic.Int32
	w, o := newTrial(t, canary(pool("stable", engine(t, saying(502, &asked))), pool("candidate", engine(t, saying(500, &asked)))))
	if a := w.post("/v1/completions", `{"model":"m"}`); a.status != 502 || asked.Load() != 2 {
		t.Errorf("answer is %d after %d tries", a.status, asked.Load())
	}
	v := w.last(1)
	hasReason(t, v, llm.ReasonUpstreamError)
	if got := o.told(); got != "begin candidate, failed 0 upstream_error, from candidate to stable, end" {
		t.Errorf("observer was told: %s", got)
	}
}

// TestNotRescued has the candidate's own answer reach the client.
func TestNotRescued(t *testing.T) {
	alter := func(f func(rule *routing.Rule)) func(*testing.T, *routing.Rule) {
		return func(_ *testing.T, rule *routing.Rule) { f(rule) }
	}
	nothing := alter(func(*routing.Rule) {})
	cases := map[string]struct {
		status int
		header []string
		change func(*testing.T, *routing.Rule)
		told   bool
	}{
		"its own limit":          {429, nil, nothing, false},
		"the client's fault":     {400, nil, nothing, false},
		"chosen by its header":   {500, []string{"X-Side", "candidate"}, nothing, true},
		"nobody watches":         {500, nil, alter(func(r *routing.Rule) { r.Assignment.Watched = false }), true},
		"stable has no endpoint": {500, nil, alter(func(r *routing.Rule) { r.Backends[0].Pool.Endpoints = nil }), true},
		"stable is gone":         {500, nil, alter(func(r *routing.Rule) { r.Backends[0].Pool = nil }), true},
		"no model servers":       {500, nil, alter(func(r *routing.Rule) { r.Backends[1].Pool.Inference = false }), true},
		"included": {500, []string{"X-Session", "tester"}, alter(func(r *routing.Rule) {
			r.Assignment.Keys = []routing.Key{{Header: "X-Session"}}
			r.Assignment.Include = map[string]struct{}{"tester": {}}
		}), true},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			rule := canary(pool("stable", engine(t, echoing("stable"))), pool("candidate", engine(t, saying(c.status, &asked))))
			c.change(t, rule)
			w, _ := newTrial(t, rule)
			if a := w.post("/v1/completions", `{"model":"m"}`, c.header...); a.status != c.status || asked.Load() != 1 {
				t.Errorf("answer is %d after %d tries", a.status, asked.Load())
			}
			p := w.last(1).Parts[OfRule]
			if !p.Candidate || p.Rescued != "" || (p.Failed != "") != c.told {
				t.Errorf("part is %+v", p)
			}
		})
	}
}

// Bodies that are gone, and what must not be done twice, are not sent again.
func TestWhatCannotBeRepeatedIsNotRescued(t *testing.T) {
	cases := map[string]struct {
		method, body string
		candidate    func(t *testing.T) *routing.Pool
		status       int
	}{
		"POST to a service":           {"POST", "", func(t *testing.T) *routing.Pool { return service("c", rawEngine(t, hangUp)) }, 502},
		"POST that was not sent":      {"POST", "", func(t *testing.T) *routing.Pool { return service("c", deadAddress(t)) }, 200},
		"GET from a service":          {"GET", "", func(t *testing.T) *routing.Pool { return service("c", rawEngine(t, hangUp)) }, 200},
		"body that was streamed":      {"PUT", "x", func(t *testing.T) *routing.Pool { return service("c", rawEngine(t, hangUp)) }, 502},
		"body that was never touched": {"PUT", "x", func(t *testing.T) *routing.Pool { return service("c", deadAddress(t)) }, 200},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w, _ := newTrial(t, canary(service("s", engine(t, echoing("good"))), c.candidate(t)))
			var body io.Reader
			if c.body != "" {
				body = strings.NewReader(c.body)
			}
			if a := w.send(w.request(c.method, "/x", body)); a.status != c.status {
				t.Errorf("answer is %d %s, want %d", a.status, a.body, c.status)
			}
		})
	}
}

func TestNoRescueAfterTheFirstByte(t *testing.T) {
	for name, chunks := range map[string][]string{"after a token": {token("x")}, "after the head": nil} {
		t.Run(name, func(t *testing.T) {
			w, o := newTrial(t, canary(pool("stable", engine(t, echoing("good"))), pool("candidate", rawEngine(t, chunked("text/event-stream", chunks...)))))
			if a := w.post("/v1/chat/completions", `{"model":"m","stream":true}`); a.status != 200 || !strings.Contains(a.body, "broke off") {
				t.Errorf("answer is %d %q", a.status, a.body)
			}
			v := w.last(1)
			hasReason(t, v, llm.ReasonUpstreamTruncated)
			if p := v.Parts[OfRule]; p.Rescued != "" || p.Failed != "" {
				t.Errorf("part is %+v", p)
			}
			if strings.Contains(o.told(), "failed") {
				t.Errorf("observer was told: %s", o.told())
			}
		})
	}
}

// A client that left is not served again by anyone.
func TestNoRescueWithoutAClient(t *testing.T) {
	var asked atomic.Int32
	arrived := make(chan bool)
	candidate := engine(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	w, o := newTrial(t, canary(pool("stable", engine(t, saying(200, &asked))), pool("candidate", candidate)))
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	go func() {
		<-arrived
		leave()
	}()
	if resp, err := w.client.Do(w.request("POST", "/v1/completions", strings.NewReader(`{"model":"m"}`)).WithContext(ctx)); err == nil {
		resp.Body.Close()
		t.Fatal("an answer came")
	}
	v := w.last(1)
	hasReason(t, v, llm.ReasonClientClosed)
	if asked.Load() != 0 || o.told() != "begin candidate, end" || v.Parts[OfRule].Failed != "" {
		t.Errorf("stable was asked %d times; observer was told: %s", asked.Load(), o.told())
	}
}

// Targets of a model are rescued within their pool: the name that the candidate's was
// replaced by is replaced by stable's, and the client sees its own.
func TestRescueOfATarget(t *testing.T) {
	var models []string
	server := engine(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		request, _ := llm.Scan(body)
		if models = append(models, request.Model); request.Model == "v2" {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, `{"model":"`+request.Model+`"}`)
	})
	w, o := newTrial(t, to(adapters(pool("a", server))))
	if a := w.post("/v1/completions", `{"model":"m"}`); a.body != `{"model":"m"}` {
		t.Errorf("answer is %d %q", a.status, a.body)
	}
	if !slices.Equal(models, []string{"v2", "v1"}) {
		t.Errorf("engine was asked for %v", models)
	}
	v := w.last(1)
	if p := v.Parts[OfModel]; p.Rescued != llm.ReasonUpstreamError || v.Outcome.Target != "v1" || v.Outcome.Retries != 1 {
		t.Errorf("part is %+v, outcome %+v", p, v.Outcome)
	}
	if got := o.told(); got != "begin a, failed 1 upstream_error, from a to a, byte of default/a, end" {
		t.Errorf("observer was told: %s", got)
	}
}

// Where nobody listens no other model is served either.
func TestRescueOfATargetSparesTheDead(t *testing.T) {
	dead := []string{deadAddress(t), deadAddress(t), deadAddress(t)}
	w, _ := newTrial(t, to(adapters(pool("a", append(dead, engine(t, echoing("alive")))...))))
	if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`)); e.Engine != "alive" || e.Body != `{"model":"v1"}` {
		t.Errorf("engine is %q, got %q", e.Engine, e.Body)
	}
}

// A request with a part in two rollouts is rescued from both, and no sample of the
// second any more.
func TestRescueWithinARescue(t *testing.T) {
	rule := canary(adapters(pool("stable", engine(t, echoing("good")))), adapters(pool("candidate", deadAddress(t))))
	w, _ := newTrial(t, rule)
	if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`)); e.Engine != "good" || e.Body != `{"model":"v1"}` {
		t.Errorf("engine is %q, got %q", e.Engine, e.Body)
	}
	v := w.last(1)
	if one, two := v.Parts[OfRule], v.Parts[OfModel]; one.Rescued == "" || two.Rescued == "" || two.Assignment != rule.Backends[1].Pool.Rules["m"].Assignment {
		t.Errorf("parts are %+v", v.Parts)
	}
}

// TestRescueAfterAPicker ends the talk with the candidate's picker before it begins
// another with stable's.
func TestRescueAfterAPicker(t *testing.T) {
	good, bad := engine(t, echoing("good")), engine(t, saying(500, new(atomic.Int32)))
	var story []string
	w, _ := newTrial(t, canary(picked(pool("stable", good)), picked(pool("candidate", bad))), func(o *Options) {
		o.External = func(ctx context.Context, p *routing.Pool) Consultation {
			story = append(story, "begin "+p.Name)
			ctx, cancel := context.WithCancel(ctx)
			closed := make(chan bool)
			go func() {
				<-closed
				cancel()
			}()
			return &scripted{ctx: ctx, closed: closed, choose: func(h http.Header, body string) ([]string, [][]byte, error) {
				story = append(story, body)
				h.Set("X-Picked-For", p.Name)
				return []string{p.Endpoints[0].Address}, [][]byte{[]byte(`{"by":"` + p.Name + `"}`)}, nil
			}}
		}
	})
	e := echoed(t, w.post("/v1/completions", `{"model":"m"}`))
	if e.Engine != "good" || e.Body != `{"by":"default/stable"}` || e.Header.Get("X-Picked-For") != "default/stable" {
		t.Errorf("engine is %q, got %q with %v", e.Engine, e.Body, e.Header)
	}
	want := []string{"begin default/candidate", `{"model":"m"}`, "begin default/stable", `{"model":"m"}`}
	if !slices.Equal(story, want) {
		t.Errorf("pickers were told %q", story)
	}
}

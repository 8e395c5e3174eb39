package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// compared is what a CompareObserver was told once.
type compared struct{ stable, candidate *llm.Outcome }

// judge is a recorder that also keeps what became of copies.
type judge struct {
	recorder
	results  map[string]int
	compared []compared
}

func (o *judge) Shadowed(_ *routing.Assignment, result string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.results[result]++
}

func (o *judge) Compared(_ *routing.Assignment, stable, candidate *llm.Outcome) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.compared = append(o.compared, compared{stable, candidate})
}

// of is how many copies ended so.
func (o *judge) of(result string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.results[result]
}

// wait waits until n pairs were compared and returns the last of them.
func (o *judge) wait(t *testing.T, n int) (c compared) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d pairs are compared", n), func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		if len(o.compared) < n {
			return false
		}
		c = o.compared[n-1]
		return true
	})
	return c
}

// pairs is how many were compared so far.
func (o *judge) pairs() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.compared)
}

// shadowing has everybody on stable and copies some of the requests.
func shadowing(percent, maxTokens int) *routing.Assignment {
	a := attempted()
	a.Share, a.Shadow = 0, &routing.Shadow{Percent: percent, MaxTokens: maxTokens}
	a.Seal()
	return a
}

// shadowed is a rule that copies all of stable's requests.
func shadowed(stable, candidate *routing.Pool) *routing.Rule {
	rule := to(stable, candidate)
	rule.Assignment = shadowing(100, 10)
	return rule
}

func newShadowWorld(t *testing.T, rule *routing.Rule, change ...func(*Options)) (*world, *judge) {
	o := &judge{results: map[string]int{}}
	w := newWorld(t, serving(rule), append(change, func(options *Options) { options.Observer = o })...)
	w.visits = &o.recorder
	return w, o
}

// copies is an engine that keeps what it is asked and answers in full.
type copies struct{ witness }

func (c *copies) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.witness.ServeHTTP(httptest.NewRecorder(), r)
	w.Header().Set("Content-Type", "application/json")
	io.WriteString(w, `{"model":"x","usage":{"prompt_tokens":3,"completion_tokens":7},"choices":[{"finish_reason":"length","text":"x"}]}`)
}

func TestCopiesAreCompared(t *testing.T) {
	for name, protocol := range map[string]routing.Protocol{"http/1.1": routing.HTTP1, "h2c": routing.H2C} {
		t.Run(name, func(t *testing.T) {
			shadow := &copies{}
			candidate := pool("candidate", engineOf(t, protocol, shadow.ServeHTTP))
			candidate.Protocol = protocol
			candidate.Rules = map[string]*routing.ModelRule{"m": routing.NewModelRule("x", "m", []routing.Target{{Model: "m-v2", Weight: 1}}, false, 0)}
			rule := shadowed(pool("stable", engine(t, echoing("stable"))), candidate)
			rule.Backends[1].Filters.RequestHeaders = &routing.HeaderChange{Set: []routing.HeaderField{{Name: "X-Candidate", Value: "1"}}}
			w, o := newShadowWorld(t, rule)
			const asked = `"prompt":"p","response_format":{"type":"json_object"}}`
			e := echoed(t, w.post("/v1/completions?q", `{"model":"m",`+asked, "Accept-Encoding", "gzip"))
			if e.Engine != "stable" || e.Body != `{"model":"m",`+asked || e.Header.Get("X-Candidate") != "" {
				t.Errorf("engine is %q, got %q with %v", e.Engine, e.Body, e.Header)
			}
			c := o.wait(t, 1)
			got := shadow.all[0]
			if got.body != `{"max_tokens":10,"model":"m-v2",`+asked || got.uri != "/v1/completions?q" ||
				got.header.Get("X-Candidate") != "1" || got.header.Get("Accept-Encoding") != "identity" {
				t.Errorf("candidate got %s %q with %v", got.uri, got.body, got.header)
			}
			if s := c.stable; s.Reason != llm.ReasonOK || s.Pool != "default/stable" || s.End.IsZero() {
				t.Errorf("stable's outcome is %+v", s)
			}
			x := c.candidate
			if x.Reason != llm.ReasonOK || x.Status != 200 || x.Pool != "default/candidate" || x.Model != "m" || x.Target != "m-v2" || x.Route != rule.ID ||
				x.Endpoint != candidate.Endpoints[0].Address || x.BytesOut == 0 || x.Start.IsZero() || x.FirstByte.IsZero() || x.End.IsZero() {
				t.Errorf("candidate's outcome is %+v", x)
			}
			if r := x.Report; r.Usage.CompletionTokens != 7 || r.FinishReason != "length" || !r.Done || !r.InvalidJSON {
				t.Errorf("candidate's report is %+v", r)
			}
			if o.of(MirrorAnswered) != 1 || o.begun != 1 {
				t.Errorf("copies ended %v, %d visits began", o.results, o.begun)
			}
			if left := w.proxy.mirrors.memory.used.Load(); left != 0 {
				t.Errorf("%d bytes are still taken", left)
			}
		})
	}
}

// Targets of a model are compared within their pool.
func TestCopiesForATarget(t *testing.T) {
	var mu sync.Mutex
	bodies := map[string]bool{}
	p := adapters(pool("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		bodies[string(body)] = true
		mu.Unlock()
		if strings.Contains(string(body), "v2") {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})))
	p.Rules["m"].Assignment = shadowing(100, 10)
	w, o := newShadowWorld(t, to(p))
	if a := w.post("/v1/responses", `{"model":"m","max_output_tokens":99}`); a.status != 200 {
		t.Errorf("status is %d", a.status)
	}
	if c := o.wait(t, 1); c.stable.Target != "v1" || c.candidate.Target != "v2" || c.candidate.Reason != llm.ReasonUpstreamError {
		t.Errorf("outcomes are %+v, %+v", c.stable, c.candidate)
	}
	mu.Lock()
	defer mu.Unlock()
	if !bodies[`{"model":"v1","max_output_tokens":99}`] || !bodies[`{"model":"v2","max_output_tokens":10}`] {
		t.Errorf("engine got %v", bodies)
	}
}

// TestCopiesDelayNobody has answers end while the copy hangs, and the other way round:
// in both cases the pair is compared when the later one ends.
func TestCopiesDelayNobody(t *testing.T) {
	release := make(chan bool)
	hanging := engine(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	w, o := newShadowWorld(t, shadowed(pool("stable", engine(t, echoing("stable"))), pool("candidate", hanging)))
	if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`)); e.Engine != "stable" {
		t.Errorf("engine is %q", e.Engine)
	}
	w.last(1)
	if n := o.pairs(); n != 0 {
		t.Errorf("%d pairs are compared before the copy is over", n)
	}
	close(release)
	o.wait(t, 1)

	events := make(chan string)
	w.publish(serving(shadowed(pool("stable", engine(t, sse(events))), pool("candidate", engine(t, new(copies).ServeHTTP)))))
	resp := w.open(t.Context(), `{"model":"m","stream":true}`)
	eventually(t, "the copy ends", func() bool { return o.of(MirrorAnswered) == 2 })
	if n := o.pairs(); n != 1 {
		t.Errorf("%d pairs are compared before the stream is over", n)
	}
	events <- token("s") + done
	close(events)
	readExactly(t, resp.Body, token("s")+done)
	if c := o.wait(t, 2); !c.stable.Report.Done || c.stable.Reason != llm.ReasonOK {
		t.Errorf("stable's outcome is %+v", c.stable)
	}
}

// TestCopiesThatFail are compared: to fail is what candidates do.
func TestCopiesThatFail(t *testing.T) {
	cases := map[string]struct {
		candidate func(t *testing.T) *routing.Pool
		reason    string
		result    string
	}{
		"no endpoint":    {func(*testing.T) *routing.Pool { return pool("c") }, llm.ReasonNoEndpoints, MirrorFailed},
		"nobody listens": {func(t *testing.T) *routing.Pool { return pool("c", deadAddress(t)) }, llm.ReasonUpstreamConnect, MirrorFailed},
		"hangs up":       {func(t *testing.T) *routing.Pool { return pool("c", rawEngine(t, hangUp)) }, llm.ReasonUpstreamReset, MirrorFailed},
		"takes too long": {func(t *testing.T) *routing.Pool { return pool("c", engine(t, slow)) }, llm.ReasonRequestTimeout, MirrorFailed},
		"breaks off": {func(t *testing.T) *routing.Pool {
			return pool("c", rawEngine(t, chunked("text/event-stream", token("x"))))
		}, llm.ReasonUpstreamTruncated, MirrorFailed},
		"does not end its stream": {func(t *testing.T) *routing.Pool {
			return pool("c", engine(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/event-stream")
				io.WriteString(w, token("x"))
			}))
		}, llm.ReasonUpstreamTruncated, MirrorAnswered},
		"ends all but its framing": {func(t *testing.T) *routing.Pool {
			return pool("c", rawEngine(t, chunked("text/event-stream", token("x")+done)))
		}, llm.ReasonOK, MirrorFailed},
		"refuses": {func(t *testing.T) *routing.Pool { return pool("c", engine(t, new(witness).ServeHTTP)) }, llm.ReasonUpstreamRejected, MirrorAnswered},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w, o := newShadowWorld(t, shadowed(pool("stable", engine(t, echoing("stable"))), c.candidate(t)), func(o *Options) {
				o.Timeouts.Mirror = time.Second
			})
			if a := w.post("/v1/completions", `{"model":"m","stream":true}`); a.status != 200 {
				t.Errorf("status is %d", a.status)
			}
			if got := o.wait(t, 1).candidate; got.Reason != c.reason || !slices.Contains(llm.Reasons(), got.Reason) {
				t.Errorf("candidate's outcome is %+v, want %s", got, c.reason)
			}
			if o.of(c.result) != 1 {
				t.Errorf("copies ended %v", o.results)
			}
		})
	}
}

// TestNotCopied asks in ways that no copy is made of.
func TestNotCopied(t *testing.T) {
	nothing := func(*routing.Rule) {}
	cases := map[string]struct {
		header []string
		change func(*routing.Rule)
	}{
		"side asked for": {[]string{"X-Side", "stable"}, nothing},
		"barred":         {nil, func(r *routing.Rule) { r.Assignment.Bar() }},
		"none of them":   {nil, func(r *routing.Rule) { r.Assignment = shadowing(0, 0) }},
		"no task":        {nil, func(r *routing.Rule) { r.Assignment.Shadow = nil; r.Assignment.Seal() }},
		"by a picker":    {nil, func(r *routing.Rule) { picked(r.Backends[1].Pool) }},
		"to nowhere":     {nil, func(r *routing.Rule) { r.Backends[1].Pool = nil }},
		"on the candidate": {nil, func(r *routing.Rule) {
			r.Assignment.Share = routing.Buckets
			r.Assignment.Seal()
			r.Backends[0].Pool, r.Backends[1].Pool = r.Backends[1].Pool, r.Backends[0].Pool
		}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			shadow := &copies{}
			rule := shadowed(pool("stable", engine(t, echoing("served"))), pool("candidate", engine(t, shadow.ServeHTTP)))
			c.change(rule)
			w, o := newShadowWorld(t, rule)
			if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`, c.header...)); e.Engine != "served" {
				t.Errorf("engine is %q", e.Engine)
			}
			w.last(1)
			w.shutdown(patience)
			w.proxy.Close() // which waits for copies
			if len(o.results) > 0 || len(shadow.all) > 0 {
				t.Errorf("copies ended %v", o.results)
			}
		})
	}
	t.Run("no model call", func(t *testing.T) {
		w, o := newShadowWorld(t, shadowed(pool("stable", engine(t, echoing("served"))), pool("candidate", deadAddress(t))))
		w.get("/v1/files")
		w.post("/v1/files", `{"purpose":"x"}`)
		w.last(2)
		if len(o.results) > 0 {
			t.Errorf("copies ended %v", o.results)
		}
	})
}

// TestCopiesTakeTheirShare wants the percentage met exactly over whole hundreds.
func TestCopiesTakeTheirShare(t *testing.T) {
	rule := shadowed(pool("stable", engine(t, saying200)), pool("candidate", engine(t, new(copies).ServeHTTP)))
	rule.Assignment = shadowing(20, 0)
	w, o := newShadowWorld(t, rule)
	for range 200 {
		w.post("/v1/completions", `{"model":"m"}`)
	}
	o.wait(t, 40)
	if n := o.of(MirrorAnswered); n != 40 {
		t.Errorf("%d copies were made", n)
	}
}

// TestCopiesWithinLimits drops those that are too many, too large, or find their pool
// full, and compares none of them.
func TestCopiesWithinLimits(t *testing.T) {
	release := make(chan bool)
	hanging := engine(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-release
	})
	w, o := newShadowWorld(t, shadowed(pool("stable", engine(t, echoing("stable"))), pool("candidate", hanging)), func(o *Options) {
		o.Limits.Mirrors, o.Limits.MirrorBytes = 2, 64<<10
		o.Picker = pickFunc(func(call *scheduling.Call, p *routing.Pool) (scheduling.Decision, error) {
			if call.Model == "busy" && p.Name == "default/candidate" {
				if call.Priority > -1000 {
					t.Errorf("a copy has priority %d", call.Priority)
				}
				return scheduling.Decision{}, &scheduling.SaturatedError{}
			}
			return inOrder{}.Pick(context.Background(), call, p)
		})
	})
	w.post("/v1/completions", `{"model":"m","prompt":"`+strings.Repeat("x", 100<<10)+`"}`)
	eventually(t, "the large one is dropped", func() bool { return o.of(MirrorDropped) == 1 })
	w.post("/v1/completions", `{"model":"busy"}`)
	eventually(t, "the one without room is dropped", func() bool { return o.of(MirrorDropped) == 2 })
	for range 5 {
		if e := echoed(t, w.post("/v1/completions", `{"model":"m"}`)); e.Engine != "stable" {
			t.Errorf("engine is %q", e.Engine)
		}
	}
	eventually(t, "three more are dropped", func() bool { return o.of(MirrorDropped) == 5 })
	close(release)
	o.wait(t, 2)
	w.last(7)
	if n := o.pairs(); n != 2 {
		t.Errorf("%d pairs are compared", n)
	}
	if left := w.proxy.mirrors.memory.used.Load(); left != 0 {
		t.Errorf("%d bytes are still taken", left)
	}
}

// TestCloseCutsCopies compares none that the gateway cut.
func TestCloseCutsCopies(t *testing.T) {
	arrived := make(chan bool)
	stuck := engine(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	})
	w, o := newShadowWorld(t, shadowed(pool("stable", engine(t, echoing("stable"))), pool("candidate", stuck)))
	w.post("/v1/completions", `{"model":"m"}`)
	<-arrived
	w.shutdown(patience)
	w.proxy.Close()
	if n := o.pairs(); n != 0 || o.of(MirrorFailed) != 1 {
		t.Errorf("%d pairs are compared, copies ended %v", n, o.results)
	}
}

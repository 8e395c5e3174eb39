package proxy

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// echo is what the echoing engine tells of the request it got.
type echo struct {
	Engine, Method, Target, Host, Body string
	Header                             http.Header
}

// echoing answers with what it was asked.
func echoing(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(echo{name, r.Method, r.RequestURI, r.Host, string(body), r.Header})
	}
}

func echoed(t *testing.T, a answerSeen) echo {
	t.Helper()
	var e echo
	if err := json.Unmarshal([]byte(a.body), &e); err != nil || a.status != 200 {
		t.Fatalf("answer is %d %s", a.status, a.body)
	}
	return e
}

func TestBodyReachesEngineAsSent(t *testing.T) {
	p := pool("a", engine(t, echoing("a")))
	p.Rules = map[string]*routing.ModelRule{
		"base": routing.NewModelRule("InferenceModel default/base", "base", []routing.Target{{Model: "target \"1\"", Weight: 1}}, false, 0),
		"same": routing.NewModelRule("InferenceModel default/same", "same", []routing.Target{{Model: "same", Weight: 1}}, false, 0),
	}
	w := newWorld(t, serving(to(p)))
	cases := map[string]struct{ path, sent, want string }{
		"pass":     {"/v1/completions", " {\"x\" : 1.0e+2 ,\n\"model\":\"other\",\"y\":\"\\u00e9é\"}\r\n", ""},
		"same":     {"/v1/completions", `{"model" : "same"}`, ""},
		"spliced":  {"/v1/chat/completions", " {\"x\" : 1.0e+2 ,\n\"model\"\t:\t\"base\" , \"m\":\"base\"}\r\n", " {\"x\" : 1.0e+2 ,\n\"model\"\t:\t\"target \\\"1\\\"\" , \"m\":\"base\"}\r\n"},
		"escaped":  {"/v1/embeddings", `{"mod\u0065l":"b\u0061se"}`, `{"mod\u0065l":"target \"1\""}`},
		"prefixed": {"/team/v1/completions", `{"model":"base"}`, `{"model":"target \"1\""}`},
		"no model": {"/tokenize", `{"prompt":"x"}`, ""},
		"a list":   {"/batch", `[{"model":"base"}]`, ""},
		"no JSON":  {"/batch", `model: base`, ""},
		"large":    {"/v1/completions", `{"model":"base","prompt":"` + strings.Repeat("lorem ", 200_000) + `"}`, `{"model":"target \"1\"","prompt":"` + strings.Repeat("lorem ", 200_000) + `"}`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.want == "" {
				c.want = c.sent
			}
			if got := echoed(t, w.post(c.path, c.sent)).Body; got != c.want {
				t.Errorf("engine got %.200q\nwant       %.200q", got, c.want)
			}
		})
	}
	t.Run("unsized", func(t *testing.T) {
		r := w.request(http.MethodPost, "/v1/completions", io.MultiReader(strings.NewReader(`{"model":`), strings.NewReader(`"base"}`)))
		if got := echoed(t, w.send(r, "Content-Type", "application/json")).Body; got != `{"model":"target \"1\""}` {
			t.Errorf("engine got %q", got)
		}
	})
	t.Run("curl's content type", func(t *testing.T) {
		r := w.request(http.MethodPost, "/anything", strings.NewReader(`{"model":"base"}`))
		if got := echoed(t, w.send(r, "Content-Type", "application/x-www-form-urlencoded")).Body; got != `{"model":"target \"1\""}` {
			t.Errorf("engine got %q", got)
		}
	})
	t.Run("a form", func(t *testing.T) {
		r := w.request(http.MethodPost, "/anything", strings.NewReader(`model=base&x=%7B`))
		if got := echoed(t, w.send(r, "Content-Type", "application/x-www-form-urlencoded")).Body; got != `model=base&x=%7B` {
			t.Errorf("engine got %q", got)
		}
	})
	t.Run("multipart", func(t *testing.T) {
		body := "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nbase\r\n--b--\r\n"
		r := w.request(http.MethodPost, "/v1/audio/transcriptions", strings.NewReader(body))
		if got := echoed(t, w.send(r, "Content-Type", "multipart/form-data; boundary=b")).Body; got != body {
			t.Errorf("engine got %q", got)
		}
	})
}

func TestRefusals(t *testing.T) {
	live := engine(t, echoing("a"))
	known := pool("known", live)
	known.Models, known.ModelsKnown = []string{"m"}, true
	empty := pool("empty")
	lost := to(known)
	lost.Backends = []routing.Backend{{Ref: "InferencePool default/lost", Weight: 1, Failure: "InferencePool default/lost does not exist"}}
	broken := to(known)
	broken.Failure = "filter X is not supported"
	weightless := to(known)
	weightless.Backends[0].Weight = 0
	weightlessAndLost := to(known)
	weightlessAndLost.Backends[0].Weight = 0
	weightlessAndLost.Backends = append(weightlessAndLost.Backends, lost.Backends...)

	l := &routing.Listener{Gateway: "default/gw", Name: "http", Hostname: ""}
	w := newWorld(t, snapshotOf(l,
		route{prefix("/known"), to(known)}, route{prefix("/empty"), to(empty)}, route{prefix("/lost"), lost},
		route{prefix("/broken"), broken}, route{prefix("/weightless"), weightless}, route{prefix("/none"), to()},
		route{prefix("/both"), weightlessAndLost}))
	cases := []struct {
		name, path, body string
		status           int
		text, reason     string
	}{
		{"no route", "/nowhere", `{"model":"m"}`, 404, "No route", llm.ReasonRouteNotFound},
		{"unknown model", "/known/v1/completions", `{"model":"x"}`, 404, "`x`", llm.ReasonModelNotFound},
		{"no model", "/known/v1/completions", `{}`, 400, "names no model", llm.ReasonBadRequest},
		{"model is a number", "/known/v1/completions", `{"model":1}`, 400, "string", llm.ReasonBadRequest},
		{"model twice", "/known/v1/completions", `{"model":"m","model":"m"}`, 400, "twice", llm.ReasonBadRequest},
		{"not JSON", "/known/v1/completions", `model=m`, 400, "JSON", llm.ReasonBadRequest},
		{"bad encoding", "/known/v1/completions", "{\"model\":\"m\xff\"}", 400, "UTF-8", llm.ReasonBadRequest},
		{"empty body", "/known/v1/completions", ``, 400, "empty", llm.ReasonBadRequest},
		{"not JSON elsewhere", "/known/other", `{`, 400, "JSON", llm.ReasonBadRequest},
		{"no endpoints", "/empty/v1/completions", `{"model":"m"}`, 503, "default/empty", llm.ReasonNoEndpoints},
		{"lost backend", "/lost/v1/completions", `{"model":"m"}`, 500, "does not exist", llm.ReasonBackendInvalid},
		{"lost backend with a model's pool at 0", "/both/v1/completions", `{"model":"m"}`, 500, "does not exist", llm.ReasonBackendInvalid},
		{"broken rule", "/broken/v1/completions", `{"model":"m"}`, 500, "filter X", llm.ReasonRouteInvalid},
		{"no weight", "/weightless/v1/completions", `{"model":"m"}`, 500, "weight", llm.ReasonRouteInvalid},
		{"no backend", "/none/v1/completions", `{"model":"m"}`, 500, "no backend", llm.ReasonRouteInvalid},
		{"dot segment", "/known/%2e%2E/x", `{}`, 400, "dot segment", llm.ReasonBadRequest},
		{"escaped slash and dots", "/known/a%2f..%2fb", `{}`, 400, "dot segment", llm.ReasonBadRequest},
		{"backslash", "/known/a%5cb", `{}`, 400, "backslash", llm.ReasonBadRequest},
		{"zero byte", "/known/a%00b", `{}`, 400, "zero byte", llm.ReasonBadRequest},
	}
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			a := w.post(c.path, c.body)
			isOpenAIError(t, a, c.status, c.text)
			v := w.last(i + 1)
			hasReason(t, v, c.reason)
			if v.Outcome.Status != c.status {
				t.Errorf("outcome's status is %d", v.Outcome.Status)
			}
			if got := a.header.Get("Retry-After") != ""; got != (c.status == 503) {
				t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
			}
		})
	}
	if w.visits.begun != len(cases) {
		t.Errorf("%d visits began, %d ended", w.visits.begun, len(cases))
	}
}

func TestBeforeAnySnapshot(t *testing.T) {
	w := newWorld(t, serving(to(pool("a"))))
	w.proxy.snapshot.Store(nil)
	isOpenAIError(t, w.get("/"), 503, "no configuration")
}

func TestEncodedBodyIsRefused(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", engine(t, echoing("a"))))))
	isOpenAIError(t, w.post("/v1/completions", "\x1f\x8b", "Content-Encoding", "gzip"), 415, "Content-Encoding")
	if e := echoed(t, w.post("/other", "{\x8b", "Content-Encoding", "gzip")); e.Header.Get("Content-Encoding") != "gzip" {
		t.Error("Content-Encoding was lost")
	}
}

func TestModelExcludesPools(t *testing.T) {
	v1, v2 := pool("v1", engine(t, echoing("v1"))), pool("v2", engine(t, echoing("v2")))
	v1.Models, v1.ModelsKnown = []string{"base", "lora"}, true
	v2.Models, v2.ModelsKnown = []string{"base"}, true
	w := newWorld(t, serving(to(v1, v2)))
	for range 20 {
		if got := echoed(t, w.post("/v1/completions", `{"model":"lora"}`)).Engine; got != "v1" {
			t.Fatalf("lora was sent to %s", got)
		}
	}
	if v := w.last(20); !v.Excluded || v.Backend.Pool != v1 {
		t.Errorf("visit does not tell that pools were excluded: %+v", v)
	}
	seen := map[string]int{}
	for range 20 {
		seen[echoed(t, w.post("/v1/completions", `{"model":"base"}`)).Engine]++
	}
	if len(seen) != 2 || w.last(40).Excluded {
		t.Errorf("base was sent to %v, excluded %v", seen, w.last(40).Excluded)
	}
}

func TestWeightsHoldOverEveryHundred(t *testing.T) {
	rule := to(pool("v1", engine(t, echoing("v1"))), pool("v2", engine(t, echoing("v2"))))
	rule.Backends[0].Weight, rule.Backends[1].Weight = 90, 10
	w := newWorld(t, serving(rule))
	seen := map[string]int{}
	for range 100 {
		seen[echoed(t, w.post("/v1/completions", `{"model":"m"}`)).Engine]++
	}
	if seen["v1"] != 90 || seen["v2"] != 10 {
		t.Errorf("100 requests went %v", seen)
	}
}

func TestCallSaysWhatThePickerMustKnow(t *testing.T) {
	address := engine(t, echoing("a"))
	p := pool("a", address)
	p.Rules = map[string]*routing.ModelRule{
		"base": routing.NewModelRule("InferenceModel default/base", "base", []routing.Target{{Model: "lora", Weight: 1}}, false, 7),
	}
	p.Objectives = map[string]int{"batch": -5}
	var got scheduling.Call
	w := newWorld(t, serving(to(p)), func(o *Options) {
		o.Picker = pickFunc(func(c *scheduling.Call, p *routing.Pool) (scheduling.Decision, error) {
			got = *c
			if c.Request != nil {
				request := *c.Request
				got.Request = &request
			}
			return scheduling.Decision{Endpoint: p.Endpoints[0]}, nil
		})
	})
	w.post("/v1/completions", `{"model":"base","stream":true,"max_tokens":9,"cache_salt":"tenant"}`)
	if got.CacheSalt != `"tenant"` {
		t.Errorf("cache salt is %q", got.CacheSalt)
	}
	if got.Model != "lora" || got.Priority != 7 || got.Request.Model != "base" || !got.Request.Stream || got.Request.MaxTokens != 9 || got.At.IsZero() {
		t.Errorf("call is %+v with request %+v", got, got.Request)
	}
	w.post("/v1/completions", `{"model":"base"}`, "x-llm-d-inference-objective", "batch", "x-gateway-inference-objective", "nothing")
	if got.Priority != -5 {
		t.Errorf("priority is %d, want the objective's", got.Priority)
	}
	w.post("/v1/completions", `{"model":"base"}`, "x-gateway-inference-objective", "nothing")
	if got.Priority != 7 {
		t.Errorf("priority is %d, want the model's", got.Priority)
	}
	w.get("/metrics")
	if got.Request != nil || got.Model != "" || got.Priority != 0 {
		t.Errorf("a GET's call is %+v", got)
	}
}

// Who a request is for comes from either header, the newer first, cut to what
// counts.
func TestFlow(t *testing.T) {
	var got scheduling.Call
	w := newWorld(t, serving(to(pool("a", "127.0.0.1:1"))), func(o *Options) {
		o.Picker = pickFunc(func(c *scheduling.Call, _ *routing.Pool) (scheduling.Decision, error) {
			got = *c
			return scheduling.Decision{}, scheduling.ErrNoEndpoints
		})
	})
	long := strings.Repeat("x", 1000)
	for _, c := range []struct {
		header []string
		want   string
	}{
		{nil, ""},
		{[]string{fairnessHeaderOld, "old"}, "old"},
		{[]string{fairnessHeaderOld, "old", fairnessHeader, "new"}, "new"},
		{[]string{fairnessHeader, long}, long[:longestFlow]},
	} {
		w.post("/v1/completions", `{"model":"m"}`, c.header...)
		if got.Flow != c.want {
			t.Errorf("flow %q of %q, want %q", got.Flow, c.header, c.want)
		}
	}
}

func TestPickersErrors(t *testing.T) {
	var fails error
	w := newWorld(t, serving(to(pool("a", "127.0.0.1:1"))), func(o *Options) {
		o.Picker = pickFunc(func(*scheduling.Call, *routing.Pool) (scheduling.Decision, error) {
			return scheduling.Decision{}, fails
		})
	})
	cases := []struct {
		err    error
		status int
		reason string
	}{
		{scheduling.ErrNoEndpoints, 503, llm.ReasonNoEndpoints},
		{scheduling.ErrExhausted, 503, llm.ReasonNoEndpoints},
		{llm.RateLimited("sheddable calls wait"), 429, llm.ReasonRateLimited},
		{errors.New("broken"), 503, llm.ReasonPickerFailed},
		{&scheduling.SaturatedError{RetryAfter: 7 * time.Second}, 429, llm.ReasonRateLimited},
	}
	for i, c := range cases {
		fails = c.err
		answer := w.post("/v1/completions", `{"model":"m"}`)
		if got := answer.header.Get("Retry-After"); c.status == 429 && i == len(cases)-1 && got != "7" {
			t.Errorf("Retry-After %q, want the scheduler's 7", got)
		}
		isOpenAIError(t, answer, c.status, "")
		hasReason(t, w.last(i+1), c.reason)
	}
}

// A refusal of a HEAD has no body, and says nothing of one.
func TestRefusalOfHead(t *testing.T) {
	w := newWorld(t, serving(to(pool("a"))))
	a := w.send(w.request(http.MethodHead, "/v1/models/none", nil))
	if a.status != 404 || a.body != "" || a.header.Get("Content-Type") != "" {
		t.Errorf("answer is %d %q, content type %q", a.status, a.body, a.header.Get("Content-Type"))
	}
}

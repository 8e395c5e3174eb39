package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/translate"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func outcome(model, endpoint string) *llm.Outcome {
	start := time.Unix(1000, 0)
	return &llm.Outcome{
		Route: "default/r/0", Pool: "default/p", Model: model, Target: model, Endpoint: endpoint,
		Status: 200, Reason: llm.ReasonOK, Stream: true, Retries: 1, Start: start, End: start.Add(2 * time.Second),
		Report: llm.Report{
			Usage: llm.Usage{PromptTokens: 10, CachedTokens: 4, CompletionTokens: 5, Known: true}, Tokens: 5,
			ContentEvents: 5, FirstToken: start.Add(time.Second), LastToken: start.Add(2 * time.Second),
		},
	}
}

func TestMetricsOfACall(t *testing.T) {
	r := prometheus.NewRegistry()
	m := NewMetrics(r)
	m.Record(outcome("a", "10.0.0.1:8000"), true)
	want := `
# HELP crossfade_requests_total Requests by how they ended.
# TYPE crossfade_requests_total counter
crossfade_requests_total{code="200",endpoint="10.0.0.1:8000",gen_ai_request_model="a",gen_ai_response_model="a",pool="default/p",reason="ok",route="default/r/0"} 1
# HELP crossfade_tokens_total Tokens by type: input, cached (part of input) or output.
# TYPE crossfade_tokens_total counter
crossfade_tokens_total{endpoint="10.0.0.1:8000",gen_ai_request_model="a",gen_ai_response_model="a",gen_ai_token_type="cached",pool="default/p",route="default/r/0"} 4
crossfade_tokens_total{endpoint="10.0.0.1:8000",gen_ai_request_model="a",gen_ai_response_model="a",gen_ai_token_type="input",pool="default/p",route="default/r/0"} 10
crossfade_tokens_total{endpoint="10.0.0.1:8000",gen_ai_request_model="a",gen_ai_response_model="a",gen_ai_token_type="output",pool="default/p",route="default/r/0"} 5
# HELP crossfade_retries_total Tries at another endpoint after the first.
# TYPE crossfade_retries_total counter
crossfade_retries_total{pool="default/p",route="default/r/0"} 1
# HELP crossfade_pool_excluded_total Requests whose draw left out a weighted pool that is known not to serve the model.
# TYPE crossfade_pool_excluded_total counter
crossfade_pool_excluded_total{gen_ai_request_model="a",route="default/r/0"} 1
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "crossfade_requests_total", "crossfade_tokens_total",
		"crossfade_retries_total", "crossfade_pool_excluded_total"); err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(m.firstToken); n != 1 {
		t.Errorf("%d series of time to first token, want 1", n)
	}
}

// An answer in one piece has no time to first token of its own, an error none.
func TestFirstTokenIsOfStreamsThatWentWell(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	whole, failed := outcome("a", "e"), outcome("a", "e")
	whole.Stream, failed.Status = false, 503
	m.Record(whole, false)
	m.Record(failed, false)
	if n := testutil.CollectAndCount(m.firstToken); n != 0 {
		t.Errorf("%d series of time to first token, want none", n)
	}
}

func TestModelNamesAreBounded(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	for i := range 3 * maxNames {
		m.Record(outcome(fmt.Sprintf("made-up-%d", i), "e"), false)
	}
	if n := testutil.CollectAndCount(m.requests); n > maxNames+1 {
		t.Errorf("%d series for made-up models, want at most %d", n, maxNames+1)
	}
}

func TestSeriesOfVanishedEndpointsGo(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	m.Record(outcome("a", "stays"), false)
	m.Record(outcome("a", "goes"), false)
	m.Published(&View{Pools: []Pool{{Endpoints: []Endpoint{{Address: "stays"}}}}}, time.Millisecond)
	if n := testutil.CollectAndCount(m.requests); n != 1 {
		t.Errorf("%d series of requests, want that of the endpoint that stays", n)
	}
	m.Record(outcome("a", "goes"), false)
	if n := testutil.CollectAndCount(m.requests); n != 2 {
		t.Errorf("%d series after a late end, want 2", n)
	}
}

func TestRecordDoesNotAllocate(t *testing.T) {
	m := NewMetrics(prometheus.NewRegistry())
	o := outcome("a", "e")
	if n := testing.AllocsPerRun(100, func() { m.Record(o, false); m.Gap(o, time.Millisecond) }); n > 0 {
		t.Errorf("%v allocations for a call whose series exist, want none", n)
	}
}

func TestAccessLogHoldsNoSecrets(t *testing.T) {
	var out bytes.Buffer
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions?api_key=SECRET", strings.NewReader("SECRET"))
	r.Header.Set("Authorization", "Bearer SECRET")
	r.Header.Set("X-Request-Id", strings.Repeat("x", 1000))
	NewAccessLog(&out, 1).Record(r, outcome("a", "e"))
	if strings.Contains(out.String(), "SECRET") {
		t.Errorf("the log line shows what it must not: %s", out.String())
	}
	var line map[string]any
	if err := json.Unmarshal(out.Bytes(), &line); err != nil {
		t.Fatal(err)
	}
	if line["model"] != "a" || line["status"] != 200.0 || line["ttft_ms"] != 1000.0 || len(line["request_id"].(string)) != 128 {
		t.Errorf("log line %v", line)
	}
	out.Reset()
	NewAccessLog(&out, 0).Record(r, outcome("a", "e"))
	if out.Len() > 0 {
		t.Errorf("a share of 0 logged %s", out.String())
	}
}

func TestPages(t *testing.T) {
	ready := errors.New("not yet")
	view := &View{Generation: 7, Snapshot: "listener x\n"}
	view.Problems = append(view.Problems, NewProblem(translate.Problem{
		Severity: translate.Error, Ref: translate.ObjectRef{Kind: "HTTPRoute", Namespace: "n", Name: "r"}, Message: "broken",
	}, "f.yaml:1"))
	server := httptest.NewServer(Handler(Sources{
		View:       func() *View { return view },
		Ready:      func() error { return ready },
		Scheduling: func() []scheduling.PoolStats { return []scheduling.PoolStats{{ID: "p"}} },
		Explained:  func() []scheduling.Explained { return []scheduling.Explained{{Chosen: "10.0.0.1:8000"}} },
	}, prometheus.NewRegistry()))
	defer server.Close()
	for _, c := range []struct {
		path   string
		status int
		holds  string
	}{
		{"/healthz", 200, "ok"},
		{"/readyz", 503, "not yet"},
		{"/status", 200, `"object": "HTTPRoute n/r"`},
		{"/snapshot", 200, "listener x"},
		{"/endpoints", 200, `"id": "p"`},
		{"/explain", 200, `"chosen": "10.0.0.1:8000"`},
		{"/metrics", 200, ""},
		{"/", 200, "/metrics"},
		{"/nothing", 404, ""},
	} {
		resp, err := http.Get(server.URL + c.path)
		if err != nil {
			t.Fatal(err)
		}
		var body bytes.Buffer
		if _, err := body.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != c.status || !strings.Contains(body.String(), c.holds) {
			t.Errorf("%s: %d %q, want %d with %q", c.path, resp.StatusCode, body.String(), c.status, c.holds)
		}
	}
}

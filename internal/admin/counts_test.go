package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/rollout"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestKillIsForWhoeverIsOnTheMachine(t *testing.T) {
	for name, c := range map[string]struct {
		from, kind, site, path string
		want                   int
		barred                 string
	}{
		"from here":           {"127.0.0.1:4000", "application/json", "", "/rollouts/llm/chat/kill", 200, "llm/chat"},
		"with parameters":     {"[::1]:4000", "application/json; charset=utf-8", "", "/rollouts/llm/chat/kill", 200, "llm/chat"},
		"IPv4 in IPv6":        {"[::ffff:127.0.0.1]:4000", "application/json", "", "/rollouts/llm/chat/kill", 200, "llm/chat"},
		"from another host":   {"10.0.0.7:4000", "application/json", "", "/rollouts/llm/chat/kill", 403, ""},
		"from nowhere":        {"@", "application/json", "", "/rollouts/llm/chat/kill", 403, ""},
		"a form":              {"127.0.0.1:4000", "text/plain", "", "/rollouts/llm/chat/kill", 403, ""},
		"no type":             {"127.0.0.1:4000", "", "", "/rollouts/llm/chat/kill", 403, ""},
		"a page of a browser": {"127.0.0.1:4000", "application/json", "cross-site", "/rollouts/llm/chat/kill", 403, ""},
		"unknown":             {"127.0.0.1:4000", "application/json", "", "/rollouts/llm/other/kill", 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			barred := ""
			h := Handler(Sources{Bar: func(namespace, name string) error {
				if name != "chat" {
					return errors.New("no attempt is under way")
				}
				barred = namespace + "/" + name
				return nil
			}}, prometheus.NewRegistry())
			r := httptest.NewRequest(http.MethodPost, c.path, strings.NewReader("{}"))
			r.RemoteAddr, r.Host = c.from, "localhost:9100"
			if c.kind != "" {
				r.Header.Set("Content-Type", c.kind)
			}
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.want || barred != c.barred {
				t.Errorf("status %d, barred %q; want %d, %q\n%s", w.Code, barred, c.want, c.barred, w.Body)
			}
		})
	}
}

func TestCountsPage(t *testing.T) {
	want := rollout.Counts{Epoch: "e", At: time.Unix(100, 0).UTC(), Rollouts: []rollout.RolloutCounts{{
		Rollout: "llm/chat", Attempt: 3, Samples: map[string]map[string]rollout.Sample{rollout.TTFT: {"<512": {Candidate: map[int]int64{7: 2}}}},
	}}}
	h := Handler(Sources{Counts: func() rollout.Counts { return want }}, prometheus.NewRegistry())
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/rollouts/counts", nil))
	var got rollout.Counts
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Epoch != "e" || !got.At.Equal(want.At) || got.Rollouts[0].Samples[rollout.TTFT]["<512"].Candidate[7] != 2 {
		t.Errorf("read back: %+v", got)
	}
	w = httptest.NewRecorder()
	Handler(Sources{}, prometheus.NewRegistry()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/rollouts/counts", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("without counts: %d", w.Code)
	}
}

func TestRolloutMetrics(t *testing.T) {
	r := prometheus.NewRegistry()
	m := NewMetrics(r)
	m.Rollout("llm/chat", true) // not served yet
	m.Rollouts(map[string]float64{"llm/chat": 0.05, "llm/gone": 1})
	m.Rollout("llm/gone", true)
	m.Rollout("llm/chat", true)
	m.Rollouts(map[string]float64{"llm/chat": 0.25})
	m.Rollout("llm/chat", false)
	m.Rollout("llm/chat", true)
	m.Rollout("llm/gone", true)
	want := `
# HELP crossfade_rollout_requests_total Requests that a rollout decided about, by the version they were assigned to.
# TYPE crossfade_rollout_requests_total counter
crossfade_rollout_requests_total{rollout="llm/chat",version="candidate"} 2
crossfade_rollout_requests_total{rollout="llm/chat",version="stable"} 1
# HELP crossfade_rollout_share The candidate's share of the traffic that this gateway serves, 0 to 1.
# TYPE crossfade_rollout_share gauge
crossfade_rollout_share{rollout="llm/chat"} 0.25
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want), "crossfade_rollout_requests_total", "crossfade_rollout_share"); err != nil {
		t.Error(err)
	}
}

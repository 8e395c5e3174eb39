package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// provider is a server that says a value to whoever asks, as Prometheus and as a
// webhook, and notes what it was asked.
type provider struct {
	*httptest.Server
	mu    sync.Mutex
	value float64
	down  bool
	asked map[string]string // by path
}

func newProvider(t *testing.T) *provider {
	p := &provider{value: 1, asked: map[string]string{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *provider) set(value float64, down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.value, p.down = value, down
}

func (p *provider) heard(path string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path] = string(body)
	if p.down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/api/v1/query" {
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"%g"]}]}}`, p.value)
		return
	}
	fmt.Fprintf(w, `{"value": %g}`, p.value)
}

// Values from outside that are out of bounds act by their class: a hard one aborts, a
// soft one pauses, and none does while all are good.
func TestRolloutProviders(t *testing.T) {
	for name, c := range map[string]struct {
		class, external string
		want            rollout.Phase
	}{
		"prometheus": {"Hard", `prometheus: {address: %s, query: 'cost{pool="{{candidate}}",than="{{stable}}"}'}`, rollout.Aborted},
		"webhook":    {"Soft", `webhook: {url: %s/judge}`, rollout.Paused},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			g := startFiles(t, planned(t, "  - setShare: {percent: 50}\n  - hold: {minDuration: 1h}\n", fmt.Sprintf(
				"    - {name: outside, class: %s, external: {max: 2, interval: 5s, %s}}\n", c.class, fmt.Sprintf(c.external, p.URL))))
			g.until(t, "told a good value", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
				if s.Phase == rollout.Aborted || s.Pause != nil {
					t.Fatalf("%s: %s", s.Phase, o.Status.Message)
				}
				b := s.Books["outside"]
				return b != nil && b.External.Value == 1 && s.Share.Set == 5000
			})
			p.set(3, false)
			s := g.until(t, string(c.want), func(_ *cfv1a1.InferenceRollout, s rollout.State) bool { return s.Phase == c.want })
			why := ""
			if c.want == rollout.Aborted {
				last := s.History[len(s.History)-1]
				why = last.Reason + " " + last.Message
			} else {
				why = s.Pause.Reason + " " + s.Pause.Message
			}
			if !strings.HasPrefix(why, "GuardrailFailed outside: 3 is outside") {
				t.Errorf("%s for %s", c.want, why)
			}
			p.check(t, name)
		})
	}
}

// check looks at what was asked: versions by their names.
func (p *provider) check(t *testing.T, name string) {
	t.Helper()
	if name == "prometheus" {
		if q := p.heard("/api/v1/query"); !strings.Contains(q, "qwen-v2") || !strings.Contains(q, "qwen-v1") || strings.Contains(q, "candidate") {
			t.Errorf("the query is %s", q)
		}
		return
	}
	var q struct {
		Rollout string
		Attempt int64
		Share   float64
	}
	if err := json.Unmarshal([]byte(p.heard("/judge")), &q); err != nil || q.Rollout != "default/qwen" || q.Attempt != 1 || q.Share != 50 {
		t.Errorf("the webhook was asked %s (%v)", p.heard("/judge"), err)
	}
}

// A provider that is down holds the rollout, and hides nothing that the gateway sees
// by itself (scenario 7; how long it holds is told in internal/conductor).
func TestRolloutProviderDown(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	p.set(0, true)
	g := startFiles(t, planned(t, "  - setShare: {percent: 50}\n  - hold: {minDuration: 1s}\n  - setShare: {percent: 100}\n", fmt.Sprintf(
		"    - {name: error-rate, minSamples: 20}\n    - {name: outside, external: {max: 2, interval: 5s, webhook: {url: %s/judge}}}\n", p.URL)))
	l := g.send(t, 4, "")
	g.until(t, "held by its provider", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Share.Set > 5000 || s.Phase == rollout.Aborted {
			t.Fatalf("%s at %s: %s", s.Phase, s.Share.Set, o.Status.Message)
		}
		b := s.Books["outside"]
		return b != nil && !b.External.Failing.IsZero() && s.Share.Set == 5000 && s.Share.Candidate > 100
	})
	g.faults(t, "default/qwen-v2", `{"failRate": 1}`)
	g.untilPhase(t, rollout.Aborted)
	l.end()
	l.noneFailed(t)
}

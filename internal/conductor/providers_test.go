package conductor

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
)

// answers is an HTTP server without a network, for bubbles.
type answers struct {
	mu    sync.Mutex
	body  string
	err   error
	hang  bool
	asked []string
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	in, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	a.asked = append(a.asked, string(in))
	body, failure, hang := a.body, a.err, a.hang
	a.mu.Unlock()
	if hang {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	if failure != nil {
		return nil, failure
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (a *answers) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// judged adds a guardrail from outside to the world's rollout.
func (w *world) judged(action string) {
	low := 0.8
	w.objects["chat"].Spec.Analysis.OnProviderError = cfv1a1.RolloutProviderError{Action: action}
	w.objects["chat"].Spec.Analysis.Guardrails = append(w.objects["chat"].Spec.Analysis.Guardrails, cfv1a1.RolloutGuardrail{
		Name: "judge", External: &cfv1a1.RolloutExternally{Min: &low, Webhook: &cfv1a1.RolloutWebhook{URL: "http://judge.test"}},
	})
	w.providers = []translate.Provider{{Guardrail: "judge", URL: "http://judge.test", Interval: 30 * time.Second, Timeout: 10 * time.Second}}
}

// Scenario 7: a provider is away for 20 minutes.
func TestProviderOutage(t *testing.T) {
	for action, want := range map[string]rollout.Phase{"Hold": rollout.Paused, "AbortOnStall": rollout.Aborting} {
		for _, how := range []string{"fails", "hangs"} {
			t.Run(action+how, func(t *testing.T) {
				story(t, func(w *world) {
					a := &answers{body: `{"value": 0.9}`}
					w.judged(action)
					defer w.run(a)()
					w.until(rollout.Analyzing, time.Minute)
					time.Sleep(time.Minute)
					a.set(func() { a.err, a.hang = &net.OpError{Op: "dial", Err: errors.New("refused")}, how == "hangs" })
					time.Sleep(14 * time.Minute)
					if s := w.status(); s.Shares.Set != 500 || w.has(Healthy).Reason != "ProviderError" || !w.progresses() {
						t.Errorf("%s at %d: %s", s.Phase, s.Shares.Set, s.Message)
					}
					w.until(want, 3*time.Minute)
					if s := w.state(); s.Phase == rollout.Paused && s.Pause.Reason != "ProviderStalled" || want == rollout.Aborting && s.Reason != "ProviderStalled" {
						t.Errorf("%s", w.status().Message)
					}
				})
			})
		}
	}
}

func (w *world) progresses() bool { return w.has(Progressing).Status == "True" }

// While a provider is away the gateways' own counts go on to be judged.
func TestProviderOutageHidesNoHarm(t *testing.T) {
	story(t, func(w *world) {
		a := &answers{err: errors.New("away")}
		w.judged("Hold")
		defer w.run(a)()
		w.until(rollout.Analyzing, time.Minute)
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		w.errors[0] = 0.5
		w.mu.Unlock()
		w.until(rollout.Aborted, time.Minute)
	})
}

// A value outside its bounds aborts; and a webhook is told what it is about.
func TestProviderJudges(t *testing.T) {
	story(t, func(w *world) {
		a := &answers{body: `{"value": 0.9}`}
		w.judged("Hold")
		defer w.run(a)()
		w.until(rollout.Analyzing, time.Minute)
		time.Sleep(time.Minute)
		a.set(func() { a.body = `{"value": 0.1}` })
		w.until(rollout.Aborted, time.Minute)
		var sent inquiry
		if err := json.Unmarshal([]byte(a.asked[len(a.asked)-1]), &sent); err != nil || sent != (inquiry{"llm/chat", "InferencePool llm/v1", "InferencePool llm/v2", 1, 5}) {
			t.Errorf("sent %+v, error %v", sent, err)
		}
		asked := len(a.asked)
		time.Sleep(time.Hour)
		if len(a.asked) != asked {
			t.Error("asked though no attempt is under way")
		}
	})
}

func TestAsk(t *testing.T) {
	vector := func(samples string) string {
		return `{"status":"success","data":{"resultType":"vector","result":[` + samples + `]}}`
	}
	for name, c := range map[string]struct {
		status int
		body   string
		want   float64
		err    string
	}{
		"scalar":    {200, `{"status":"success","data":{"resultType":"scalar","result":[1700000000.5,"1.25"]}}`, 1.25, ""},
		"vector":    {200, vector(`{"metric":{"a":"b"},"value":[1700000000,"3e-2"]}`), 0.03, ""},
		"empty":     {200, vector(``), 0, "a vector of 0 elements"},
		"two":       {200, vector(`{"value":[1,"1"]},{"value":[1,"2"]}`), 0, "a vector of 2 elements"},
		"histogram": {200, vector(`{"metric":{},"histogram":[1,{"count":"1"}]}`), 0, "is a histogram"},
		"no number": {200, vector(`{"value":[1,"SECRET"]}`), 0, "is no number"},
		"number":    {200, vector(`{"value":[1,1]}`), 0, "is no number"},
		"matrix":    {200, `{"status":"success","data":{"resultType":"matrix","result":[]}}`, 0, "is a matrix"},
		"string":    {200, `{"status":"success","data":{"resultType":"string","result":[1,"SECRET"]}}`, 0, "is a string"},
		"bad query": {400, `{"status":"error","errorType":"bad_data","error":"SECRET"}`, 0, "answered 400: the query failed (bad_data)"},
		"odd error": {422, `{"status":"error","errorType":"SECRET","error":"SECRET"}`, 0, "answered 422: the query failed"},
		"no JSON":   {200, `SECRET`, 0, "no Prometheus"},
		"503":       {503, `SECRET`, 0, "answered 503 Service Unavailable"},
		"redirect":  {302, `SECRET`, 0, "redirects are not followed"},
		"long":      {200, strings.Repeat(" ", maxAnswer+1), 0, "longer than 1 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			value, err := askServer(t, translate.Provider{Query: "up"}, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/prefix/api/v1/query" || r.FormValue("query") != "up" {
					t.Errorf("asked %s for %q", r.URL, r.FormValue("query"))
				}
				w.Header().Set("Location", "http://127.0.0.1:1/elsewhere")
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			check(t, value, err, c.want, c.err)
		})
	}
}

func TestAskWebhook(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
		want   float64
		err    string
	}{
		"value":   {200, `{"value": -1.5, "more": true}`, -1.5, ""},
		"zero":    {201, `{"value": 0}`, 0, ""},
		"none":    {200, `{}`, 0, "is not {"},
		"text":    {200, `{"value": "SECRET"}`, 0, "is not {"},
		"no JSON": {200, `SECRET`, 0, "is not {"},
		"500":     {500, `SECRET`, 0, "answered 500"},
	} {
		t.Run(name, func(t *testing.T) {
			value, err := askServer(t, translate.Provider{URL: "here"}, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(c.status)
				_, _ = io.WriteString(w, c.body)
			})
			check(t, value, err, c.want, c.err)
		})
	}
}

// What is no HTTP, and nobody at all.
func TestAskNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "SECRET\r\n\r\n")
			_ = c.Close()
		}
	}()
	a := newAsker(nil)
	defer a.close()
	p := translate.Provider{URL: "http://user:SECRET@" + l.Addr().String() + "/SECRET?key=SECRET", Timeout: 10 * time.Second}
	_, err = a.ask(t.Context(), p, question{})
	check(t, 0, err, 0, "ask "+l.Addr().String())
	_ = l.Close()
	_, err = a.ask(t.Context(), p, question{})
	check(t, 0, err, 0, "refused")
	p.URL = "http://user:SECRET@ bad"
	_, err = a.ask(t.Context(), p, question{})
	check(t, 0, err, 0, "its URL")
}

func askServer(t *testing.T, p translate.Provider, h http.HandlerFunc) (float64, error) {
	server := httptest.NewServer(h)
	defer server.Close()
	a := newAsker(nil)
	defer a.close()
	address := strings.Replace(server.URL, "http://", "http://user:SECRET@", 1)
	if p.URL != "" {
		p.URL = address + "/hook?token=SECRET"
	} else {
		p.Address = address + "/prefix"
	}
	p.Timeout = 30 * time.Second
	return a.ask(t.Context(), p, question{rollout: "n/r"})
}

func check(t *testing.T, value float64, err error, want float64, wantErr string) {
	t.Helper()
	if value != want || (err == nil) != (wantErr == "") || err != nil && !strings.Contains(err.Error(), wantErr) {
		t.Errorf("got %v, %v, want %v, %q", value, err, want, wantErr)
	}
	if err != nil && strings.Contains(err.Error(), "SECRET") {
		t.Errorf("the error tells what it must not: %v", err)
	}
}

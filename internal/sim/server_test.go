package sim

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs a server on loopback until the test ends and returns its URL.
func serve(t *testing.T, cfg Config, o Options) (*Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(cfg, o)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s, "http://" + ln.Addr().String()
}

func post(t *testing.T, ctx context.Context, url, body string, header ...string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return http.DefaultClient.Do(r)
}

const hello = `{"model":"m","messages":[{"role":"user","content":"Hi"}]%s}`

// slow is a server that would need minutes for any answer.
func slow(t *testing.T) (*Server, string) {
	return serve(t, Config{Model: "m"}, Options{Speed: 0.001})
}

// eventually polls for something another goroutine is about to do. It is no
// measure of time: the bound only ends a test that would hang.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestClientGoneLeavesTheEngine(t *testing.T) {
	for _, stream := range []string{"", `,"stream":true,"n":3`} {
		s, url := slow(t)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			resp, err := post(t, ctx, url+"/v1/chat/completions", fmt.Sprintf(hello, stream))
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			ended <- err
		}()
		eventually(t, "request in the engine", func() bool { return s.Stats().Running > 0 })
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("client saw %v", err)
		}
		eventually(t, "engine empty", func() bool { st := s.Stats(); return st.Running+st.Waiting == 0 && st.KVUsage == 0 })
	}
}

func TestHeadersLeaveBeforeTheFirstToken(t *testing.T) {
	s, url := slow(t)
	resp, err := post(t, t.Context(), url+"/v1/chat/completions", fmt.Sprintf(hello, `,"stream":true`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := resp.Header.Get("Content-Type"); got != "text/event-stream; charset=utf-8" || resp.Header.Get("Server") != "crossfade-sim" {
		t.Errorf("headers %v", resp.Header)
	}
	if s.Stats().OutputTokens != 0 {
		t.Error("there is a token already")
	}
}

func TestResetFault(t *testing.T) {
	_, url := serve(t, Config{Model: "m"}, Options{Speed: math.Inf(1)})
	_, err := post(t, t.Context(), url+"/v1/chat/completions", fmt.Sprintf(hello, ""), faultHeader, "reset")
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
		t.Errorf("client saw %v, want a reset", err)
	}
}

func TestBreakFault(t *testing.T) {
	s, url := serve(t, Config{Model: "m"}, Options{Speed: math.Inf(1)})
	for _, c := range []struct {
		after, frames int
	}{{0, 1}, {3, 4}, {5, 6}, {1000, 6}} {
		resp, err := post(t, t.Context(), url+"/v1/chat/completions", fmt.Sprintf(hello, `,"stream":true,"max_tokens":5`),
			faultHeader, fmt.Sprintf("break=%d", c.after))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err == nil {
			t.Errorf("after %d tokens: the stream ended as if it were whole", c.after)
		}
		if frames := strings.Count(string(body), "data: "); frames != c.frames {
			t.Errorf("after %d tokens: %d frames, want %d:\n%s", c.after, frames, c.frames, body)
		}
	}
	resp, err := post(t, t.Context(), url+"/v1/chat/completions", fmt.Sprintf(hello, ""), faultHeader, "break")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err == nil || len(body) == 0 || json.Valid(body) {
		t.Errorf("error %v, body %s", err, body)
	}
	eventually(t, "engine empty", func() bool { return s.Stats().Running == 0 })
}

func TestHangFault(t *testing.T) {
	s, url := serve(t, Config{Model: "m"}, Options{Speed: math.Inf(1)})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := post(t, ctx, url+"/v1/chat/completions", fmt.Sprintf(hello, ""), faultHeader, "hang")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("client saw %v", err)
	}
	if s.Stats().Steps != 0 {
		t.Error("a hanging request reached the engine")
	}
}

// ask answers one request without a network.
func ask(s *Server, path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

func TestLatencyFaults(t *testing.T) {
	// Four tokens: a step of 30 ms + 13 · 190 µs, and three of 30.01 ms and a bit.
	body := fmt.Sprintf(hello, `,"max_tokens":4`)
	for name, c := range map[string]struct {
		faults Faults
		want   time.Duration
	}{
		"none":    {Faults{}, 122505 * time.Microsecond},
		"TTFT":    {Faults{ExtraTTFTMs: 100}, 222505 * time.Microsecond},
		"ITL":     {Faults{ExtraITLMs: 10}, 162505 * time.Microsecond},
		"prefill": {Faults{PrefillMultiplier: 11}, 147211 * time.Microsecond},
		"decode":  {Faults{DecodeMultiplier: 2}, 242541 * time.Microsecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := New(Config{Model: "m"}, Options{})
			if err := s.SetFaults(c.faults); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if w := ask(s, "/v1/chat/completions", body); w.Code != 200 {
				t.Fatal(w.Body)
			}
			if got := time.Since(start).Truncate(time.Microsecond); got != c.want {
				t.Errorf("%s: took %v, want %v", name, got, c.want)
			}
			if sum := time.Duration(s.driver.meters.e2e.sum * 1e9).Truncate(time.Microsecond); sum != c.want {
				t.Errorf("%s: the metrics say %v, the client saw %v", name, sum, c.want)
			}
		})
	}
}

func TestFaultRatesRepeatWithTheSeed(t *testing.T) {
	run := func(seed uint64) string {
		s := New(Config{Model: "m"}, Options{Speed: math.Inf(1), Seed: seed})
		if err := s.SetFaults(Faults{FailRate: 0.3, EmptyRate: 0.2}); err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for range 200 {
			w := ask(s, "/v1/chat/completions", fmt.Sprintf(hello, ""))
			switch {
			case w.Code == 500:
				got.WriteByte('f')
			case strings.Contains(w.Body.String(), `"content":""`):
				got.WriteByte('e')
			default:
				got.WriteByte('.')
			}
		}
		return got.String()
	}
	first := run(1)
	if first != run(1) || first == run(2) {
		t.Error("the sequence of faults does not depend on the seed alone")
	}
	fails, empties := strings.Count(first, "f"), strings.Count(first, "e")
	if fails < 40 || fails > 80 || empties < 15 || empties > 45 {
		t.Errorf("of 200 requests %d failed and %d were empty, want about 60 and 28", fails, empties)
	}
}

func TestBodyLimit(t *testing.T) {
	s := New(Config{Model: "m"}, Options{Speed: math.Inf(1), MaxBody: 100})
	if w := ask(s, "/v1/chat/completions", fmt.Sprintf(hello, "")); w.Code != 200 {
		t.Errorf("a small body gets %d", w.Code)
	}
	w := ask(s, "/v1/chat/completions", fmt.Sprintf(hello, `,"user":"`+strings.Repeat("x", 100)+`"`))
	if w.Code != http.StatusRequestEntityTooLarge || !strings.Contains(w.Body.String(), "100 bytes") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

// TestManyAtOnce sends every kind of request from many goroutines; with the
// race detector it is a test of the locks, without it one of the counts.
func TestManyAtOnce(t *testing.T) {
	s := New(Config{Model: "m", EnableLoRA: true, Adapters: []Adapter{{Name: "a", Path: "/a"}}}, Options{Speed: math.Inf(1)})
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for j := range 8 {
				name := []string{"m", "a"}[j%2]
				body := fmt.Sprintf(`{"model":%q,"stream":%v,"messages":[{"role":"user","content":"%d"}]}`, name, i%2 == 0, i)
				w := ask(s, "/v1/chat/completions", body)
				if w.Code != 200 || i%2 == 0 && !strings.HasSuffix(w.Body.String(), "data: [DONE]\n\n") {
					t.Errorf("got %d %s", w.Code, w.Body)
				}
				if j == 0 {
					scrape(t, s)
				}
				if err := s.SetFaults(Faults{DecodeMultiplier: float64(1 + j)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	families := scrape(t, s)
	if got := families["vllm:request_success_total"].GetMetric()[0].GetCounter().GetValue(); got != 256 {
		t.Errorf("%v requests counted, want 256", got)
	}
}

func scrape(t *testing.T, s *Server) map[string]*dto.MetricFamily {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(w.Body.Bytes()))
	if err != nil {
		t.Fatalf("metrics cannot be parsed: %v", err)
	}
	return families
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Model: "/models/m", ServedNames: []string{"m"}, EnableLoRA: true, Adapters: []Adapter{{Name: "a", Path: "/a"}}}
		s := New(cfg, Options{})
		if got := scrape(t, s)["vllm:lora_requests_info"]; got != nil {
			t.Errorf("lora_requests_info before any adapter was used: %v", got)
		}
		ask(s, "/v1/chat/completions", fmt.Sprintf(hello, `,"max_tokens":3`))
		ask(s, "/v1/chat/completions", `{"model":"a","messages":[{"role":"user","content":"Hi"}]}`)
		families := scrape(t, s)
		one := func(name string) *dto.Metric {
			f := families[name]
			if f == nil {
				t.Fatalf("no metric %s", name)
			}
			return f.GetMetric()[0]
		}
		for name, want := range map[string]float64{
			"vllm:num_requests_running": 0, "vllm:num_requests_waiting": 0, "vllm:kv_cache_usage_perc": 0,
			"vllm:cache_config_info": 1, "crossfade_sim_info": 1,
		} {
			if got := one(name).GetGauge().GetValue(); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		for name, want := range map[string]float64{
			"vllm:prompt_tokens_total": 26, "vllm:prefix_cache_queries_total": 26, "vllm:prefix_cache_hits_total": 0,
			"vllm:num_preemptions_total": 0,
		} {
			if got := one(name).GetCounter().GetValue(); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
		for _, name := range []string{"vllm:time_to_first_token_seconds", "vllm:e2e_request_latency_seconds"} {
			if got := one(name).GetHistogram().GetSampleCount(); got != 2 {
				t.Errorf("%s has %d samples, want 2", name, got)
			}
		}
		if got := labels(one("vllm:num_requests_running")); got != "model_name=m engine=0" {
			t.Errorf("labels %s", got)
		}
		info := labels(one("vllm:cache_config_info"))
		if !strings.Contains(info, "block_size=16 ") || !strings.Contains(info, "num_gpu_blocks=5000") {
			t.Errorf("cache_config_info has %s", info)
		}
		var series []string
		for _, m := range families["vllm:lora_requests_info"].GetMetric() {
			series = append(series, fmt.Sprintf("%s @%d", labels(m), int(m.GetGauge().GetValue())-946684800))
		}
		// The state that has ended stays as a series of its own.
		if got := strings.Join(series, "; "); got != "max_lora=1 running_lora_adapters=a waiting_lora_adapters= @1; "+
			"max_lora=1 running_lora_adapters= waiting_lora_adapters= @1" {
			t.Errorf("lora_requests_info: %s", got)
		}
	})
}

func labels(m *dto.Metric) string {
	var out []string
	for _, l := range m.GetLabel() {
		out = append(out, l.GetName()+"="+l.GetValue())
	}
	return strings.Join(out, " ")
}

func TestMetricsWhileRunning(t *testing.T) {
	s, url := serve(t, Config{Model: "m", Limits: Limits{MaxNumSeqs: 1}}, Options{Speed: 0.001})
	for range 2 {
		resp, err := post(t, t.Context(), url+"/v1/chat/completions", fmt.Sprintf(hello, `,"stream":true`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
	}
	families := scrape(t, s)
	running := families["vllm:num_requests_running"].GetMetric()[0].GetGauge().GetValue()
	waiting := families["vllm:num_requests_waiting"].GetMetric()[0].GetGauge().GetValue()
	usage := families["vllm:kv_cache_usage_perc"].GetMetric()[0].GetGauge().GetValue()
	if running != 1 || waiting != 1 || usage != 1.0/5000 {
		t.Errorf("%v running, %v waiting, KV %v; want 1, 1 and one block of 5000", running, waiting, usage)
	}
}

func TestServeLetsRequestsFinish(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Config{Model: "m"}, Options{Speed: 20})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, ln) }()
	resp, err := post(t, t.Context(), "http://"+ln.Addr().String()+"/v1/chat/completions", fmt.Sprintf(hello, `,"stream":true`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	stop()
	var last string
	for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
		if scan.Text() != "" {
			last = scan.Text()
		}
	}
	if last != "data: [DONE]" {
		t.Errorf("the stream ended with %q", last)
	}
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestBanner(t *testing.T) {
	s := New(Config{Model: "/models/m", ServedNames: []string{"mymodel"}}, Options{Speed: 10})
	got := s.Banner("127.0.0.1:8000")
	for _, want := range []string{"SIMULATED", "/models/m", "http://127.0.0.1:8000", "10x", "curl "} {
		if !strings.Contains(got, want) {
			t.Errorf("banner lacks %q:\n%s", want, got)
		}
	}
}

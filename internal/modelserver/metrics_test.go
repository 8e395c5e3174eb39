package modelserver

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"

	"crossfade.dev/internal/scheduling"
	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

func readTestdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestParseMetrics(t *testing.T) {
	for file, want := range map[string]scheduling.Metrics{
		"vllm.txt": {
			Waiting: 3, Running: 12, KVUsage: 0.4375, BlockSize: 16, Blocks: 27862, MaxAdapters: 4,
			ActiveAdapters: []string{"travel-helper-v1", "sql"}, WaitAdapters: []string{"poem"},
		},
		"vllm-dp.txt": {Waiting: 2, Running: 12, KVUsage: 0.3, BlockSize: 32, Blocks: 2000},
		"sglang.txt":  {Waiting: 4, Running: 21, KVUsage: 0.28, BlockSize: 1, Blocks: 442000},
		"trtllm.txt":  {Waiting: 1, Running: 9, KVUsage: 0.75, BlockSize: 32, Blocks: 9000},
		"triton.txt":  {Waiting: 2, Running: 6, KVUsage: 0.125, BlockSize: 64, Blocks: 6204},
	} {
		t.Run(file, func(t *testing.T) {
			got, ok := parseMetrics(readTestdata(t, file))
			got.KVUsage = math.Round(got.KVUsage*1e6) / 1e6
			if diff := cmp.Diff(want, got); !ok || diff != "" {
				t.Errorf("known %v (-want +got)\n%s", ok, diff)
			}
		})
	}
}

func TestParseMetricsDetails(t *testing.T) {
	const base = "vllm:num_requests_running 1\n"
	for name, c := range map[string]struct {
		text  string
		known bool
		want  scheduling.Metrics
	}{
		"nothing":               {"", false, scheduling.Metrics{}},
		"another program":       {"process_open_fds 12\n", false, scheduling.Metrics{}},
		"only an info":          {`vllm:cache_config_info{block_size="16"} 1`, false, scheduling.Metrics{}},
		"no newline at the end": {"vllm:num_requests_running 4", true, scheduling.Metrics{Running: 4}},
		"carriage returns":      {"vllm:num_requests_running 4\r\n", true, scheduling.Metrics{Running: 4}},
		"timestamp":             {"vllm:num_requests_running{a=\"b\"} 4 1785520523000\n", true, scheduling.Metrics{Running: 4}},
		"spaced list": {
			base + `vllm:lora_requests_info{max_lora="2",running_lora_adapters="a, b , ",waiting_lora_adapters=""} 5`, true,
			scheduling.Metrics{Running: 1, MaxAdapters: 2, ActiveAdapters: []string{"a", "b"}},
		},
		"braces, commas and quotes in a label": {
			base + `vllm:lora_requests_info{odd="}\",{max_lora=\"9\"",max_lora="2",running_lora_adapters="a\\b"} 5`, true,
			scheduling.Metrics{Running: 1, MaxAdapters: 2, ActiveAdapters: []string{`a\b`}},
		},
		"nonsense values": {
			"vllm:num_requests_running NaN\nvllm:num_requests_waiting -3\nvllm:kv_cache_usage_perc +Inf\n", true,
			scheduling.Metrics{KVUsage: 1},
		},
		"cut off in labels": {base + `vllm:num_requests_waiting{engine="0`, true, scheduling.Metrics{Running: 1}},
		"a name that only begins alike": {
			base + "vllm:num_requests_running_peak 70\n", true, scheduling.Metrics{Running: 1},
		},
		"new name of KV usage before the old one": {
			base + "vllm:gpu_cache_usage_perc 0.9\nvllm:kv_cache_usage_perc 0.5\n", true, scheduling.Metrics{Running: 1, KVUsage: 0.5},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, ok := parseMetrics([]byte(c.text))
			if diff := cmp.Diff(c.want, got); ok != c.known || diff != "" {
				t.Errorf("known %v, want %v (-want +got)\n%s", ok, c.known, diff)
			}
		})
	}
}

// FuzzParseMetrics checks that nothing a server says leads to numbers that
// cannot be calculated with, and that samples are read as Prometheus' own parser
// reads them, where that accepts the text.
func FuzzParseMetrics(f *testing.F) {
	for _, file := range []string{"vllm.txt", "vllm-dp.txt", "sglang.txt", "trtllm.txt", "triton.txt"} {
		f.Add(readTestdata(f, file))
	}
	f.Add([]byte("vllm:num_requests_running{a=\"\\\"}\",b=\"\\n\\\\\"} 1e3 17\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, ok := parseMetrics(text)
		if m.Waiting < 0 || m.Running < 0 || m.Blocks < 0 || m.BlockSize < 0 || m.MaxAdapters < 0 || !(m.KVUsage >= 0 && m.KVUsage <= 1) {
			t.Fatalf("impossible metrics %+v", m)
		}
		for _, name := range append(m.ActiveAdapters, m.WaitAdapters...) {
			if name == "" || name != strings.TrimSpace(name) || strings.Contains(name, ",") {
				t.Fatalf("adapter called %q", name)
			}
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
		if err != nil {
			return
		}
		for line := range bytes.Lines(text) {
			compareSample(t, bytes.TrimRight(line, "\n"), families)
		}
		if f := families["vllm:num_requests_running"]; f != nil && len(f.Metric) > 0 && plain(f, text) && !ok {
			t.Fatal("vLLM's requests were not found")
		}
	})
}

// compareSample checks that a sample we find is one that Prometheus finds.
func compareSample(t *testing.T, line []byte, families map[string]*dto.MetricFamily) {
	if bytes.Contains(line, []byte(`{"`)) {
		return // a name in quotes, as UTF-8 names are written; no engine does
	}
	s := splitSample(line)
	v := s.value()
	if math.IsNaN(v) {
		return
	}
	f := families[string(s.name)]
	if f == nil || f.GetType() == dto.MetricType_HISTOGRAM || f.GetType() == dto.MetricType_SUMMARY {
		return
	}
	for _, m := range f.Metric {
		if sameLabels(&s, m) && sameValue(v, m) {
			return
		}
	}
	t.Fatalf("sample %q %q is not in\n%v", s.name, s.rest, f)
}

func sameLabels(s *sample, m *dto.Metric) bool {
	for _, l := range m.Label {
		if s.label(l.GetName()) != l.GetValue() {
			return false
		}
	}
	return true
}

func sameValue(v float64, m *dto.Metric) bool {
	return v == m.GetUntyped().GetValue()+m.GetGauge().GetValue()+m.GetCounter().GetValue()
}

// plain reports whether the family's samples begin their lines.
func plain(f *dto.MetricFamily, text []byte) bool {
	return bytes.HasPrefix(text, []byte(f.GetName())) || bytes.Contains(text, []byte("\n"+f.GetName()))
}

func TestParseModels(t *testing.T) {
	names, adapters, err := parseModels(readTestdata(t, "models-vllm.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"Qwen/Qwen2.5-7B-Instruct", "travel-helper-v1"}, names); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"travel-helper-v1"}, adapters); diff != "" {
		t.Error(diff)
	}
	none, _, err := parseModels([]byte(`{"object":"list","data":[]}`))
	if err != nil || none == nil || len(none) != 0 {
		t.Errorf("an empty list gives %#v, %v; want no names, but known", none, err)
	}
	twice, _, err := parseModels([]byte(`{"data":[{"id":"b"},{"id":"a"},{"id":"b"},{"id":""},{"id":"` + strings.Repeat("x", 2000) + `"}]}`))
	if diff := cmp.Diff([]string{"a", "b"}, twice); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, bad := range []string{"", "null", "{}", "[]", `{"data":null}`, `{"data":{}}`, `{"data":[{"id":1}]}`, `{"data":[]`} {
		if _, _, err := parseModels([]byte(bad)); err == nil {
			t.Errorf("%q passes as a list of models", bad)
		}
	}
}

func BenchmarkParseMetrics(b *testing.B) {
	text := vllmSized(readTestdata(b, "vllm.txt"))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := parseMetrics(text); !ok {
			b.Fatal("not known")
		}
	}
}

// vllmSized adds the histograms that make up most of a real server's 100 KB.
func vllmSized(text []byte) []byte {
	const line = `vllm:e2e_request_latency_seconds_bucket{engine="0",le="0.5",model_name="Qwen/Qwen2.5-7B-Instruct"} 104.0` + "\n"
	return append(text, bytes.Repeat([]byte(line), 100<<10/len(line))...)
}

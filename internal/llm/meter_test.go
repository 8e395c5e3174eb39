package llm

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// instant returns a fixed time some milliseconds into the tests' day.
func instant(ms int) time.Time {
	return time.Date(2026, 9, 1, 0, 0, 0, ms*int(time.Millisecond), time.UTC)
}

func sample(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mediaType returns the Content-Type of a sample.
func mediaType(name string) string {
	if strings.HasSuffix(name, ".sse") {
		return "text/event-stream; charset=utf-8"
	}
	return "application/json"
}

// TestMeterSamples reads responses in every API's words, cut at every byte.
func TestMeterSamples(t *testing.T) {
	at := instant(5)
	for _, c := range []struct {
		name string
		want Report
	}{
		{"chat.sse", Report{
			Usage: Usage{PromptTokens: 31, CompletionTokens: 3, CachedTokens: 16, Known: true},
			Model: "travel-helper-v1", FinishReason: "stop", Tokens: 3,
			Events: 6, ContentEvents: 2, Gaps: Gaps{Count: 1}, Done: true}},
		{"tools.sse", Report{
			Model: "qwen", FinishReason: "tool_calls", Tokens: 3,
			Events: 6, ContentEvents: 3, Gaps: Gaps{Count: 2}, Done: true}},
		{"completions.sse", Report{
			Usage: Usage{PromptTokens: 4, CompletionTokens: 2, Known: true},
			Model: "qwen", FinishReason: "length", Tokens: 2,
			Events: 4, ContentEvents: 2, Gaps: Gaps{Count: 1}, Done: true}},
		{"responses.sse", Report{
			Usage: Usage{PromptTokens: 20, CompletionTokens: 2, CachedTokens: 16, Known: true},
			Model: "qwen", FinishReason: "completed", Tokens: 2,
			Events: 6, ContentEvents: 2, Gaps: Gaps{Count: 1}, Done: true}},
		{"messages.sse", Report{
			Usage: Usage{PromptTokens: 412, CompletionTokens: 5, CachedTokens: 300, Known: true},
			Model: "qwen", FinishReason: "end_turn", Tokens: 5,
			Events: 8, ContentEvents: 2, Gaps: Gaps{Count: 1}, Done: true}},
		{"failing.sse", Report{
			Model: "qwen", Tokens: 1, Events: 2, ContentEvents: 1, Failed: true}},
		{"chat.json", Report{
			Usage: Usage{PromptTokens: 31, CompletionTokens: 10, Known: true},
			Model: "Qwen-2.5-7B-Instruct", FinishReason: "stop", Tokens: 10, Done: true}},
		{"embeddings.json", Report{
			Usage: Usage{PromptTokens: 8, Known: true}, Model: "bge", Done: true}},
		{"response.json", Report{
			Usage: Usage{PromptTokens: 20, CompletionTokens: 2, CachedTokens: 16, Known: true},
			Model: "qwen", FinishReason: "incomplete", Tokens: 2, Done: true}},
		{"message.json", Report{
			Usage: Usage{PromptTokens: 312, CompletionTokens: 5, CachedTokens: 300, Known: true},
			Model: "qwen", FinishReason: "max_tokens", Tokens: 5, Done: true}},
		{"error.json", Report{Done: true, Failed: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := sample(t, c.name)
			c.want.FirstToken, c.want.LastToken = at, at
			var m Meter
			for i := range len(body) + 1 {
				m.Reset(mediaType(c.name))
				m.Observe(body[:i], at)
				m.Observe(body[i:], at)
				if diff := cmp.Diff(c.want, m.Result()); diff != "" {
					t.Fatalf("cut at %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestMeterTimes(t *testing.T) {
	events := strings.SplitAfter(string(sample(t, "chat.sse")), "\n\n")
	var gaps []time.Duration
	m := Meter{GapObserver: func(gap time.Duration) { gaps = append(gaps, gap) }}
	m.Reset("text/event-stream")
	for i, e := range events[:3] { // the role, a token, a comment
		m.Observe([]byte(e), instant(10*i))
	}
	// A token counts when the client can read it: at the end of its event.
	m.Observe([]byte(events[3][:40]), instant(30))
	if !m.Result().LastToken.Equal(instant(10)) {
		t.Errorf("half an event moved the last token to %v", m.Result().LastToken)
	}
	m.Observe([]byte(events[3][40:]), instant(45))
	m.Observe([]byte(events[1]+events[1]), instant(60))
	m.Observe([]byte(strings.Join(events[4:], "")), instant(90))
	r := m.Result()
	if !r.FirstToken.Equal(instant(10)) || !r.LastToken.Equal(instant(60)) {
		t.Errorf("first %v, last %v", r.FirstToken, r.LastToken)
	}
	ms := time.Millisecond
	if diff := cmp.Diff([]time.Duration{35 * ms, 15 * ms, 0}, gaps); diff != "" {
		t.Error(diff)
	}
	if want := (Gaps{Count: 3, Sum: 50 * ms, Max: 35 * ms}); r.Gaps != want {
		t.Errorf("gaps %+v, want %+v", r.Gaps, want)
	}
	if got, none := r.Gaps.Mean(), (Gaps{}).Mean(); got != 50*ms/3 || none != 0 {
		t.Errorf("mean %v, of none %v", got, none)
	}
}

func TestMeterJSONTimes(t *testing.T) {
	body := sample(t, "chat.json")
	var m Meter
	m.Reset("application/json")
	m.Observe(nil, instant(1))
	m.Observe(body[:1], instant(2))
	m.Observe(body[1:], instant(3))
	if r := m.Result(); !r.FirstToken.Equal(instant(2)) || !r.LastToken.Equal(instant(3)) || r.Gaps.Count != 0 {
		t.Errorf("%+v", r)
	}
}

// TestMeterTolerates feeds it what is not what it seems.
func TestMeterTolerates(t *testing.T) {
	for _, c := range []struct {
		name, contentType, body string
		want                    Report
	}{
		{"nothing", "text/event-stream", "", Report{}},
		{"plain text", "text/plain", "hello", Report{}},
		{"JSON sent as a stream", "text/event-stream", `{"model":"a","usage":{"prompt_tokens":1}}`, Report{}},
		{"stream sent as JSON", "application/json", "data: {\"model\":\"a\"}\n\n", Report{}},
		{"two events, one broken", "Text/Event-Stream", "data: {\"model\":\"a\",]\n\ndata: {\"choices\":[{\"text\":\"x\"}]}\n\n",
			Report{Model: "a", Events: 2, ContentEvents: 1, Tokens: 1}},
		{"almost done", "text/event-stream", "data: [DONE\n\ndata: [DONE]]\n\ndata: x[DONE]\n\ndata: [DONE]\ndata:\n\n",
			Report{Events: 4}},
		{"usage of odd types", "application/json", `{"usage":{"prompt_tokens":"3","completion_tokens":-1,"input_tokens":1.5,"cached_tokens":9}}`,
			Report{Done: true}},
		{"usage in the wrong place", "application/json", `{"a":{"usage":{"prompt_tokens":3}},"usage":[{"prompt_tokens":3}],"prompt_tokens":3,"usage":{"x":{"prompt_tokens":3}}}`,
			Report{Done: true}},
		{"cached in the wrong place", "application/json", `{"usage":{"completion_tokens_details":{"cached_tokens":3},"prompt_tokens_details":{"x":{"cached_tokens":3}}}}`,
			Report{Done: true}},
		{"both names", "application/json", `{"usage":{"input_tokens":100,"prompt_tokens":100,"cache_read_input_tokens":50,"cache_creation_input_tokens":9}}`,
			Report{Usage: Usage{PromptTokens: 100, Known: true}, Done: true}},
		{"nested model first", "application/json", `{"a":{"model":"a"},"model":"b","b":{"model":"c"}}`, Report{Model: "b", Done: true}},
		{"choices of odd shape", "text/event-stream", `data: {"choices":[{"text":""},["x"],"y",{"text":["z"],"index":"0"}]}` + "\n\n", Report{Events: 1}},
		{"a string after a delta", "text/event-stream", "data: {\"delta\":1}\n\ndata: \"x\"\n\n", Report{Events: 2}},
		{"both dialects", "application/json", `{"usage":{"prompt_tokens":100,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":50},"cache_read_input_tokens":50}}`,
			Report{Usage: Usage{PromptTokens: 100, CompletionTokens: 1, CachedTokens: 50, Known: true}, Tokens: 1, Done: true}},
		{"name too long", "application/json", `{"model":"` + strings.Repeat("a", MaxModelLength+1) + `"}`, Report{Done: true}},
		{"reason too long", "application/json", `{"choices":[{"finish_reason":"` + strings.Repeat("a", 65) + `"}]}`, Report{Done: true, Quality: Quality{Empty: true}}},
		{"error as text", "application/json", `{"error":"no"}`, Report{Done: true, Failed: true}},
		{"no error", "application/json", `{"error":null}`, Report{Done: true}},
		{"nested error", "application/json", `{"a":{"error":{}}}`, Report{Done: true}},
		{"stop sequence", "text/event-stream", `data: {"delta":{"stop_reason":"stop_sequence","stop_sequence":"END"}}` + "\n\n",
			Report{FinishReason: "stop_sequence", Events: 1}},
		{"signature", "text/event-stream", `data: {"delta":{"type":"signature_delta","signature":"x"}}` + "\n\n", Report{Events: 1}},
		{"deep content", "text/event-stream", `data: {"choices":[{"delta":{"role":"","a":{"b":[[[{"c":[["x"]]}]]]}}}]}` + "\n\n",
			Report{Events: 1, ContentEvents: 1, Tokens: 1}},
		{"long keys", "application/json", `{"` + strings.Repeat("usage", 10) + `":{"prompt_tokens":1}}`, Report{Done: true}},
		{"all reasons", "application/json", `{"choices":[{"finish_reason":"content_filter"},{"finish_reason":"abort"}]}`,
			Report{FinishReason: "abort", Done: true, Quality: Quality{Empty: true}}},
		{"failed response", "text/event-stream", `data: {"type":"response.failed","response":{"status":"failed","error":{"code":"x"}}}` + "\n\n",
			Report{FinishReason: "failed", Events: 1, Done: true, Failed: true}},
		{"event cut off", "text/event-stream", `data: {"choices":[{"delta":{"content":"x"}}]}` + "\n", Report{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var m Meter
			m.Reset(c.contentType)
			for _, p := range cut([]byte(c.body), 0) {
				m.Observe(p, instant(0))
			}
			got := m.Result()
			got.FirstToken, got.LastToken = time.Time{}, time.Time{}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestMeterBoundary(t *testing.T) {
	var m Meter
	m.Reset("text/event-stream")
	for _, c := range []struct {
		piece string
		want  bool
	}{{"", true}, {"data: x", false}, {"\n", false}, {"\n", true}, {":", false}, {"\n\n", true}} {
		m.Observe([]byte(c.piece), instant(0))
		if m.AtBoundary() != c.want {
			t.Errorf("after %q: %v", c.piece, !c.want)
		}
	}
	m.Reset("application/json")
	if m.AtBoundary() {
		t.Error("a JSON body has no boundary")
	}
}

// TestMeterReset requires that nothing of one response reaches the next.
func TestMeterReset(t *testing.T) {
	var m Meter
	for _, name := range []string{"chat.sse", "responses.sse", "chat.json", "failing.sse"} {
		m.Reset(mediaType(name))
		m.Observe(sample(t, name), instant(1))
		m.Observe([]byte("data: {\"choices\":[{\"delta\":\"cut"), instant(1))
		m.Reset("text/event-stream")
		if diff := cmp.Diff(Report{}, m.Result()); diff != "" {
			t.Errorf("after %s:\n%s", name, diff)
		}
		m.Observe([]byte("data: {\"model\":\"b\"}\n\n"), instant(2))
		if got := m.Result(); got.Model != "b" || got.Events != 1 {
			t.Errorf("after %s: %+v", name, got)
		}
	}
}

func TestMeterAllocations(t *testing.T) {
	body := sample(t, "chat.sse")
	var m Meter
	run := func() {
		m.Reset("text/event-stream")
		for i := 0; i < len(body); i += 100 {
			m.Observe(body[i:min(i+100, len(body))], instant(0))
		}
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzMeter requires the same report however a body is cut, and that its
// numbers fit together.
func FuzzMeter(f *testing.F) {
	for _, name := range []string{"chat.sse", "tools.sse", "responses.sse", "messages.sse", "failing.sse", "chat.json", "response.json"} {
		f.Add(sample(f, name), uint64(1), strings.HasSuffix(name, ".sse"))
	}
	for _, body := range []string{
		stream(saying(1, `{"a":[`), calling(0, 0, "get_weather", "{"), saying(1, "1]}"), calling(0, 0, "", "}")),
		`{"choices":[{"index":5,"message":{"content":"{}"}}],"output":[{"content":[{"text":"{\"a\":\u00e9}","type":"output_text"}]},{"name":"x","arguments":"{}","type":"function_call"}]}`,
		`{"choices":{"a":{"delta":{"tool_calls":{"x":{"index":3,"function":{"name":"get_weather","arguments":"{"}}}}}},"content":[{"text":" "},{"type":"tool_use"}]}`,
	} {
		f.Add([]byte(body), uint64(2), strings.HasPrefix(body, "data:"))
	}
	request, err := Scan([]byte(asksBoth))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, seed uint64, stream bool) {
		contentType := "application/json"
		if stream {
			contentType = "text/event-stream"
		}
		var m Meter
		m.Reset(contentType)
		m.Expect(&request)
		m.Observe(body, instant(0))
		want := m.Result()
		for _, s := range []uint64{0, seed, seed + 1} {
			m.Reset(contentType)
			m.Expect(&request)
			for _, p := range cut(body, s) {
				m.Observe(p, instant(0))
			}
			if got := m.Result(); got != want {
				t.Fatalf("whole: %+v\n  cut: %+v", want, got)
			}
		}
		events := 0
		if stream {
			events = len(slowEvents(string(body)))
		}
		if want.Events != events || want.ContentEvents > want.Events || want.Gaps.Count != max(0, want.ContentEvents-1) ||
			stream && want.FirstToken.IsZero() != (want.ContentEvents == 0) || len(want.Model) > MaxModelLength ||
			want.InvalidToolCalls > want.ToolCalls || want.InvalidJSON && !want.WantedJSON {
			t.Fatalf("%+v", want)
		}
	})
}

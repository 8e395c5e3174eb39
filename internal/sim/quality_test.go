package sim

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/llm"
)

// judged asks a server and returns what a gateway's meter thinks of the answer.
func judged(t *testing.T, s *Server, path, fault, body string) llm.Report {
	t.Helper()
	request, err := llm.Scan([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if fault != "" {
		r.Header.Set(faultHeader, fault)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("%s %s: %d %s", path, body, w.Code, w.Body)
	}
	var m llm.Meter
	m.Reset(w.Header().Get("Content-Type"))
	m.Expect(&request)
	m.Observe(w.Body.Bytes(), time.Now())
	return m.Result()
}

// TestQualityAsMeasured holds what the simulator means to do against what a gateway
// sees of it, streamed and whole, in every API.
func TestQualityAsMeasured(t *testing.T) {
	const (
		chat      = `"messages":[{"role":"user","content":"What is \"gray\" release %d?"}]`
		text      = `"prompt":"What is \"gray\" release %d?","max_tokens":2000`
		input     = `"input":"What is \"gray\" release %d?"`
		json      = `,"response_format":{"type":"json_schema","json_schema":{}}`
		jsonText  = `,"text":{"format":{"type":"json_object"}}`
		tools     = `,"tool_choice":"required","tools":[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`
		flatTools = `,"tool_choice":"required","tools":[{"type":"function","name":"get_weather","parameters":{}}]`
	)
	good := llm.Quality{}
	for _, c := range []struct {
		path, body, fault string
		want              llm.Quality
	}{
		{"/v1/chat/completions", chat, "", good},
		{"/v1/completions", text, "", good},
		{"/v1/responses", input, "", good},
		{"/v1/chat/completions", chat + `,"n":3`, "", good},
		{"/v1/chat/completions", chat, "overlong", good},
		{"/v1/chat/completions", chat, "invalid-tool-call", good}, // there are no tools

		{"/v1/chat/completions", chat, "empty", llm.Quality{Empty: true}},
		{"/v1/completions", text, "empty", llm.Quality{Empty: true}},
		{"/v1/responses", input, "empty", llm.Quality{Empty: true}},

		{"/v1/chat/completions", chat, "loop", llm.Quality{Looping: true}},
		{"/v1/completions", text, "loop", llm.Quality{Looping: true}},
		{"/v1/responses", input, "loop", llm.Quality{Looping: true}},

		{"/v1/chat/completions", chat + json, "", llm.Quality{WantedJSON: true}},
		{"/v1/completions", text + json, "", llm.Quality{WantedJSON: true}},
		{"/v1/responses", input + jsonText, "", llm.Quality{WantedJSON: true}},
		{"/v1/chat/completions", chat + json, "overlong", llm.Quality{WantedJSON: true}},
		{"/v1/chat/completions", chat + json, "invalid-json", llm.Quality{WantedJSON: true, InvalidJSON: true}},
		{"/v1/completions", text + json, "invalid-json", llm.Quality{WantedJSON: true, InvalidJSON: true}},
		{"/v1/responses", input + jsonText, "invalid-json", llm.Quality{WantedJSON: true, InvalidJSON: true}},
		{"/v1/chat/completions", chat + json + `,"max_tokens":5`, "", llm.Quality{WantedJSON: true, InvalidJSON: true}},

		{"/v1/chat/completions", chat + tools, "", llm.Quality{ToolCalls: 1}},
		{"/v1/chat/completions", chat + tools + `,"n":2`, "", llm.Quality{ToolCalls: 2}},
		{"/v1/responses", input + flatTools, "", llm.Quality{ToolCalls: 1}},
		{"/v1/chat/completions", chat + tools, "invalid-tool-call", llm.Quality{ToolCalls: 1, InvalidToolCalls: 1}},
		{"/v1/responses", input + flatTools, "invalid-tool-call", llm.Quality{ToolCalls: 1, InvalidToolCalls: 1}},
		{"/v1/chat/completions", chat + tools + json, "", llm.Quality{ToolCalls: 1}},
	} {
		for _, streamed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s %s%s streamed=%v", c.path, c.fault, c.body, streamed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := New(Config{Model: "m"}, Options{Seed: 1})
					for i := range 6 { // different questions: both ways in which a call is bad
						body := fmt.Sprintf(`{"model":"m","stream":%v,`+c.body+`}`, streamed, i)
						if got := judged(t, s, c.path, c.fault, body); got.Quality != c.want || !got.Done {
							t.Fatalf("question %d: %+v", i, got)
						}
					}
				})
			})
		}
	}
}

// A model that may choose calls tools now and then, and not when a tool has answered.
func TestToolsByChoice(t *testing.T) {
	u := toolUse{tools: []tool{{Name: "a"}, {Name: "b"}}}
	called := map[string]int{}
	for hash := range uint64(4000) {
		if tool := u.pick(hash, qualityGood); tool != nil {
			called[tool.Name]++
		}
	}
	if called["a"]+called["b"] != 1000 || called["a"] < 300 || called["b"] < 300 {
		t.Errorf("called %v of 4000 times", called)
	}
	u.answered = true
	if tool := u.pick(0, qualityGood); tool != nil {
		t.Errorf("called %v after a tool's answer", tool)
	}
	u.choice.word = "none"
	if tool := u.pick(0, qualityInvalidToolCall); tool != nil {
		t.Errorf("called %v though no tool may be called", tool)
	}
}

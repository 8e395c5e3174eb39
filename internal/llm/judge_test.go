package llm

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stream returns the events of a stream with a closing mark.
func stream(data ...string) string {
	return "data: " + strings.Join(data, "\n\ndata: ") + "\n\ndata: [DONE]\n\n"
}

// saying returns a chat chunk in which a choice says text.
func saying(choice int, text string) string {
	quoted, _ := json.Marshal(text) // a string always marshals
	return `{"choices":[{"index":` + strconv.Itoa(choice) + `,"delta":{"content":` + string(quoted) + `}}]}`
}

// calling returns a chat chunk with a piece of a tool call.
func calling(choice, call int, name, arguments string) string {
	quoted, _ := json.Marshal(arguments)
	named := ""
	if name != "" {
		named = `"id":"call","type":"function",`
		name = `"name":"` + name + `",`
	}
	return `{"choices":[{"index":` + strconv.Itoa(choice) + `,"delta":{"tool_calls":[{"index":` + strconv.Itoa(call) + `,` + named +
		`"function":{` + name + `"arguments":` + string(quoted) + `}}]}}]}`
}

const (
	asksJSON  = `{"model":"m","response_format":{"type":"json_object"}}`
	asksTools = `{"model":"m","tools":[{"type":"function","function":{"name":"get_weather"}},{"type":"function","name":"get_time"}]}`
	asksBoth  = `{"model":"m","response_format":{"type":"json_object"},"tools":[{"function":{"name":"get_weather"}}]}`
	asksText  = `{"model":"m"}`
)

// TestQuality judges answers, each cut at every byte.
func TestQuality(t *testing.T) {
	ok := func(n int) Quality { return Quality{ToolCalls: n} }
	bad := func(n, of int) Quality { return Quality{ToolCalls: of, InvalidToolCalls: n} }
	var (
		good    = Quality{}
		empty   = Quality{Empty: true}
		json    = Quality{WantedJSON: true}
		broken  = Quality{WantedJSON: true, InvalidJSON: true}
		nothing = Quality{Empty: true, WantedJSON: true, InvalidJSON: true}
	)
	for _, c := range []struct {
		name, request, body string
		want                Quality
	}{
		{"text", asksText, stream(saying(0, "Hi")), good},
		{"only a role", asksText, stream(`{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}`), empty},
		{"white space", asksText, stream(saying(0, " \n"), saying(0, "\t")), empty},
		{"white space, then text", asksText, stream(saying(0, " \n"), saying(0, "x")), good},
		{"one of two is empty", asksText, stream(saying(0, "x"), saying(1, " ")), empty},
		{"reasoning alone", asksText, stream(`{"choices":[{"index":0,"delta":{"reasoning_content":"Hm."}}]}`), empty},
		{"a field of an engine's own", asksText, stream(`{"choices":[{"index":0,"delta":{"audio":{"transcript":"Hi"}}}]}`), good},
		{"refusal", asksJSON, stream(`{"choices":[{"index":0,"delta":{"refusal":"No."}}]}`), good},
		{"cut off", asksJSON, "data: " + saying(0, "Hi") + "\n\n", good},
		{"a number for text", asksText, stream(`{"choices":[{"index":0,"delta":{"content":5,"role":"assistant"}}]}`), empty},
		{"failed", asksJSON, stream(saying(0, "Hi"), `{"error":{"message":"x"}}`), good},
		{"nothing but usage", asksText, stream(`{"choices":[],"usage":{"prompt_tokens":1}}`), good},

		{"whole text", asksText, `{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi","tool_calls":[]}}]}`, good},
		{"whole parts", asksText, `{"choices":[{"index":0,"message":{"content":[{"type":"text","text":"Hi"}]}}]}`, good},
		{"whole empty", asksText, `{"choices":[{"index":0,"message":{"role":"assistant","content":"","tool_calls":[],"refusal":null}}]}`, empty},
		{"whole null", asksText, `{"choices":[{"index":0,"message":{"role":"assistant","content":null,"function_call":null}}]}`, empty},
		{"whole completion", asksText, `{"choices":[{"text":" x "}]}`, good},
		{"whole empty completion", asksText, `{"choices":[{"text":"x"},{"index":1,"text":"\n"}]}`, empty},
		{"older function call", asksText, `{"choices":[{"message":{"content":null,"function_call":{"name":"f","arguments":"{}"}}}]}`, good},
		{"embeddings", asksJSON, `{"data":[{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":1}}`, good},
		{"an error", asksJSON, `{"error":{"message":"no"}}`, good},

		{"JSON", asksJSON, stream(saying(0, "{\"a\":"), saying(0, " [1, \"\\\"é\\n\"]"), saying(0, "}\n")), json},
		{"JSON cut off", asksJSON, stream(saying(0, `{"a":`), saying(0, `[1`)), broken},
		{"JSON fenced", asksJSON, stream(saying(0, "```json\n{}\n```")), broken},
		{"JSON and more", asksJSON, stream(saying(0, `{} {}`)), broken},
		{"a number", asksJSON, stream(saying(0, "-1.5e3")), json},
		{"half a number", asksJSON, stream(saying(0, "-1.")), broken},
		{"no JSON asked", asksText, stream(saying(0, `{"a":`)), good},
		{"no JSON in a choice", asksJSON, stream(saying(1, `{`), saying(0, `{}`), saying(1, `]`)), broken},
		{"JSON in two choices", asksJSON, stream(saying(1, `{"a":`), saying(0, `{}`), saying(1, `1}`)), json},
		{"JSON wanted, nothing given", asksJSON, stream(saying(0, "")), nothing},
		{"reasoning before JSON", asksJSON, stream(`{"choices":[{"index":0,"delta":{"reasoning":"{"}}]}`, saying(0, "{}")), json},
		{"whole JSON", asksJSON, `{"choices":[{"message":{"content":"{\"a\":\"\\u00e9\"}"}}]}`, json},
		{"whole JSON broken", asksJSON, `{"choices":[{"message":{"content":"{}"}},{"index":1,"message":{"content":"{"}}]}`, broken},
		{"index after the text", asksJSON, stream(`{"choices":[{"delta":{"content":"{}"},"index":0}]}`), json},
		{"another index after the text", asksJSON, stream(`{"choices":[{"delta":{"content":"{"},"index":1}]}`), good},

		{"call", asksTools, stream(calling(0, 0, "get_weather", ""), calling(0, 0, "", `{"city":`), calling(0, 0, "", `"Oslo"}`)), ok(1)},
		{"name of the other form", asksTools, stream(calling(0, 0, "get_time", "{}")), ok(1)},
		{"unknown name", asksTools, stream(calling(0, 0, "get_mail", "{}")), bad(1, 1)},
		{"no tools", asksText, stream(calling(0, 0, "get_weather", "{}")), bad(1, 1)},
		{"arguments cut off", asksTools, stream(calling(0, 0, "get_weather", `{"city":"Os`)), bad(1, 1)},
		{"arguments no object", asksTools, stream(calling(0, 0, "get_weather", `["Oslo"]`)), bad(1, 1)},
		{"no arguments", asksTools, stream(calling(0, 0, "get_weather", "")), bad(1, 1)},
		{"a name with a quote", asksTools, stream(calling(0, 0, `get_weather\"`, "{}")), bad(1, 1)},
		{"two calls, interleaved", asksTools, stream(calling(0, 0, "get_time", "{"), calling(0, 1, "get_weather", "{"), calling(0, 0, "", "}"), calling(0, 1, "", "]")), bad(1, 2)},
		{"calls of two choices", asksTools, stream(calling(0, 0, "get_time", "{"), calling(1, 0, "get_weather", "{"), calling(1, 0, "", "}"), calling(0, 0, "", "}")), ok(2)},
		{"call instead of JSON", asksBoth, stream(calling(0, 0, "get_weather", "{}")), ok(1)},
		{"talk before a call", asksBoth, stream(saying(0, "Let me see."), calling(0, 0, "get_weather", "{}")), ok(1)},
		{"whole calls", asksTools, `{"choices":[{"index":0,"message":{"content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"get_time","arguments":"{}"}},` +
			`{"function":{"arguments":"{","name":"get_time"}}]}}]}`, bad(1, 2)},
		{"more calls than are judged", asksTools, `{"choices":[{"index":0,"message":{"tool_calls":[` + strings.Repeat(`{"function":{"name":"get_time","arguments":"{}"}},`, 11) + `{}]}}]}`, ok(MaxJudged)},

		{"response", asksText, `{"object":"response","error":null,"output":[{"type":"reasoning","summary":[]},{"id":"x","content":[{"annotations":[],"text":"Hi","type":"output_text"}],"type":"message"}]}`, good},
		{"response empty", asksText, `{"output":[{"type":"message","content":[{"type":"output_text","text":" "}]}]}`, empty},
		{"response without items", asksJSON, `{"output":[]}`, nothing},
		{"response of reasoning", asksText, `{"output":[{"content":[{"text":"Hm.","type":"reasoning_text"}],"type":"reasoning"}]}`, empty},
		{"response refused", asksJSON, `{"output":[{"content":[{"refusal":"No.","type":"refusal"}],"type":"message"}]}`, good},
		{"response of JSON", asksJSON, `{"output":[{"content":[{"text":"Hm.","type":"reasoning_text"}],"type":"reasoning"},{"content":[{"text":"{}","type":"output_text"}]}]}`, json},
		{"response of broken JSON", asksJSON, `{"output":[{"content":[{"text":"{}","type":"output_text"},{"text":"}","type":"output_text"}]}]}`, broken},
		{"response calls", asksTools, `{"output":[{"arguments":"{}","name":"get_time","type":"function_call"},{"arguments":"x","name":"y","type":"mcp_call"},{"arguments":"{}","name":"got_time","type":"function_call"}]}`, bad(1, 2)},
		{"response streams", asksTools, stream(`{"type":"response.created","response":{"output":[]}}`, `{"delta":"{}","type":"response.function_call_arguments.delta"}`,
			`{"type":"response.in_progress","response":{"output":[{"type":"function_call","name":"get_time","arguments":""}]}}`,
			`{"type":"response.completed","response":{"output":[{"type":"function_call","name":"get_time","arguments":"{}"}]}}`), ok(1)},
		{"response streams JSON", asksJSON, stream(`{"delta":"{","type":"response.output_text.delta"}`, `{"type":"response.completed","response":{"output":[{"content":[{"type":"output_text","text":"{"}]}]}}`), broken},
		{"response streams reasoning", asksText, stream(`{"delta":"Hm.","type":"response.reasoning_text.delta"}`, `{"type":"response.completed","response":{}}`), empty},
		{"response streams text alone", asksText, stream(`{"delta":"Hm.","type":"response.output_text.delta"}`, `{"type":"response.completed","response":{}}`), good},

		{"message", asksTools, `{"type":"message","content":[{"type":"text","text":"Hi"}]}`, good},
		{"message empty", asksText, `{"type":"message","content":[{"type":"thinking","thinking":"Hm."},{"type":"text","text":""}]}`, empty},
		{"message calls", asksTools, `{"type":"message","content":[{"type":"tool_use","name":"x","input":{}}]}`, good},
		{"message streams a call", asksText, stream(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"x","input":{}}}`, `{"type":"message_delta","delta":{"stop_reason":"tool_use"}}`), good},
		{"message streams nothing", asksText, stream(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" "}}`, `{"type":"message_delta","delta":{"stop_reason":"end_turn"}}`), empty},
		{"message streams", asksText, stream(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"x"}}`), good},
		{"completion as one text", asksText, `{"content":"Hi"}`, good},
	} {
		t.Run(c.name, func(t *testing.T) {
			request, err := Scan([]byte(c.request))
			if err != nil {
				t.Fatal(err)
			}
			contentType := "application/json"
			if strings.HasPrefix(c.body, "data:") {
				contentType = "text/event-stream"
			}
			var m Meter
			for i := range len(c.body) + 1 {
				m.Reset(contentType)
				m.Expect(&request)
				m.Observe([]byte(c.body[:i]), instant(0))
				m.Observe([]byte(c.body[i:]), instant(0))
				if diff := cmp.Diff(c.want, m.Result().Quality); diff != "" {
					t.Fatalf("cut at %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

// A response whose request was not read is judged by what needs no request.
func TestQualityOfTheUnasked(t *testing.T) {
	var m Meter
	m.Reset("text/event-stream")
	m.Observe([]byte(stream(calling(0, 0, "anything", "{"))), instant(0))
	if got := m.Result().Quality; got != (Quality{}) {
		t.Errorf("got %+v", got)
	}
	request, _ := Scan([]byte(asksJSON))
	m.Expect(&request)
	m.Reset("text/event-stream") // forgets what was expected, and what was heard
	m.Observe([]byte(stream(saying(0, " "))), instant(0))
	if got := m.Result().Quality; got != (Quality{Empty: true}) {
		t.Errorf("got %+v", got)
	}
}

// Once it has its memory, a meter judges answers without allocating.
func TestJudgingAllocatesNothing(t *testing.T) {
	request, err := Scan([]byte(asksBoth))
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(stream(saying(0, `{"a key":`), saying(1, "\"\\u00e9\"\n"), saying(0, "1}"), calling(2, 0, "get_weather", `{"city":`), calling(2, 0, "", `"Oslo"}`)))
	var m Meter
	if n := testing.AllocsPerRun(100, func() {
		m.Reset("text/event-stream")
		m.Expect(&request)
		m.Observe(body, instant(0))
		if got := m.Result(); got.ToolCalls != 1 || !got.WantedJSON || got.InvalidJSON {
			t.Errorf("got %+v", got.Quality)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzJSONText holds the reader of JSON in pieces against encoding/json.
func FuzzJSONText(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,"\u00e9\"",null,true]}`, ` 12 `, `-`, `[`, `{}x`, `"`, `0`, `01`, "{\"a\" :\n{}}"} {
		f.Add([]byte(s), 2)
	}
	f.Fuzz(func(t *testing.T, text []byte, at int) {
		if slowDepth(text) > MaxDepth {
			return
		}
		at = min(max(at, 0), len(text))
		var j jsonText
		j.write([]byte(`{"an":"earlier"`))
		j.reset()
		j.write(text[:at])
		j.write(text[at:])
		if got, want := j.valid(), json.Valid(text); got != want {
			t.Errorf("%q is valid: %v, want %v", text, got, want)
		}
		var object map[string]json.RawMessage
		if got, want := j.validObject(), json.Unmarshal(text, &object) == nil && object != nil; got != want {
			t.Errorf("%q is an object: %v, want %v", text, got, want)
		}
	})
}

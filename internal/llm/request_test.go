package llm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
)

func TestScan(t *testing.T) {
	for _, c := range []struct {
		name, body string
		want       Request
	}{
		{"chat", `{"model":"qwen","messages":[{"role":"user","content":"hi"}],"stream":true}`,
			Request{Model: "qwen", HasModel: true, Stream: true, Prompt: []byte(`[{"role":"user","content":"hi"}]`)}},
		{"white space", " \t\r\n{ \"prompt\" :\n[ 1 , 2 ] , \"model\" : \"qwen\" }\n ",
			Request{Model: "qwen", HasModel: true, Prompt: []byte(`[ 1 , 2 ]`)}},
		{"usage asked for", `{"model":"q","stream":true,"stream_options":{"continuous_usage_stats":true,"include_usage": true}}`,
			Request{Model: "q", HasModel: true, Stream: true, IncludeUsage: true}},
		{"usage declined", `{"model":"q","stream":false,"stream_options":{"include_usage":false}}`,
			Request{Model: "q", HasModel: true}},
		{"options null", `{"model":"q","stream_options":null}`, Request{Model: "q", HasModel: true}},
		{"include_usage elsewhere", `{"model":"q","include_usage":true}`, Request{Model: "q", HasModel: true}},
		{"no model", `{"input":"text"}`, Request{Prompt: []byte(`"text"`)}},
		{"empty object", `{}`, Request{}},
		{"nested model", `{"metadata":{"model":"a"},"tools":[{"model":"b"}]}`, Request{}},
		{"case differs", `{"Model":"a","model":"b","MODEL":"c"}`, Request{Model: "b", HasModel: true}},
		{"escaped key", `{"mod\u0065l":"a"}`, Request{Model: "a", HasModel: true}},
		{"long escaped key", `{"` + strings.Repeat(`\u006d`, 200) + `":1,"model":"a"}`, Request{Model: "a", HasModel: true}},
		{"longest key, escaped", `{"` + escapeAll("max_completion_tokens") + `":7}`, Request{MaxTokens: 7}},
		{"key with half a pair", `{"model\ud800":1,"model":"a"}`, Request{Model: "a", HasModel: true}},
		{"escaped name", `{"model":"a\/b\u00e9\ud83d\ude00"}`, Request{Model: "a/bé😀", HasModel: true}},
		{"name in UTF-8", `{"model":"通义千问"}`, Request{Model: "通义千问", HasModel: true}},
		{"half a pair in the prompt", `{"model":"a","prompt":"\ud800"}`,
			Request{Model: "a", HasModel: true, Prompt: []byte(`"\ud800"`)}},
		{"messages before prompt", `{"prompt":"p","messages":[],"input":"i"}`, Request{Prompt: []byte(`[]`)}},
		{"null prompt", `{"prompt":null,"input":"i"}`, Request{Prompt: []byte(`"i"`)}},
		{"max_tokens", `{"max_tokens":16}`, Request{MaxTokens: 16}},
		{"cache salt", `{"prompt":"p","cache_salt":"tenant-1"}`, Request{Prompt: []byte(`"p"`), CacheSalt: []byte(`"tenant-1"`)}},
		{"newer limit first", `{"max_tokens":16,"max_output_tokens":17,"max_completion_tokens":18}`, Request{MaxTokens: 18}},
		{"null limit", `{"max_tokens":16,"max_completion_tokens":null}`, Request{MaxTokens: 16}},
		{"limit no count", `{"max_tokens":-1}`, Request{}},
		{"limit a fraction", `{"max_tokens":1.5}`, Request{}},
		{"limit beyond reason", `{"max_tokens":99999999999999999999999}`, Request{MaxTokens: math.MaxInt32}},
		{"stream no bool", `{"stream":"true"}`, Request{}},
		{"unknown key twice", `{"a":1,"a":2}`, Request{}},
		{"inner members", `{"a":{"b":1,"c":2,"d":[{"e":1,"f":2,"g":3},4,5,[],6,{},7,[8],9]},"model":"m"}`, Request{Model: "m", HasModel: true}},
		{"longest name, escaped", `{"model":"` + strings.Repeat(`\u0061`, MaxModelLength) + `"}`,
			Request{Model: strings.Repeat("a", MaxModelLength), HasModel: true}},
		{"numbers", `{"a":[0,-0,-1,0.5,1e5,1E+5,1.25e-5,-0.0]}`, Request{}},
		{"words", `{"a":[true,false,null,{},[],"",[[]],{"b":{}}]}`, Request{}},
		{"deepest", `{"a":` + strings.Repeat("[", MaxDepth-1) + strings.Repeat("]", MaxDepth-1) + `}`, Request{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := Scan([]byte(c.body))
			if err != nil {
				t.Fatalf("Scan(%s): %v", c.body, err)
			}
			if got.Model != c.want.Model || got.HasModel != c.want.HasModel || got.Stream != c.want.Stream ||
				got.IncludeUsage != c.want.IncludeUsage || got.MaxTokens != c.want.MaxTokens ||
				!bytes.Equal(got.Prompt, c.want.Prompt) || !bytes.Equal(got.CacheSalt, c.want.CacheSalt) || (got.Prompt == nil) != (c.want.Prompt == nil) {
				t.Errorf("Scan(%s)\n got %+v\nwant %+v", c.body, got, c.want)
			}
		})
	}
}

func TestScanRefuses(t *testing.T) {
	for _, c := range []struct {
		name, body, want string // want is part of the message
	}{
		{"nothing", ``, "byte 0: the body is empty"},
		{"white space", ` `, "byte 1: the body is empty"},
		{"byte order mark", "\uFEFF{}", "byte 0: the body starts with a byte order mark"},
		{"UTF-16", "{\x00\"\x00", "byte 1: a key in double quotes"},
		{"list", `[]`, "byte 0: the body must be one JSON object"},
		{"string", ` "model"`, "byte 1: the body must be one JSON object"},
		{"cut in key", `{"mod`, "byte 5: the document ends too early"},
		{"cut after brace", `{`, "byte 1: the document ends too early"},
		{"cut after key", `{"a"`, "byte 4: the document ends too early"},
		{"cut after colon", `{"a":`, "byte 5: the document ends too early"},
		{"cut after value", `{"a":1`, "byte 6: the document ends too early"},
		{"cut in list", `{"a":[1`, "byte 7: the document ends too early"},
		{"cut after bracket", `{"a":[`, "byte 6: the document ends too early"},
		{"cut after list comma", `{"a":[1,`, "byte 8: the document ends too early"},
		{"cut in inner object", `{"a":{"b":{`, "byte 11: the document ends too early"},
		{"cut after inner comma", `{"a":{"b":1,`, "byte 12: the document ends too early"},
		{"cut in escape", `{"a":"\`, "byte 6: the document ends too early"},
		{"cut in hex", `{"a":"\u00`, "byte 6: the document ends too early"},
		{"comma before brace", `{"a":1,}`, "byte 7: a key in double quotes"},
		{"comma before bracket", `{"a":[1,]}`, "byte 8: a value is expected"},
		{"comma first", `{,"a":1}`, "byte 1: a key in double quotes"},
		{"inner comma before brace", `{"a":{"b":1,}}`, "byte 12: a key in double quotes"},
		{"no colon", `{"a" 1}`, "byte 5: a colon is expected"},
		{"no comma", `{"a":1 "b":2}`, "byte 7: a comma or a closing brace"},
		{"no comma in list", `{"a":[1 2]}`, "byte 8: a comma or a closing bracket"},
		{"wrong end", `{"a":[1}`, "byte 7: a comma or a closing bracket"},
		{"wrong inner end", `{"a":{"b":1]}`, "byte 11: a comma or a closing brace"},
		{"bare key", `{model:"a"}`, "byte 1: a key in double quotes"},
		{"single quotes", `{'model':"a"}`, "byte 1: a key in double quotes"},
		{"comment", `{"a":1/**/}`, "byte 6: a comma or a closing brace"},
		{"leading zero", `{"a":01}`, "byte 5: this number"},
		{"leading plus", `{"a":+1}`, "byte 5: this number"},
		{"bare point", `{"a":[.5]}`, "byte 6: this number"},
		{"point at end", `{"a":1.}`, "byte 5: this number"},
		{"minus alone", `{"a":-}`, "byte 5: this number"},
		{"empty exponent", `{"a":1e+}`, "byte 5: this number"},
		{"NaN", `{"a":NaN}`, "byte 5: this word"},
		{"Infinity", `{"a":[Infinity]}`, "byte 6: this word"},
		{"True", `{"a":True}`, "byte 5: this word"},
		{"nul", `{"a":nul}`, "byte 5: this word"},
		{"truely", `{"a":truely}`, "byte 9: a comma or a closing brace"},
		{"line in string", "{\"a\":\"x\ny\"}", "byte 7: a control character"},
		{"NUL in string", "{\"a\":\"x\x00\"}", "byte 7: a control character"},
		{"NUL at end", "{}\x00", "byte 2: something follows"},
		{"unknown escape", `{"a":"x\x41"}`, "byte 7: this escape"},
		{"escape of the quote", `{"a":"\'"}`, "byte 6: this escape"},
		{"bad hex", `{"a":"\u00g0"}`, "byte 6: this escape"},
		{"not UTF-8", "{\"a\":\"ok \xff\"}", "byte 9: this byte is not UTF-8"},
		{"not UTF-8 before an escape", "{\"a\":\"\xff\\n\"}", "byte 6: this byte is not UTF-8"},
		{"overlong", "{\"mod\xc1\xa5l\":\"a\"}", "byte 5: this byte is not UTF-8"},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", "byte 6: this byte is not UTF-8"},
		{"character cut", "{\"a\":\"\xe9\x80\"}", "byte 6: this byte is not UTF-8"},
		{"no-break space", "{\u00a0}", "byte 1: a key in double quotes"},
		{"second object", `{} {}`, "byte 3: something follows"},
		{"trailing comma", `{},`, "byte 2: something follows"},
		{"too deep", `{"a":` + strings.Repeat("[", MaxDepth), "byte 516: lists and objects are nested more than 512 deep"},
		{"too deep in the first list", `{"a":` + strings.Repeat(`{"a":`, 1<<16), "nested more than 512 deep"},

		{"model twice", `{"model":"a","model":"b"}`, `The key "model" appears twice, the second time at byte 13`},
		{"model twice, same", `{"model":"a","model":"a"}`, "twice"},
		{"model twice, escaped", `{"model":"a","\u006dod\u0065l":"b"}`, `The key "model" appears twice, the second time at byte 13`},
		{"stream twice", `{"stream":true,"stream":false}`, `The key "stream" appears twice`},
		{"messages twice", `{"messages":[],"messages":[]}`, `The key "messages" appears twice`},
		{"include_usage twice", `{"stream_options":{"include_usage":true,"include_usage":false}}`, `The key "include_usage" appears twice`},
		{"model null", `{"model":null}`, `"model" must be a string`},
		{"model a number", `{"model":1}`, `"model" must be a string`},
		{"model a list", `{"model":["a"]}`, `"model" must be a string`},
		{"model empty", `{"model":""}`, `"model" is empty`},
		{"model with a line", `{"model":"a\nb"}`, `"model" holds a control character`},
		{"model with NUL", `{"model":"a\u0000"}`, `"model" holds a control character`},
		{"model with DEL", "{\"model\":\"a\x7f\"}", `"model" holds a control character`},
		{"model with half a pair", `{"model":"a\ud800"}`, "half of a surrogate pair"},
		{"model with the second half", `{"model":"\udc00a"}`, "half of a surrogate pair"},
		{"model with two first halves", `{"model":"\ud800\ud800"}`, "half of a surrogate pair"},
		{"model too long", `{"model":"` + strings.Repeat("a", MaxModelLength+1) + `"}`, "longer than 1024 bytes"},
		{"model too long, escaped", `{"model":"` + strings.Repeat(`\u0061`, MaxModelLength+1) + `"}`, "longer than 1024 bytes"},
		{"error wins over model", `{"model":null`, "byte 13: the document ends too early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Scan([]byte(c.body))
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("Scan(%q) = %+v, %v; want an *Error", c.body, r, err)
			}
			if e.Status != http.StatusBadRequest || e.Type != "invalid_request_error" {
				t.Errorf("status %d, type %q", e.Status, e.Type)
			}
			if !strings.Contains(e.Message, c.want) {
				t.Errorf("Scan(%q)\nsays %s\nwant %s", c.body, e.Message, c.want)
			}
			if r.HasModel || r.Prompt != nil {
				t.Errorf("Scan(%q) also returns %+v", c.body, r)
			}
		})
	}
}

// escapeAll returns the text of a JSON string that escapes every character.
func escapeAll(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, `\u%04x`, r)
	}
	return b.String()
}

// Appending to the prompt must not write into the body.
func TestScanClipsPrompt(t *testing.T) {
	r, err := Scan([]byte(`{"prompt":[1],"model":"a"}`))
	if err != nil || cap(r.Prompt) != len(r.Prompt) {
		t.Errorf("%q has room for %d, %v", r.Prompt, cap(r.Prompt), err)
	}
}

// A refusal must not repeat what the client wrote, wherever it breaks off.
func TestScanKeepsSecrets(t *testing.T) {
	const secret = "zebra"
	body := `{"messages":[{"role":"user","content":"zebra zebra"}],"zebra":{"zebra":[1,"zebra"]},"model":"zebra"}`
	for i := range len(body) {
		for _, spoiled := range []string{body[:i], body[:i] + "\x01" + body[i:], body[:i] + "zebra" + body[i:], body[:i] + `"` + body[i:]} {
			if _, err := Scan([]byte(spoiled)); err != nil && strings.Contains(err.Error(), secret) {
				t.Fatalf("Scan(%q) says %v", spoiled, err)
			}
		}
	}
}

func TestWithModel(t *testing.T) {
	for _, c := range []struct{ body, model, want string }{
		{`{"model":"a","n":1}`, "b", `{"model":"b","n":1}`},
		{`{"n":1, "mod\u0065l" : "\u0061" }`, `b"\`, `{"n":1, "mod\u0065l" : "b\"\\" }`},
		{`{"model":"a"}`, "千问\n\x7f", `{"model":"千问\n\u007f"}`},
		{`{"model":"a"}`, "\xff", "{\"model\":\"\uFFFD\"}"},
		{`{"n":1}`, "b", `{"n":1}`},
	} {
		body := []byte(c.body)
		r, err := Scan(body)
		if err != nil {
			t.Fatal(err)
		}
		parts := r.WithModel(body, c.model)
		if got := string(bytes.Join(parts[:], nil)); got != c.want {
			t.Errorf("%s with %q\n got %s\nwant %s", c.body, c.model, got, c.want)
		}
		if string(body) != c.body {
			t.Errorf("the body became %s", body)
		}
		if &parts[0][0] != &body[0] || parts[2] != nil && &parts[2][0] != &body[len(body)-len(parts[2])] {
			t.Error("the body was copied")
		}
	}
}

func TestScanAllocations(t *testing.T) {
	for _, c := range []struct {
		body string
		want float64
	}{
		{string(chatBody(32<<10, `text\n`)), 1}, // the model's name
		{`{"input":"text","stre\u0061m":true}`, 0},
	} {
		body := []byte(c.body)
		got := testing.AllocsPerRun(100, func() {
			if _, err := Scan(body); err != nil {
				t.Fatal(err)
			}
		})
		if got > c.want {
			t.Errorf("%.40s…: %v allocations, want %v", c.body, got, c.want)
		}
	}
}

// TestPlainRun holds the word-wise search against the obvious one, with every
// byte at every place in and around a word.
func TestPlainRun(t *testing.T) {
	for _, fill := range []byte{'a', ' ', '!', '#', '[', ']', 0x7f, 0x80, 0xa2, 0xdc, 0xff} {
		for length := range 20 {
			for at := range length {
				for c := range 256 {
					b := bytes.Repeat([]byte{fill}, length)
					b[at] = byte(c)
					n, high := plainRun(b)
					wantN, wantHigh := slowPlainRun(b)
					if n != wantN || high != wantHigh {
						t.Fatalf("plainRun(%q) = %d, %v; want %d, %v", b, n, high, wantN, wantHigh)
					}
				}
			}
		}
	}
}

func slowPlainRun(b []byte) (n int, nonASCII bool) {
	for _, c := range b {
		if c < ' ' || c == '"' || c == '\\' {
			break
		}
		nonASCII = nonASCII || c >= 0x80
		n++
	}
	return n, nonASCII
}

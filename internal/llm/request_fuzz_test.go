package llm

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzScan holds Scan against encoding/json: the same bodies are accepted, but
// for the rules that Scan adds, and the same values are read from them.
func FuzzScan(f *testing.F) {
	for _, s := range []string{
		`{"model":"a","messages":[{"role":"user","content":"hi"}],"stream":true,"stream_options":{"include_usage":true}}`,
		`{"mod\u0065l":"a\ud83d\ude00","max_tokens":16,"prompt":[1,-2.5e+3,true,null]}`,
		`{"model":"a","\u006dodel":"b"}`,
		"{\"model\":\"\xff\"}", `{"model":"\ud800"}`, "\uFEFF{}", `{"input":["é","\\\"\/\b\f\n\r\t"]}`,
		`{"a":01}`, `{"a":[1,]}`, `{"a":{}} x`, `[]`, ``, "{\"a\":\"\x00\"}", `{"max_completion_tokens":99999999999}`,
		`{"user":"u","prompt_cache_key":"k\u0041","safety_identifier":7,"user ":1}`, `{"user":"a","us\u0065r":"b"}`,
		`{"response_format":{"type":"json_object"},"response_format":{"type":"text","type":"json_schema"}}`,
		`{"text":{"format":{"type":"json_schema","schema":{}}},"tools":[{"type":"function","function":{"name":"f"}},{"name":"g"}]}`,
		`{"a":` + strings.Repeat("[", 600) + strings.Repeat("]", 600) + `}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Scan(body)
		want, ok := slowScan(body)
		if ok != (err == nil) {
			t.Fatalf("Scan says %v, encoding/json agrees: %v", err, ok)
		}
		if err != nil {
			return
		}
		if got.Model != want.Model || got.HasModel != want.HasModel || got.Stream != want.Stream ||
			got.IncludeUsage != want.IncludeUsage || got.MaxTokens != want.MaxTokens || !bytes.Equal(got.Prompt, want.Prompt) || !bytes.Equal(got.CacheSalt, want.CacheSalt) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		if !bytes.Equal(got.User, want.User) || !bytes.Equal(got.PromptCacheKey, want.PromptCacheKey) ||
			!bytes.Equal(got.SafetyIdentifier, want.SafetyIdentifier) ||
			got.WantsJSON != want.WantsJSON || !bytes.Equal(got.Tools, want.Tools) {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		got.Offers([]byte("f")) // must not panic
		checkWithModel(t, body, got)
	})
}

// checkWithModel requires that the spliced body differs in its model alone.
func checkWithModel(t *testing.T, body []byte, r Request) {
	const name = `a "new" name`
	parts := r.WithModel(body, name)
	again, err := Scan(bytes.Join(parts[:], nil))
	if err != nil {
		t.Fatalf("after WithModel: %v", err)
	}
	if r.HasModel != again.HasModel || r.HasModel && again.Model != name {
		t.Fatalf("after WithModel the model is %q", again.Model)
	}
	var before, after map[string]json.RawMessage
	if json.Unmarshal(body, &before) != nil || json.Unmarshal(bytes.Join(parts[:], nil), &after) != nil {
		t.Fatal("WithModel broke the body")
	}
	delete(before, "model")
	delete(after, "model")
	if len(before) != len(after) {
		t.Fatalf("WithModel changed the keys")
	}
	for k, v := range before {
		if !bytes.Equal(v, after[k]) {
			t.Fatalf("WithModel changed %q", k)
		}
	}
}

// slowScan reads a body with encoding/json and applies Scan's own rules.
func slowScan(body []byte) (r Request, ok bool) {
	var top map[string]json.RawMessage
	if !utf8.Valid(body) || slowDepth(body) > MaxDepth || json.Unmarshal(body, &top) != nil || top == nil {
		return r, false
	}
	known := []string{"model", "stream", "stream_options", "max_completion_tokens", "max_output_tokens", "max_tokens", "messages", "prompt", "input", "cache_salt", "user", "prompt_cache_key", "safety_identifier"}
	if repeats(body, known) {
		return r, false
	}
	if raw, has := top["model"]; has {
		if json.Unmarshal(raw, &r.Model) != nil || string(raw) == "null" || !slowNameOK(raw, r.Model) {
			return r, false
		}
		r.HasModel = true
	}
	r.Stream = string(top["stream"]) == "true"
	var options map[string]json.RawMessage
	if json.Unmarshal(top["stream_options"], &options) == nil {
		if repeats(top["stream_options"], []string{"include_usage"}) {
			return r, false
		}
		r.IncludeUsage = string(options["include_usage"]) == "true"
	}
	for _, k := range []string{"max_tokens", "max_output_tokens", "max_completion_tokens"} {
		var n float64
		if raw := top[k]; json.Unmarshal(raw, &n) == nil && n > 0 && !bytes.ContainsAny(raw, ".eE") && string(raw) != "null" {
			r.MaxTokens = int(min(n, 1<<31-1))
		}
	}
	for _, k := range []string{"input", "prompt", "messages"} {
		if raw := top[k]; raw != nil && string(raw) != "null" {
			r.Prompt = raw
		}
	}
	if raw := top["cache_salt"]; string(raw) != "null" {
		r.CacheSalt = raw
	}
	r.User, r.PromptCacheKey, r.SafetyIdentifier = slowIdentity(top["user"]), slowIdentity(top["prompt_cache_key"]), slowIdentity(top["safety_identifier"])
	if raw := top["tools"]; string(raw) != "null" {
		r.Tools = raw
	}
	r.WantsJSON = slowJSONType(top["response_format"]) || slowJSONType(slowMember(top["text"], "format"))
	return r, true
}

func slowIdentity(raw json.RawMessage) []byte {
	if len(raw) < 3 || len(raw) > MaxIdentityLength+2 || raw[0] != '"' {
		return nil
	}
	return raw[1 : len(raw)-1]
}

func slowMember(object json.RawMessage, key string) json.RawMessage {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return nil
	}
	return members[key]
}

func slowJSONType(format json.RawMessage) bool {
	raw := string(slowMember(format, "type"))
	return raw == `"json_object"` || raw == `"json_schema"`
}

// slowNameOK applies the rules for names. encoding/json makes U+FFFD of half a
// surrogate pair, so a U+FFFD that was not written as such is one.
func slowNameOK(raw []byte, name string) bool {
	written := strings.Count(string(raw), "\uFFFD") + strings.Count(strings.ReplaceAll(strings.ToLower(string(raw)), `\\`, ""), `\ufffd`)
	return name != "" && len(name) <= MaxModelLength &&
		strings.Count(name, "\uFFFD") == written &&
		!strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// slowDepth returns how deep the containers of a document are nested.
func slowDepth(body []byte) (deepest int) {
	depth := 0
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		t, err := d.Token()
		if err != nil {
			return deepest
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// repeats reports whether an object has one of the keys more than once.
func repeats(object []byte, keys []string) bool {
	d := json.NewDecoder(bytes.NewReader(object))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return false
	}
	seen := map[string]int{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return false
		}
		seen[k.(string)]++
		var skip json.RawMessage
		if d.Decode(&skip) != nil {
			return false
		}
	}
	for _, k := range keys {
		if seen[k] > 1 {
			return true
		}
	}
	return false
}

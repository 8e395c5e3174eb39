package llm

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestIdentities(t *testing.T) {
	long := strings.Repeat("x", MaxIdentityLength)
	for _, c := range []struct {
		name, value, want string // want is "" for nil
	}{
		{"plain", `"alice"`, "alice"},
		{"escapes stay", `"a\"b\u0041"`, `a\"b\u0041`},
		{"as long as may be", `"` + long + `"`, long},
		{"too long", `"` + long + `x"`, ""},
		{"empty", `""`, ""},
		{"number", `7`, ""},
		{"null", `null`, ""},
		{"object", `{"a":"b"}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, key := range []string{"user", "prompt_cache_key", "safety_identifier"} {
				body := []byte(`{"model":"m", "` + key + `" : ` + c.value + `}`)
				r, err := Scan(body)
				if err != nil {
					t.Fatal(err)
				}
				got := map[string][]byte{"user": r.User, "prompt_cache_key": r.PromptCacheKey, "safety_identifier": r.SafetyIdentifier}
				for k, v := range got {
					want := ""
					if k == key {
						want = c.want
					}
					if string(v) != want || (v == nil) != (want == "") {
						t.Errorf("with %s of %s, %s is %q, want %q", key, c.value, k, v, want)
					}
				}
			}
		})
	}
}

func TestWantsJSON(t *testing.T) {
	for _, c := range []struct {
		body string
		want bool
	}{
		{`{}`, false},
		{`{"response_format":{"type":"json_object"}}`, true},
		{`{"response_format": {"json_schema":{"name":"x","schema":{"type":"object"}}, "type" : "json_schema"}}`, true},
		{`{"response_format":{"type":"text"}}`, false},
		{`{"response_format":{"schema":{"type":"json_object"}}}`, false},
		{`{"response_format":null}`, false},
		{`{"response_format":"json_object"}`, false},
		{`{"text":{"verbosity":"low","format":{"type":"json_schema","schema":{}}}}`, true},
		{`{"text":{"format":{"type":"text"}}}`, false},
		{`{"text":{"type":"json_object"}}`, false},
		// The last of several counts, and several are no error.
		{`{"response_format":{"type":"json_object"},"response_format":{"type":"text"}}`, false},
		{`{"response_format":{"type":"text","type":"json_object"}}`, true},
	} {
		r, err := Scan([]byte(c.body))
		if err != nil || r.WantsJSON != c.want {
			t.Errorf("%s: %v, %v; want %v", c.body, r.WantsJSON, err, c.want)
		}
	}
}

func TestOffers(t *testing.T) {
	const nested = `[ {"type":"function", "function":{"description":"says \"other\"", "name" : "get_weather", "parameters":{"name":"hidden"}}} , {"function":null}, 3, {"name":"f\u0061r"} ]`
	for _, c := range []struct {
		tools, name string
		want        bool
	}{
		{nested, "get_weather", true},
		{nested, "far", true},
		{nested, "hidden", false},
		{nested, "get_weather2", false},
		{nested, "", false},
		{`[]`, "f", false},
		{`{"name":"f"}`, "f", false},
		{`[{"name":["f"]},{"name":{}},[]]`, "f", false},
		{`[{"name":"` + strings.Repeat("n", 300) + `"}]`, strings.Repeat("n", 300), true},
		{`null`, "f", false},
	} {
		r, err := Scan([]byte(`{"tools":` + c.tools + `}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Offers([]byte(c.name)); got != c.want {
			t.Errorf("%s offers %q: %v, want %v", c.tools, c.name, got, c.want)
		}
	}
}

// FuzzOffers holds Offers against encoding/json.
func FuzzOffers(f *testing.F) {
	f.Add([]byte(`[{"type":"function","function":{"name":"f"}},{"name":"g"}]`), "f")
	f.Add([]byte(`[{"name":"\u0066","name":1},{"function":{"name":"a"},"function":[]} , []]`), "f")
	f.Fuzz(func(t *testing.T, tools []byte, name string) {
		r, err := Scan([]byte(`{"tools":` + string(tools) + `}`))
		if err != nil || r.Tools == nil {
			return
		}
		var list []json.RawMessage
		want := false
		if json.Unmarshal(r.Tools, &list) == nil {
			for _, tool := range list {
				for _, raw := range []json.RawMessage{slowMember(tool, "name"), slowMember(slowMember(tool, "function"), "name")} {
					var said string
					if json.Unmarshal(raw, &said) == nil && len(raw) > 0 && raw[0] == '"' && said == name {
						want = true
					}
				}
			}
		}
		// encoding/json makes U+FFFD of half a surrogate pair, which no name equals here.
		if got := r.Offers([]byte(name)); got != want && !strings.Contains(name, "\uFFFD") {
			t.Errorf("%s offers %q: %v, want %v", r.Tools, name, got, want)
		}
	})
}

package llm

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestRevised(t *testing.T) {
	cases := []struct {
		name, body string
		revision   Revision
		want       string
	}{
		{"model alone", ` {"model":"m","max_tokens":900}`, Revision{Model: "v2"}, ` {"model":"v2","max_tokens":900}`},
		{"lower limit stays", `{"max_tokens":9,"model":"m"}`, Revision{"v2", 10, "max_tokens"}, `{"max_tokens":9,"model":"v2"}`},
		{"equal limit stays", `{"model":"m","max_tokens":10}`, Revision{"v2", 10, "max_tokens"}, `{"model":"v2","max_tokens":10}`},
		{"higher limit", `{"max_tokens" : 900 ,"model":"m"}`, Revision{"v2", 10, "max_tokens"}, `{"max_tokens" : 10 ,"model":"v2"}`},
		{"each of them", `{"max_completion_tokens":11,"model":"m","max_tokens":5,"max_output_tokens":99}`, Revision{"m", 10, "max_tokens"},
			`{"max_completion_tokens":10,"model":"m","max_tokens":5,"max_output_tokens":10}`},
		{"null", `{"model":"m","max_tokens":null}`, Revision{"m", 10, "max_tokens"}, `{"model":"m","max_tokens":10}`},
		{"zero, which is none", `{"model":"m","max_tokens":0}`, Revision{"m", 10, ""}, `{"model":"m","max_tokens":10}`},
		{"no number", `{"model":"m","max_tokens":"many"}`, Revision{"m", 10, ""}, `{"model":"m","max_tokens":10}`},
		{"beyond all numbers", `{"model":"m","max_tokens":99999999999999999999}`, Revision{"m", 10, ""}, `{"model":"m","max_tokens":10}`},
		{"a fraction", `{"model":"m","max_tokens":1e9}`, Revision{"m", 10, ""}, `{"model":"m","max_tokens":10}`},
		{"another spelling", `{"model":"m","max\u005ftokens":900}`, Revision{"m", 10, "max_tokens"}, `{"model":"m","max\u005ftokens":10}`},
		{"none", ` { "model":"m"}`, Revision{"v2", 10, "max_output_tokens"}, ` {"max_output_tokens":10, "model":"v2"}`},
		{"none, nor a place for one", `{"model":"m"}`, Revision{"v2", 10, ""}, `{"model":"v2"}`},
		{"others' limits", `{"model":"m","x":{"max_tokens":900},"s":"\"max_tokens\":900"}`, Revision{"m", 10, ""},
			`{"model":"m","x":{"max_tokens":900},"s":"\"max_tokens\":900"}`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r, err := Scan([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(bytes.Join(r.Revised([]byte(c.body), c.revision), nil)); got != c.want {
				t.Errorf("revised is %s\nwant       %s", got, c.want)
			}
		})
	}
}

// FuzzRevised revises whatever is accepted into a body that is accepted as well and
// says the same but for model and limits.
func FuzzRevised(f *testing.F) {
	for _, s := range []string{`{"model":"m"}`, ` {"max_tokens":99,"model":"m","n":[{}]}`, `{"max_completion_tokens":null,"model":"m","max_tokens":9}`} {
		f.Add([]byte(s), "v2", 10)
	}
	f.Fuzz(func(t *testing.T, body []byte, model string, most int) {
		r, err := Scan(body)
		if err != nil || !r.HasModel || most <= 0 || most > 1<<30 || model == "" || len(model) > MaxModelLength || hasControl([]byte(model)) {
			return
		}
		revised := bytes.Join(r.Revised(body, Revision{model, most, "max_tokens"}), nil)
		again, err := Scan(revised)
		if err != nil {
			t.Fatalf("%s\nbecame %s\n%v", body, revised, err)
		}
		if again.MaxTokens <= 0 || again.MaxTokens > most || r.MaxTokens > 0 && again.MaxTokens > r.MaxTokens {
			t.Errorf("%s\nbecame %s, of %d tokens", body, revised, again.MaxTokens)
		}
		if !bytes.Equal(r.Prompt, again.Prompt) || r.Stream != again.Stream {
			t.Errorf("%s\nbecame %s", body, revised)
		}
		if !json.Valid(revised) {
			t.Errorf("%s is no JSON", revised)
		}
	})
}

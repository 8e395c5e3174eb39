package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLoadFlags(t *testing.T) {
	for args, want := range map[string]string{
		"":                                         "accepts 1 arg",
		"http://127.0.0.1:1":                       `required flag(s) "model"`,
		"127.0.0.1:1 --model m":                    "no URL to load",
		"ftp://127.0.0.1 --model m":                "no URL to load",
		"http://h --model m --rps 1001":            "up to 1000",
		"http://h --model m --rps NaN":             "up to 1000",
		"http://h --model m --for 2h":              "up to 1h",
		"http://h --model m --sessions 0":          "use 1 to",
		"http://h --model m --stream 1.1":          "use 0 to 1",
		"http://h --model m --max-tokens 0":        "use 1 to 32768",
		"http://h --model m --header x":            "is not \"Name: value\"",
		"http://h --model m --prompt-words 5..2":   "least..most",
		"http://h --model m --prompt-words 0":      "least..most",
		"http://h --model m --prompt-words 1..1e9": "least..most",
	} {
		cmd := newLoadCommand()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(strings.Fields(args))
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("load %s: error %v, want %q", args, err, want)
		}
	}
}

func TestLoadURL(t *testing.T) {
	for given, want := range map[string]string{
		"http://h": "http://h/v1/chat/completions", "http://h/": "http://h/v1/chat/completions", "http://h/v1": "http://h/v1/chat/completions",
		"https://h/x/chat/completions?y=1": "https://h/x/chat/completions?y=1",
	} {
		c := loadConfig{url: given, rate: 1, length: 1, sessions: 1, words: "1", tokens: 1, timeout: 1}
		if err := c.complete(); err != nil || c.url != want {
			t.Errorf("%s: %s, %v", given, c.url, err)
		}
	}
	for url, want := range map[string]bool{"http://127.0.0.1:8080": true, "http://[::1]/": true, "http://localhost": true, "http://10.0.0.1": false, "http://example.com": false} {
		if loopback(url) != want {
			t.Errorf("%s: loopback %v", url, !want)
		}
	}
}

// TestLoadCalls checks that prompts keep their length, and sessions their beginning.
func TestLoadCalls(t *testing.T) {
	c := loadConfig{model: "m", sessions: 3, least: 10, most: 30, tokens: 7, stream: 0.5, json: 0.5, seed: 1}
	r := rand.New(rand.NewPCG(1, 2))
	begins := map[string]string{}
	for range 200 {
		call := c.compose(r)
		var body struct {
			Messages  []loadMessage
			MaxTokens int `json:"max_tokens"`
			Stream    bool
			Format    any `json:"response_format"`
		}
		if err := json.Unmarshal(call.body, &body); err != nil || body.MaxTokens != 7 || body.Stream != call.stream || call.json != (body.Format != nil) {
			t.Fatalf("%s: %v", call.body, err)
		}
		words := len(strings.Fields(body.Messages[0].Content)) + len(strings.Fields(body.Messages[1].Content))
		if call.json {
			words -= 5
		}
		if words < 10 || words > 30 {
			t.Errorf("%d words", words)
		}
		begin := strings.Join(strings.Fields(body.Messages[0].Content)[:5], " ")
		if b, ok := begins[call.session]; ok && b != begin {
			t.Errorf("session %s begins with %q, then %q", call.session, b, begin)
		}
		begins[call.session] = begin
	}
	if len(begins) != 3 {
		t.Errorf("%d sessions", len(begins))
	}
}

// TestLoadCounts sends to a server that answers in every way there is.
func TestLoadCounts(t *testing.T) {
	var mu sync.Mutex
	n, sessions := 0, map[string]bool{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Stream bool }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.Host != "chat.example.com" || r.URL.Path != "/v1/chat/completions" {
			t.Errorf("%v %s %s", err, r.Host, r.URL)
		}
		mu.Lock()
		n++
		kind := n % 4
		sessions[r.Header.Get("X-Session-Id")] = true
		mu.Unlock()
		switch {
		case kind == 0:
			w.WriteHeader(http.StatusServiceUnavailable)
		case kind == 1 && body.Stream: // cut: without its end
			_, _ = io.WriteString(w, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n")
		case kind == 1:
			_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"{"},"finish_reason":"stop"}]}`)
		case body.Stream:
			_, _ = io.WriteString(w, ": hello\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"{}\"}}]}\n\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"completion_tokens\":3}}\n\ndata: [DONE]\n\n")
		default:
			_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"{}"},"finish_reason":"stop"}],"usage":{"completion_tokens":3}}`)
		}
	}))
	defer server.Close()
	cmd := newLoadCommand()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{server.URL, "--model", "m", "--rps", "1000", "--for", "200ms", "--json", "1", "--header", "Host: chat.example.com", "--sessions", "5"})
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{fmt.Sprintf("%d sent", n), "status 503", "cut answer", "invalid JSON", "ttft ", "tokens "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if len(sessions) != 5 {
		t.Errorf("sessions %v", sessions)
	}
}

// TestLoadStops checks that a load of a dead server fails, and that one that is
// stopped says what there was.
func TestLoadStops(t *testing.T) {
	cmd := newLoadCommand()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetArgs([]string{"http://" + nowhere(t), "--model", "m", "--rps", "1000", "--for", "20ms"})
	if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(out.String(), "no connection") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

func TestReadStream(t *testing.T) {
	for text, want := range map[string]string{
		"data: [DONE]\n": "",
		"data: {\n":      "unexpected end of JSON input",
		"data: {\"error\":{\"message\":\"full\"}}\n":   "the stream says",
		"data: {\"choices\":[]}\n":                     "unexpected EOF",
		"data: " + strings.Repeat("x", 2<<20) + "\n":   "token too long",
		"event: x\nid: 1\n\ndata:{}\n\ndata: [DONE]\n": "",
	} {
		_, err := readStream(strings.NewReader(text), time.Time{})
		if got := fmt.Sprint(err); want == "" && err != nil || !strings.Contains(got, want) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
}

func FuzzReadStream(f *testing.F) {
	f.Add("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = readStream(strings.NewReader(text), time.Time{})
		_, _ = readWhole(strings.NewReader(text), time.Time{})
	})
}

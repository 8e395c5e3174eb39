package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// loadCall is one request of a load.
type loadCall struct {
	session string
	body    []byte
	stream  bool
	json    bool
}

// loadWords are what prompts are made of.
var loadWords = strings.Fields(`the a of to in and that is for on with as by at from it an be this which or are
	one model river stone light garden music number letter winter bridge market story paper window colour engine
	answer question reason method table circle measure signal carry follow begin describe compare explain`)

type loadMessage struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// compose makes a request of a session: the prompts of one begin alike and differ in
// their second half.
func (c *loadConfig) compose(r *rand.Rand) loadCall {
	session := r.IntN(c.sessions)
	n := c.least + r.IntN(c.most-c.least+1)
	own := rand.New(rand.NewPCG(c.seed, uint64(session)))
	call := loadCall{session: fmt.Sprintf("load-%d-%d", c.seed, session), stream: r.Float64() < c.stream, json: r.Float64() < c.json}
	last := prose(r, n-n/2)
	if call.json {
		last += ". Answer with a JSON object."
	}
	body := struct {
		Model          string            `json:"model"`
		Messages       []loadMessage     `json:"messages"`
		MaxTokens      int               `json:"max_tokens"`
		Stream         bool              `json:"stream,omitempty"`
		StreamOptions  map[string]bool   `json:"stream_options,omitempty"`
		ResponseFormat map[string]string `json:"response_format,omitempty"`
	}{Model: c.model, MaxTokens: c.tokens, Stream: call.stream}
	if n > 1 {
		body.Messages = append(body.Messages, loadMessage{"system", prose(own, n/2)})
	}
	body.Messages = append(body.Messages, loadMessage{"user", last})
	if call.stream {
		body.StreamOptions = map[string]bool{"include_usage": true}
	}
	if call.json {
		body.ResponseFormat = map[string]string{"type": "json_object"}
	}
	call.body, _ = json.Marshal(body) // strings and numbers: never fails
	return call
}

func prose(r *rand.Rand, words int) string {
	out := make([]string, words)
	for i := range out {
		out[i] = loadWords[r.IntN(len(loadWords))]
	}
	return strings.Join(out, " ")
}

// loadResult is how a request went.
type loadResult struct {
	problem string // "" for none
	first   time.Duration
	whole   time.Duration
	tokens  int
}

// maxLoadAnswer bounds what is read of one answer.
const maxLoadAnswer = 16 << 20

func (c *loadConfig) send(ctx context.Context, client *http.Client, call loadCall) (out loadResult) {
	started := time.Now()
	defer func() { out.whole = time.Since(started) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(call.body))
	if err != nil {
		return loadResult{problem: "no request can be made: " + err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Session-Id", call.session)
	for _, h := range c.headers {
		name, value, _ := strings.Cut(h, ":")
		if name, value = strings.TrimSpace(name), strings.TrimSpace(value); strings.EqualFold(name, "Host") {
			req.Host = value
		} else {
			req.Header.Set(name, value)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return loadResult{problem: loadProblem(ctx, err, "no connection")}
	}
	defer resp.Body.Close()
	body := io.LimitReader(resp.Body, maxLoadAnswer)
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, body) // for the connection's next request
		return loadResult{problem: "status " + fmt.Sprint(resp.StatusCode)}
	}
	read := readWhole
	if call.stream {
		read = readStream
	}
	answer, err := read(body, started)
	switch {
	case err != nil:
		return loadResult{problem: loadProblem(ctx, err, "cut answer")}
	case answer.text == "" && answer.tokens == 0:
		return loadResult{problem: "empty answer"}
	case call.json && answer.reason == "stop" && !json.Valid([]byte(answer.text)):
		return loadResult{problem: "invalid JSON", first: answer.first, tokens: answer.tokens}
	}
	return loadResult{first: answer.first, tokens: answer.tokens}
}

// loadProblem gives an error of a connection the name of its kind.
func loadProblem(ctx context.Context, err error, otherwise string) string {
	var timeout net.Error
	switch {
	case ctx.Err() != nil:
		return stopped
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	}
	return otherwise
}

// loadAnswer is what an answer said.
type loadAnswer struct {
	text   string
	reason string // of its end
	tokens int
	first  time.Duration // 0: not known
}

// loadChunk is an answer, or a part of a stream.
type loadChunk struct {
	Choices []struct {
		Message      loadMessage `json:"message"`
		Delta        loadMessage `json:"delta"`
		FinishReason string      `json:"finish_reason"`
	} `json:"choices"`
	Usage *struct {
		CompletionTokens int `json:"completion_tokens"`
	} `json:"usage"`
	Error json.RawMessage `json:"error"`
}

func readWhole(body io.Reader, _ time.Time) (loadAnswer, error) {
	var c loadChunk
	if err := json.NewDecoder(body).Decode(&c); err != nil {
		return loadAnswer{}, err
	}
	var out loadAnswer
	out.take(&c, func(i int) string { return c.Choices[i].Message.Content })
	return out, nil
}

func (a *loadAnswer) take(c *loadChunk, content func(int) string) {
	for i := range c.Choices {
		a.text += content(i)
		if r := c.Choices[i].FinishReason; r != "" {
			a.reason = r
		}
	}
	if c.Usage != nil {
		a.tokens = c.Usage.CompletionTokens
	}
}

// readStream reads server-sent events up to [DONE]; a stream without it was cut.
func readStream(body io.Reader, started time.Time) (out loadAnswer, err error) {
	var text strings.Builder
	parts := 0
	s := bufio.NewScanner(body)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		data, ok := strings.CutPrefix(s.Text(), "data:")
		if !ok {
			continue
		}
		if data = strings.TrimSpace(data); data == "[DONE]" {
			out.text = text.String()
			if out.tokens == 0 {
				out.tokens = parts
			}
			return out, nil
		}
		var c loadChunk
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			return out, err
		}
		if len(c.Error) > 0 && string(c.Error) != "null" {
			return out, fmt.Errorf("the stream says %s", c.Error)
		}
		before := text.Len()
		out.take(&c, func(i int) string { text.WriteString(c.Choices[i].Delta.Content); return "" })
		if text.Len() > before {
			if parts++; out.first == 0 {
				out.first = time.Since(started)
			}
		}
	}
	return out, errors.Join(io.ErrUnexpectedEOF, s.Err())
}

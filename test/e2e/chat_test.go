package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// question is a chat completion to ask for.
type question struct {
	Model     string    `json:"model"`
	Messages  []message `json:"messages"`
	Stream    bool      `json:"stream,omitempty"`
	MaxTokens int       `json:"max_tokens,omitempty"`
	IgnoreEOS bool      `json:"ignore_eos,omitempty"` // the answer is MaxTokens long

	host   string            // asked for; "" is the address
	header map[string]string // further fields
}

type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

func ask(model string) question {
	return question{Model: model, Messages: []message{{"user", "Who are you?"}}}
}

// stream asks for an answer as a stream of n tokens.
func stream(model string, n int) question {
	q := ask(model)
	q.Stream, q.MaxTokens, q.IgnoreEOS = true, n, true
	return q
}

// answer is what the tests look at.
type answer struct {
	status int
	header http.Header
	model  string // as the answer names it
	text   string
	finish string
	events int    // of a stream
	err    string // what the gateway or model server says is wrong
}

// speaker is the model that introduces itself in the answer.
func (a answer) speaker() string {
	_, rest, _ := strings.Cut(a.text, "I am ")
	name, _, _ := strings.Cut(rest, ",")
	return name
}

// chunk is a completion, a part of one, or an error.
type chunk struct {
	Model   string
	Choices []struct {
		Message, Delta message
		FinishReason   string `json:"finish_reason"`
	}
	Error struct{ Message string }
}

// newClient returns a client of its own connections. reuse says whether a
// connection serves more than one request.
func newClient(reuse bool) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: !reuse, MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}}
}

// chat asks the gateway at base, such as http://10.250.0.1:8080. An error is an
// answer that did not come, or not to its end.
func chat(ctx context.Context, c *http.Client, base string, q question) (answer, error) {
	body, err := json.Marshal(q)
	if err != nil {
		return answer{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/v1/chat/completions", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	// Without it, net/http would send the request again over another connection
	// and hide that the first was closed.
	req.GetBody = nil
	req.Host = q.host
	for name, value := range q.header {
		req.Header.Set(name, value)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode, header: resp.Header}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return a, a.readEvents(resp.Body)
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, fmt.Errorf("read the answer: %w", err)
	}
	a.add(text)
	return a, nil
}

// readEvents reads server-sent events to the one that ends a stream.
func (a *answer) readEvents(r io.Reader) error {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			_, err := io.Copy(io.Discard, r)
			return err
		}
		a.events++
		a.add([]byte(data))
	}
	return fmt.Errorf("the stream ended after %d events without [DONE]: %w", a.events, cmpErr(lines.Err(), io.ErrUnexpectedEOF))
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// add adds a completion or a part of one. What is none is an error's text.
func (a *answer) add(data []byte) {
	var c chunk
	if err := json.Unmarshal(data, &c); err != nil {
		a.err += strings.TrimSpace(string(data))
		return
	}
	a.model = c.Model
	a.err += c.Error.Message
	for _, choice := range c.Choices {
		a.text += choice.Message.Content + choice.Delta.Content
		a.finish += choice.FinishReason
	}
}

// wrong says what is wrong with the answer to q, "" if nothing is.
func (a answer) wrong(q question) string {
	switch {
	case a.status != http.StatusOK || a.err != "":
		return fmt.Sprintf("status %d: %s", a.status, a.err)
	case a.speaker() == "" || a.finish == "":
		return fmt.Sprintf("cut or empty answer: %q, finish %q", a.text, a.finish)
	case q.IgnoreEOS && a.finish != "length":
		return fmt.Sprintf("ended by %q after %d events, not by its length", a.finish, a.events)
	}
	return ""
}

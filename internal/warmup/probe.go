package warmup

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

const (
	chatPath        = "/v1/chat/completions"
	completionsPath = "/v1/completions"
)

// once sends the next request of the course.
func (r *Runner) once(ctx context.Context, o *order, address string, c *course) error {
	select {
	case o.slots <- struct{}{}:
		defer func() { <-o.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if len(o.probes) == 0 {
		return r.builtIn(ctx, o, address, c)
	}
	number := c.next % len(o.probes)
	p := o.probes[number]
	c.next = number + 1 // one bad request must not keep the others from being sent
	body, err := withModel([]byte(p.Body), o)
	if err != nil {
		return fmt.Errorf("request %d of the warm-up: %w", number+1, err)
	}
	took, status, err := r.send(ctx, o, address, cmp.Or(p.Path, chatPath), body)
	if err != nil {
		return err
	}
	if status >= 300 {
		return fmt.Errorf("request %d of the warm-up was answered with status %d", number+1, status)
	}
	c.answered(number, took)
	return nil
}

// builtIn sends the next of the built-in requests. What the endpoint cannot do it
// refuses: chat, or prompts as long as some are.
func (r *Runner) builtIn(ctx context.Context, o *order, address string, c *course) error {
	model := o.modelOf("")
	if model == "" {
		return errors.New("no model of its pool is known yet")
	}
	count := len(lengths)
	if c.tooLong > 0 {
		count = c.tooLong
	}
	c.next %= count
	c.serial++
	took, status, err := r.send(ctx, o, address, c.path(), c.body(model))
	if err == nil && refuses(status) && !c.completions {
		c.completions = true
		if took, status, err = r.send(ctx, o, address, c.path(), c.body(model)); err != nil || status >= 300 {
			c.completions = false
		}
	}
	switch {
	case err != nil:
		return err
	case refuses(status) && c.next > 0:
		c.tooLong = c.next
		delete(c.last, c.next)
		c.next = 0
		return nil
	case status >= 300:
		return fmt.Errorf("a built-in request for model %q was answered with status %d", model, status)
	}
	c.answered(c.next, took)
	c.next++
	return nil
}

// refuses reports that a status finds fault with the request, and another may do.
func refuses(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity, http.StatusNotImplemented:
		return true
	}
	return false
}

// send sends one request and reads its answer to the end.
func (r *Runner) send(ctx context.Context, o *order, address, path string, body []byte) (took time.Duration, status int, err error) {
	var transport http.RoundTripper = r.plain
	scheme := "http"
	if !o.pool.Plain() {
		if r.opts.Transport == nil {
			return 0, 0, errors.New("its pool speaks HTTP/2 or TLS, over which nothing is warmed up here")
		}
		transport = r.opts.Transport(o.pool, o.identity)
	}
	if o.pool.TLS != nil {
		scheme = "https"
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	at := url.URL{Scheme: scheme, Host: address}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String()+path, bytes.NewReader(body))
	if err != nil {
		return 0, 0, fmt.Errorf("the path %q of a warm-up's request is none; it begins with a slash", path)
	}
	request.Header.Set("Content-Type", "application/json")
	begun := time.Now()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer)); err != nil {
		return 0, 0, fmt.Errorf("the answer broke off: %w", err)
	}
	return time.Since(begun), response.StatusCode, nil
}

// modelOf is the model that an endpoint is asked for by a request that names name:
// the candidate's, or in a pool what the name means there, or the first that clients
// may ask the pool for. Pools that are no inference pools know no models.
func (o *order) modelOf(name string) string {
	if o.model != "" || !o.pool.Inference {
		return cmp.Or(o.model, name)
	}
	if o.pool.Serves(name) != routing.ServesYes || name == "" {
		name = ""
		if names := o.pool.Names(); len(names) > 0 {
			name = names[0]
		}
	}
	if rule := o.pool.Rule(name); rule != nil {
		for _, t := range rule.Targets {
			if t.Weight > 0 {
				return t.Model
			}
		}
	}
	return name
}

// withModel returns a request's body with the model that the endpoint is to be asked
// for.
func withModel(body []byte, o *order) ([]byte, error) {
	request, err := llm.Scan(body)
	if err != nil {
		return nil, fmt.Errorf("its body cannot be read: %w", err)
	}
	model := o.modelOf(request.Model)
	if model == "" {
		return body, nil
	}
	if request.HasModel {
		parts := request.WithModel(body, model)
		return bytes.Join(parts[:], nil), nil
	}
	name, err := json.Marshal(model)
	if err != nil {
		return nil, err
	}
	rest := bytes.TrimLeft(body, " \t\r\n")[1:] // Scan takes objects alone
	comma := ","
	if bytes.HasPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte("}")) {
		comma = ""
	}
	return fmt.Appendf(nil, `{"model":%s%s%s`, name, comma, rest), nil
}

// lengths of the built-in prompts in words, each of a token or a little more.
var lengths = [...]int{16, 256, 1024, 4096}

// maxTokens of the answers to them.
const maxTokens = 16

func (c *course) path() string {
	if c.completions {
		return completionsPath
	}
	return chatPath
}

// body is the built-in request that is next.
func (c *course) body(model string) []byte {
	request := map[string]any{"model": model, "max_tokens": maxTokens, "temperature": 0}
	if text := promptOf(c.serial, lengths[c.next]); c.completions {
		request["prompt"] = text
	} else {
		request["messages"] = []any{map[string]string{"role": "user", "content": text}}
	}
	body, _ := json.Marshal(request) // strings and numbers always can be
	return body
}

var words = [...]string{"river", "stone", "window", "early", "north", "paper", "green", "seven", "table", "cloud", "silver", "garden", "slow", "letter", "music", "harbor"}

// promptOf is a text of so many words that begins like no other.
func promptOf(serial, length int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of these words are to be counted:", serial)
	x := uint32(serial)*2654435761 + 1
	for range length {
		x = x*1664525 + 1013904223 // Numerical Recipes' generator
		b.WriteByte(' ')
		b.WriteString(words[x>>28])
	}
	return b.String()
}

package conductor

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"crossfade.dev/internal/translate"
)

// maxAnswer bounds a provider's answer in bytes.
const maxAnswer = 1 << 20

// asker asks providers over HTTP. Its errors are shown to everyone who may read a
// rollout: they hold nothing of what was answered, and of the URL only the host.
type asker struct {
	client *http.Client
	close  func() // connections that are idle
}

func newAsker(transport http.RoundTripper) *asker {
	a := &asker{close: func() {}}
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxResponseHeaderBytes, own.IdleConnTimeout = 64<<10, 90*time.Second
		transport, a.close = own, own.CloseIdleConnections
	}
	// A redirect could lead anywhere, with what is asked.
	a.client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return a
}

// ask returns the value a provider says, within its timeout.
func (a *asker) ask(ctx context.Context, p translate.Provider, q question) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, p.Timeout)
	defer cancel()
	if p.URL != "" {
		return a.askWebhook(ctx, p, q)
	}
	return a.askPrometheus(ctx, p)
}

// askPrometheus evaluates an instant query
// (https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries).
func (a *asker) askPrometheus(ctx context.Context, p translate.Provider) (float64, error) {
	form := url.Values{"query": {p.Query}}.Encode()
	status, body, err := a.post(ctx, p.Address+"/api/v1/query", "application/x-www-form-urlencoded", []byte(form))
	if err != nil {
		return 0, err
	}
	var answer struct {
		Status    string `json:"status"`
		ErrorType string `json:"errorType"`
		Data      struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	unread := json.Unmarshal(body, &answer) != nil
	switch {
	case !unread && answer.Status == "error":
		return 0, fmt.Errorf("Prometheus answered %d: the query failed%s", status, errorType(answer.ErrorType))
	case status != http.StatusOK:
		return 0, fmt.Errorf("Prometheus answered %d %s", status, http.StatusText(status))
	case unread || answer.Status != "success":
		return 0, errors.New("what answers is no Prometheus: want JSON with status and data")
	}
	return number(answer.Data.ResultType, answer.Data.Result)
}

// errorType is the kind of a Prometheus error, where it is one of those that its
// documentation names.
func errorType(s string) string {
	switch s {
	case "timeout", "canceled", "execution", "bad_data", "internal", "unavailable", "not_found", "not_acceptable":
		return " (" + s + ")"
	}
	return ""
}

// number is the one number of a result.
func number(kind string, result json.RawMessage) (float64, error) {
	sample := result
	switch kind {
	case "scalar":
	case "vector":
		var vector []struct {
			Value     json.RawMessage `json:"value"`
			Histogram json.RawMessage `json:"histogram"`
		}
		if json.Unmarshal(result, &vector) != nil {
			return 0, errors.New("the vector that came cannot be read")
		}
		if len(vector) != 1 {
			return 0, fmt.Errorf("the query's answer is a vector of %d elements, not one number; aggregate it, for instance by sum()", len(vector))
		}
		if vector[0].Histogram != nil {
			return 0, errors.New("the query's answer is a histogram, not a number; take a quantile of it, for instance by histogram_quantile()")
		}
		sample = vector[0].Value
	case "matrix", "string":
		return 0, fmt.Errorf("the query's answer is a %s, not one number; ask for a scalar or a vector of one element", kind)
	default:
		return 0, errors.New("the query's answer is of no known type")
	}
	var pair [2]any
	if json.Unmarshal(sample, &pair) != nil {
		return 0, errors.New("the value that came cannot be read")
	}
	text, _ := pair[1].(string)
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 0, errors.New("the value that came is no number")
	}
	return v, nil
}

// inquiry is what a webhook is sent.
type inquiry struct {
	Rollout   string `json:"rollout"` // namespace/name
	Stable    string `json:"stable"`
	Candidate string `json:"candidate"`
	Attempt   int64  `json:"attempt"`
	// Share of the candidate in percent, 0 to 100.
	Share float64 `json:"share"`
}

func (a *asker) askWebhook(ctx context.Context, p translate.Provider, q question) (float64, error) {
	out, err := json.Marshal(inquiry{Rollout: q.rollout, Stable: q.stable, Candidate: q.candidate, Attempt: q.attempt, Share: float64(q.share) / 100})
	if err != nil {
		return 0, err
	}
	status, body, err := a.post(ctx, p.URL, "application/json", out)
	if err != nil {
		return 0, err
	}
	if status < 200 || status > 299 {
		return 0, fmt.Errorf("the webhook answered %d %s", status, http.StatusText(status))
	}
	var answer struct {
		Value *float64 `json:"value"`
	}
	if json.Unmarshal(body, &answer) != nil || answer.Value == nil {
		return 0, errors.New(`the webhook's answer is not {"value": NUMBER}`)
	}
	return *answer.Value, nil
}

// post sends body and returns the answer.
func (a *asker) post(ctx context.Context, to, contentType string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return 0, nil, errors.New("its URL is none") // err would show it
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "crossfade")
	resp, err := a.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("ask %s: %w", req.URL.Host, bare(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 && resp.StatusCode <= 399 {
		return 0, nil, fmt.Errorf("%s answered %d: redirects are not followed; name the address it leads to", req.URL.Host, resp.StatusCode)
	}
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("read the answer of %s: %w", req.URL.Host, bare(err))
	case len(answer) > maxAnswer:
		return 0, nil, fmt.Errorf("the answer of %s is longer than 1 MiB", req.URL.Host)
	}
	return resp.StatusCode, answer, nil
}

// bare is an error without the URL and without anything that was answered.
func bare(err error) error {
	var network *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return errors.New("no answer in time")
	case errors.As(err, &network):
		return network
	case errors.As(err, &certificate):
		return certificate
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the connection was closed before the answer's end")
	}
	return errors.New("what answers speaks no HTTP that could be understood")
}

package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// heldBody is a request body in memory.
type heldBody struct {
	buffer *[]byte // nil: no body is held
	taken  int64   // from the proxy's budget
}

// release gives the memory back. Nothing may point into it any more.
func (h *heldBody) release(p *Proxy) {
	if h.buffer == nil {
		return
	}
	p.buffers.put(h.buffer)
	p.memory.give(h.taken)
	*h = heldBody{}
}

// readBody makes the request's body ready to be forwarded: in memory and scanned
// when it may name a model, as a stream otherwise.
func (x *exchange) readBody() *refusal {
	r := x.r
	known := r.Method == http.MethodPost && (namesModel(r.URL.Path) || x.rewritesToModel())
	if !x.rule.Inference() || !known && !hasBody(r) {
		return x.streamBody()
	}
	kind := mediaType(r.Header.Get("Content-Type"))
	if !known && !mayBeJSON(kind) || known && isUpload(kind) {
		return x.streamBody()
	}
	if no := x.hold(); no != nil {
		return no
	}
	body := *x.body.buffer
	if !known && (!startsObject(body) || encoded(r)) {
		return nil // whatever it is, it names no model that we could read
	}
	return x.scan(body, known)
}

// startsObject reports whether a body may be a JSON object.
func startsObject(body []byte) bool {
	body = bytes.TrimLeft(body, " \t\r\n")
	return len(body) > 0 && body[0] == '{'
}

// encoded reports whether the body is compressed or the like.
func encoded(r *http.Request) bool {
	e := r.Header.Get("Content-Encoding")
	return e != "" && !strings.EqualFold(e, "identity")
}

// scan reads what the gateway needs to know of a body in memory. required says
// that the path is one where a call without a model cannot be served.
func (x *exchange) scan(body []byte, required bool) *refusal {
	if encoded(x.r) {
		return refuse(&llm.Error{
			Status: http.StatusUnsupportedMediaType, Type: "invalid_request_error", Code: "unsupported_content_encoding",
			Message: "The gateway reads the model's name in the body and cannot do so in an encoded one; send it without Content-Encoding.",
		}, llm.ReasonBadRequest)
	}
	request, err := llm.Scan(body)
	if err != nil {
		var public *llm.Error
		if !errors.As(err, &public) {
			public = llm.BadRequest("", "The request body cannot be read.")
		}
		return refuse(public, llm.ReasonBadRequest)
	}
	if required && !request.HasModel {
		return refuse(llm.MissingModel(), llm.ReasonBadRequest)
	}
	x.request = request
	x.visit.Outcome.Model, x.visit.Outcome.Stream = request.Model, request.Stream
	x.visit.Outcome.PromptBytes = len(request.Prompt)
	return nil
}

// hasBody reports whether the request has a body, as far as its head says.
func hasBody(r *http.Request) bool {
	return r.Body != nil && r.Body != http.NoBody && r.ContentLength != 0
}

// namesModel reports whether path is one of the APIs whose body names a model.
// What precedes /v1/ does not matter: routes may serve them under a prefix.
func namesModel(path string) bool {
	i := strings.LastIndex(path, "/v1/")
	if i < 0 {
		return false
	}
	switch path[i+len("/v1/"):] {
	case "chat/completions", "completions", "embeddings", "responses", "messages", "messages/count_tokens",
		"rerank", "score", "pooling", "classify", "audio/speech", "images/generations":
		return true
	}
	return false
}

// limitField is the key by which a call of the API at path says how many tokens its
// answer may have, "" where it cannot.
func limitField(path string) string {
	switch i := strings.LastIndex(path, "/v1/"); path[max(i, 0):] {
	case "/v1/chat/completions", "/v1/completions", "/v1/messages":
		return "max_tokens"
	case "/v1/responses":
		return "max_output_tokens"
	}
	return ""
}

// rewritesToModel reports whether the rule makes the path one that names a model.
func (x *exchange) rewritesToModel() bool {
	rewrite := x.rule.Filters.Rewrite
	return rewrite != nil && rewrite.Path.Type != routing.KeepPath &&
		namesModel(rewrite.Path.Apply(x.r.URL.EscapedPath(), x.visit.Route.Match.Path))
}

// formType is what curl says a body is when nobody tells it otherwise.
const formType = "application/x-www-form-urlencoded"

// mediaType returns the media type of a Content-Type without its parameters.
func mediaType(contentType string) string {
	if i := strings.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	return strings.TrimSpace(contentType)
}

// mayBeJSON reports whether a body of this media type is worth reading for a
// model. Types without a type are: many clients forget it.
func mayBeJSON(kind string) bool {
	return kind == "" || strings.EqualFold(kind, "application/json") || strings.EqualFold(kind, formType) ||
		len(kind) > 5 && strings.EqualFold(kind[len(kind)-5:], "+json")
}

// isUpload reports whether a body of this media type is surely no JSON, so that
// it passes as a stream even where JSON is expected; the engine will judge.
func isUpload(kind string) bool {
	return len(kind) >= 10 && strings.EqualFold(kind[:10], "multipart/") ||
		strings.EqualFold(kind, "application/octet-stream")
}

// limit returns the largest body that may be held, and who says so.
func (x *exchange) limit() (n int64, source string) {
	if l := x.visit.Listener; l.MaxBodyBytes > 0 {
		return l.MaxBodyBytes, l.MaxBodySource
	}
	return x.proxy.limits.MaxBodyBytes, "the gateway's default"
}

func tooLarge(limit int64, source string) *refusal {
	no := refuse(llm.TooLarge(limit, source), llm.ReasonBodyTooLarge)
	no.closing = true
	return no
}

// firstRead is how much memory a body is given before any of it has come, so that
// a client cannot reserve much by announcing much.
const firstRead = 64 << 10

// hold reads the whole body into memory.
func (x *exchange) hold() *refusal {
	limit, source := x.limit()
	length := x.r.ContentLength
	if length > limit {
		// Before reading: a client that waits for 100 Continue sends nothing.
		return tooLarge(limit, source)
	}
	if no := x.grow(min(max(length, 0)+1, firstRead)); no != nil {
		return no
	}
	if !hasBody(x.r) {
		return nil
	}
	err := x.fill(limit)
	x.visit.Outcome.BytesIn = int64(len(*x.body.buffer))
	switch {
	case err == io.EOF:
		x.ended = true
		return nil
	case err == errTooLarge:
		return tooLarge(limit, source)
	case err == errNoMemory:
		return overloaded()
	}
	return x.blameClient(err)
}

var (
	errTooLarge = errors.New("body exceeds its limit")
	errNoMemory = errors.New("no memory for bodies is left")
)

// fill reads until the body ends, which is io.EOF, or the limit is passed.
func (x *exchange) fill(limit int64) error {
	stall := newStall(x.w, x.proxy.timeouts.BodyRead, x.ctx)
	defer stall.end()
	for {
		b := *x.body.buffer
		if len(b) == cap(b) {
			if no := x.grow(x.nextSize(int64(cap(b)))); no != nil {
				return errNoMemory
			}
			b = *x.body.buffer
		}
		stall.rearm()
		n, err := x.r.Body.Read(b[len(b):cap(b)])
		*x.body.buffer = b[:len(b)+n]
		switch {
		case int64(len(b)+n) > limit:
			return errTooLarge
		case err != nil:
			return err
		}
	}
}

// nextSize is what a full buffer grows to: twice as much, or what the body is known
// to need together with a byte in which to find its end.
func (x *exchange) nextSize(full int64) int64 {
	if length := x.r.ContentLength; length >= full {
		return min(2*full, length+1)
	}
	return 2 * full
}

// grow moves the body into a buffer of at least n bytes.
func (x *exchange) grow(n int64) *refusal {
	p := x.proxy
	size := roundUp(n)
	if !p.memory.take(size) {
		return overloaded()
	}
	buffer := p.buffers.get(n)
	if x.body.buffer != nil {
		*buffer = append(*buffer, *x.body.buffer...)
		x.body.release(p)
	}
	x.body = heldBody{buffer: buffer, taken: size}
	return nil
}

func overloaded() *refusal {
	no := refuseBriefly(llm.Overloaded("The gateway holds as many request bodies as it has memory for; try again."), llm.ReasonOverloaded)
	no.closing = true
	return no
}

// blameClient is the refusal for a body that could not be read.
func (x *exchange) blameClient(err error) *refusal {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{
			public: &llm.Error{Status: http.StatusRequestTimeout, Type: "invalid_request_error", Code: "body_timeout",
				Message: "The request body did not arrive in time."},
			reason: llm.ReasonClientClosed, closing: true,
		}
	case x.r.Context().Err() != nil:
		return clientGone()
	}
	no := refuse(llm.BadRequest("", "The request body broke off or is framed wrongly; check Content-Length and chunk sizes."), llm.ReasonBadRequest)
	no.closing = true
	return no
}

// A stall sets deadlines for a client that stops sending.
type stall struct {
	writer http.ResponseWriter
	period time.Duration
	until  time.Time // the deadline that stands
	last   time.Time // no deadline is later than this; zero: none
}

func newStall(w http.ResponseWriter, period time.Duration, ctx context.Context) stall {
	last, _ := ctx.Deadline()
	return stall{writer: w, period: period, last: last}
}

// rearm makes the next read fail when it waits for about period. Most bodies are
// there at once, so a deadline is set once and moved only when half used up.
func (s *stall) rearm() {
	if s.period <= 0 {
		return
	}
	now := time.Now()
	if s.until.Sub(now) > s.period/2 {
		return
	}
	s.until = now.Add(s.period)
	if !s.last.IsZero() && s.last.Before(s.until) {
		s.until = s.last
	}
	// Servers that cannot do it have their own ways, or none.
	_ = http.NewResponseController(s.writer).SetReadDeadline(s.until)
}

// end takes the deadline away: reading on is how the server notices a client
// that leaves.
func (s *stall) end() {
	if !s.until.IsZero() {
		_ = http.NewResponseController(s.writer).SetReadDeadline(time.Time{})
	}
}

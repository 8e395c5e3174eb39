package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// ExternalPicker begins the conversation about one request with the picker of a
// pool, whose Picker is not nil. It ends with ctx.
type ExternalPicker func(ctx context.Context, pool *routing.Pool) Consultation

// AnswerBody is the body of an answer and, after io.EOF, its trailer.
type AnswerBody = interface {
	io.Reader
	Trailer() http.Header
}

// A Consultation is the conversation with an external endpoint picker about one
// request. Its methods are called one after another, Choose first and Close last.
// Errors are a *scheduling.ExternalAnswer, which the client is to be given, or wrap
// scheduling.ErrExternal, or are the end of the request's context.
type Consultation interface {
	// Choose returns the addresses in pool to try, best first, and what to send in
	// body's place, nil when it stays. header holds the pseudo-headers under their own
	// names; it is changed.
	Choose(header http.Header, body [][]byte) (endpoints []string, replaced [][]byte, err error)
	// Context ends with the request's, and when the picker will not have the request
	// served any longer; its cause is then one of the errors above.
	Context() context.Context
	// Answer shows the answer that the endpoint at address served gave; header holds
	// :status and is changed, body is nil when there is none. It returns what to pass
	// on in body's place, nil when body itself. Body may be read by another goroutine
	// until it has been closed.
	Answer(served string, header http.Header, body AnswerBody) (AnswerBody, error)
	// Close ends the conversation. The endpoint's answer must have been closed.
	Close()
}

// consult has the pool's external picker choose, where there is one. Without its
// choice the in-process picker chooses, or the request fails, as the pool has it.
func (x *exchange) consult() *refusal {
	if x.pool.Picker == nil {
		return nil
	}
	x.began()
	err := x.choose()
	if err == nil || errors.Is(err, scheduling.ErrExternal) && x.pool.Picker.FailOpen {
		return nil
	}
	return x.blame(err)
}

func (x *exchange) choose() error {
	if x.proxy.external == nil {
		return scheduling.ErrExternal
	}
	c := x.proxy.external(x.ctx, x.pool)
	header := x.headerForPicker()
	endpoints, body, err := c.Choose(header, x.out.Body)
	if err != nil {
		c.Close()
		return err
	}
	x.consultation, x.chosen, x.ctx = c, endpoints, c.Context()
	x.takeHeader(header)
	if body != nil {
		x.out.Body = body
	}
	return nil
}

// headerForPicker returns what the picker is shown of the request's head: what the
// engine would be sent, and what clients may tell pickers. Where the request goes
// is not theirs to say.
func (x *exchange) headerForPicker() http.Header {
	h := make(http.Header, len(x.header)+8)
	for name, values := range x.r.Header {
		if isControl(name) {
			h[name] = values
		}
	}
	for name, values := range x.header {
		h[name] = values
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Gateway-Destination-Endpoint") {
			delete(h, name)
		}
	}
	h[":method"] = []string{x.out.Method}
	h[":scheme"] = []string{x.forwarded[1]}
	h[":authority"] = []string{x.out.Host}
	h[":path"] = []string{x.out.Target}
	if x.body.buffer != nil {
		size := 0
		for _, part := range x.out.Body {
			size += len(part)
		}
		h["Content-Length"] = []string{strconv.Itoa(size)}
	}
	return h
}

// takeHeader makes what a picker left of h the engine's.
func (x *exchange) takeHeader(h http.Header) {
	clear(x.header)
	for name, values := range h {
		if name[0] != ':' && !isControl(name) && (!isHopByHop(name) || name == "Upgrade") {
			x.header[name] = values
		}
	}
	if x.restorer != nil {
		x.header["Accept-Encoding"] = identity
	}
}

// nextChosen puts the next endpoint that the external picker chose into x.call. It
// returns false when none is left.
func (x *exchange) nextChosen() bool {
	if x.consultation == nil {
		return true
	}
	if len(x.chosen) == 0 {
		return false
	}
	x.call.Chosen, x.chosen = x.chosen[0], x.chosen[1:]
	return true
}

// others reports whether another endpoint than the one that was picked could be.
func (x *exchange) others() bool {
	if x.consultation != nil {
		return len(x.chosen) > 0
	}
	return len(x.pool.Endpoints) > len(x.call.Tried)+1
}

// engineBody is a reply of its own, so that another goroutine can read it while the
// exchange closes its.
type engineBody struct{ reply }

// Trailer is valid after io.EOF.
func (b *engineBody) Trailer() http.Header { return b.trailer() }

// showPicker has the answer whose head has come pass through the external picker.
func (x *exchange) showPicker() *refusal {
	if x.consultation == nil || x.reply.status == http.StatusSwitchingProtocols {
		return nil
	}
	var body AnswerBody
	if x.reply.length != 0 && !x.bodiless() {
		body = &engineBody{x.reply}
	}
	h := x.reply.header
	h[":status"] = []string{strconv.Itoa(x.reply.status)}
	through, err := x.consultation.Answer(x.decision.Endpoint.Address, h, body)
	delete(h, ":status")
	if err != nil {
		return x.blame(err)
	}
	if through != nil {
		// Of what length it will be, nobody knows.
		x.reply.through, x.reply.length = through, -1
	}
	return nil
}

// endConsultation takes leave of the external picker. The reply has been closed.
func (x *exchange) endConsultation() {
	if x.consultation != nil {
		x.consultation.Close()
		x.consultation = nil
	}
}

// blameExternal returns the refusal for what an external picker said or failed to,
// nil when the fault is another's.
func (x *exchange) blameExternal(err error) *refusal {
	for _, e := range [...]error{err, context.Cause(x.ctx)} {
		var answer *scheduling.ExternalAnswer
		switch {
		case errors.As(e, &answer):
			return refuseFor(answer)
		case errors.Is(e, scheduling.ErrExternal):
			return refuseBriefly(llm.Unavailable("The pool's endpoint picker gave no usable answer."), llm.ReasonPickerFailed)
		}
	}
	return nil
}

// refuseFor returns the refusal that gives the client a picker's answer. Where that
// cannot be given any more, because another has begun, the words are ours.
func refuseFor(a *scheduling.ExternalAnswer) *refusal {
	public := &llm.Error{Status: a.Status, Type: "server_error", Code: "picker_rejected", Message: "The pool's endpoint picker ended the request."}
	reason := llm.ReasonPickerRejected
	switch {
	case a.Status < 400:
		reason = llm.ReasonOK
	case a.Status == http.StatusTooManyRequests:
		public.Type, reason = "rate_limit_error", llm.ReasonRateLimited
	case a.Status == http.StatusServiceUnavailable:
		reason = llm.ReasonNoEndpoints
	case a.Status < 500:
		public.Type = "invalid_request_error"
	}
	return &refusal{public: public, reason: reason, given: a}
}

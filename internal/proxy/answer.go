package proxy

import (
	"io"
	"net/http"
	"strings"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/upstream"
)

// A reply is an engine's answer whose head has arrived, over either protocol.
type reply struct {
	plain *upstream.Response
	h2    *transportResponse
	// through is the body after an external picker saw it; nil: none does.
	through AnswerBody

	status int
	header http.Header
	length int64 // of the body in bytes, -1 when the engine did not say
}

func (a *reply) open() bool { return a.plain != nil || a.h2 != nil }

// Read returns what arrived together.
func (a *reply) Read(p []byte) (int, error) {
	if a.through != nil {
		return a.through.Read(p)
	}
	if a.plain != nil {
		return a.plain.Read(p)
	}
	return a.h2.Read(p)
}

// trailer is valid after io.EOF.
func (a *reply) trailer() http.Header {
	if a.through != nil {
		return a.through.Trailer()
	}
	if a.plain != nil {
		return a.plain.Trailer
	}
	return a.h2.Trailer
}

// close ends the answer; before its end that tells the engine to stop at once.
func (a *reply) close() {
	if a.plain != nil {
		a.plain.Close()
	}
	if a.h2 != nil {
		a.h2.Close()
	}
	a.plain, a.h2 = nil, nil
}

var _ io.Reader = (*reply)(nil)

// answer passes the engine's answer on to the client.
func (x *exchange) answer() *refusal {
	x.visit.Outcome.Status = x.reply.status
	if x.reply.status == http.StatusSwitchingProtocols {
		return x.join()
	}
	if x.reply.status >= 500 {
		x.tellFailed(llm.ReasonUpstreamError)
	}
	contentType := x.reply.header.Get("Content-Type")
	plainText := x.reply.header.Get("Content-Encoding") == ""
	x.events = strings.EqualFold(mediaType(contentType), "text/event-stream")
	x.metered = plainText && (x.pool.Inference || x.events)
	if x.metered {
		x.meter.Reset(contentType)
		if x.request.HasModel {
			x.meter.Expect(&x.request)
		}
	}
	if x.restorer != nil && !(plainText && (x.events || mayBeJSON(mediaType(contentType)))) {
		x.restorer = nil
	}
	x.writeHead()
	x.stream()
	x.reply.close()
	return nil
}

// writeHead sends status and header. An answer without a length is sent in chunks,
// each as it comes, and so is its head.
func (x *exchange) writeHead() {
	x.copyAnswerHeader(x.reply.header)
	length := x.reply.length
	bodiless := x.bodiless()
	if length >= 0 && x.reply.status != http.StatusNoContent && (x.restorer == nil || bodiless) {
		if field := x.reply.header["Content-Length"]; len(field) == 1 {
			x.w.Header()["Content-Length"] = field[:1:1]
		}
	}
	// A body whose length is known leaves as the server's buffers fill: its end is
	// certain, and its pieces mean nothing on their own.
	x.flushing = (length < 0 || x.events) && !bodiless
	if x.upload != nil && x.r.ProtoMajor == 1 && !x.bodyEnded() {
		// The engine answers before it has the body. The rest of it may never be read,
		// and then nobody can tell where the next request begins.
		x.w.Header()["Connection"] = []string{"close"}
	}
	x.wrote = true
	x.w.WriteHeader(x.reply.status)
	if x.flushing {
		x.flush()
	}
}

// bodiless reports whether the answer has no body, whatever its head says.
func (x *exchange) bodiless() bool {
	return x.r.Method == http.MethodHead || x.reply.status == http.StatusNoContent || x.reply.status == http.StatusNotModified
}

// informational passes a 1xx response on. Those about our own connection to the
// engine are none of the client's business.
func (x *exchange) informational(status int, header http.Header) {
	if status == http.StatusContinue || x.wrote {
		return
	}
	h := x.w.Header()
	for name, values := range header {
		if !isHopByHop(name) {
			h[name] = values
		}
	}
	x.w.WriteHeader(status)
	clear(h)
}

// settle completes the Outcome and ends the endpoint's reservation.
func (x *exchange) settle() {
	if x.reply.open() {
		x.reply.close()
	}
	x.endConsultation()
	o := &x.visit.Outcome
	if x.metered {
		o.Report = x.meter.Result()
	}
	if x.upload != nil {
		o.BytesIn = x.upload.read.Load()
	}
	if o.Reason == "" {
		o.Reason = x.reason()
	}
	o.End = x.proxy.now()
	x.endTry(o.Reason)
}

// reason tells how an answer ended that was passed on whole.
func (x *exchange) reason() string {
	reason := answerReason(&x.visit.Outcome, x.events, x.request.HasModel && x.pool.Inference)
	if reason == llm.ReasonUpstreamTruncated && x.r.Context().Err() != nil {
		// An engine ends its answer early when it hears that nobody listens.
		return llm.ReasonClientClosed
	}
	return reason
}

// answerReason tells how an answer ended of which all came that the engine sent.
// events says that it is an event stream, modelCall that it answers one.
func answerReason(o *llm.Outcome, events, modelCall bool) string {
	switch {
	case o.Status >= 500:
		return llm.ReasonUpstreamError
	case o.Status >= 400:
		return llm.ReasonUpstreamRejected
	case events && o.Report.Failed:
		return llm.ReasonUpstreamStreamError
	case events && modelCall && !o.Report.Done:
		// Streams of model calls have a last event; others may end as they like.
		return llm.ReasonUpstreamTruncated
	}
	return llm.ReasonOK
}

package proxy

import (
	"io"
	"net/http"

	"crossfade.dev/internal/llm"
)

// Sizes of the buffer between engine and client. A stream of tokens needs little
// and there may be thousands that wait; bulk earns more once it shows itself.
const (
	streamBuffer = 4 << 10
	bulkBuffer   = 32 << 10
)

// tokensReported is after how many tokens the reservation hears of them: each time
// takes a lock that the pool's calls share.
const tokensReported = 16

// stream passes the body on, each piece as it arrives.
func (x *exchange) stream() {
	size := int64(streamBuffer)
	if x.reply.length > streamBuffer {
		size = bulkBuffer
	}
	buffer := x.proxy.buffers.get(size)
	defer func() { x.proxy.buffers.put(buffer) }()
	for {
		p := (*buffer)[:cap(*buffer)]
		n, err := x.reply.Read(p)
		if n > 0 && !x.pass(p[:n]) {
			x.clientLeft()
			return
		}
		switch {
		case err == io.EOF:
			x.complete()
			return
		case err != nil:
			x.breakOff(err)
			return
		case n == len(p) && n < bulkBuffer:
			x.proxy.buffers.put(buffer)
			buffer = x.proxy.buffers.get(bulkBuffer)
		}
	}
}

// computes reports whether an engine that answers with a status has computed the
// prompt. A refusal comes at once, and would be taken for speed.
func computes(status int) bool { return status < http.StatusBadRequest }

// pass sends one piece to the client and reports whether that worked.
func (x *exchange) pass(p []byte) bool {
	now := x.proxy.now()
	o := &x.visit.Outcome
	if o.FirstByte.IsZero() {
		o.FirstByte = now
		if computes(x.reply.status) {
			x.decision.Reservation.FirstToken(now)
		}
		x.tellFirstByte()
	}
	if x.metered {
		before := x.tokens
		x.meter.Observe(p, now)
		if x.tokens/tokensReported != before/tokensReported {
			x.decision.Reservation.Tokens(x.tokens)
		}
	}
	if x.restorer != nil {
		x.restored = x.restorer.Rewrite(x.restored[:0], p)
		p = x.restored
	}
	return x.write(p)
}

// complete ends an answer that arrived whole.
func (x *exchange) complete() {
	if !x.flushRestorer() {
		x.clientLeft()
		return
	}
	x.rearmEnd()
	h := x.w.Header()
	for name, values := range x.reply.trailer() {
		h[http.TrailerPrefix+name] = values
	}
}

func (x *exchange) flushRestorer() bool {
	if x.restorer == nil {
		return true
	}
	x.restored = x.restorer.Flush(x.restored[:0])
	return x.write(x.restored)
}

// clientLeft ends an exchange whose client takes no more. The engine is told at
// once.
func (x *exchange) clientLeft() {
	x.reply.close()
	x.visit.Outcome.Reason = llm.ReasonClientClosed
	x.aborted = true
}

// breakOff ends an answer whose engine failed in the middle. The client has seen
// part of it, so no other engine can go on. An event stream can carry the news and
// end properly; of anything else the client can only tell that it is not whole by
// its connection breaking.
func (x *exchange) breakOff(err error) {
	if x.events && x.metered && x.meter.Result().Done {
		x.complete() // nothing is missing but the end of the framing
		return
	}
	no := x.blame(err)
	x.visit.Outcome.Reason = no.reason
	if no.gone || !x.events || !x.metered || !x.flushRestorer() {
		x.aborted = true
		return
	}
	var event []byte
	if !x.meter.AtBoundary() {
		// Half an event was sent. The blank line makes it one that cannot be parsed,
		// instead of one that swallows what follows.
		event = append(event, "\n\n"...)
	}
	event = append(event, no.public.Event()...)
	x.aborted = !x.write(event)
}

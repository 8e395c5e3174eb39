package sim

import (
	"context"
	"net"
	"net/http"
	"strconv"
)

// runStream sends an answer as server-sent events. As with vLLM the status and
// headers leave at once, before the first token is computed.
func (s *Server) runStream(ctx context.Context, w http.ResponseWriter, j *job, c *call) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	out := &streamer{job: j, control: http.NewResponseController(w), w: w, rest: make([]string, len(j.choices))}
	for i, ch := range j.choices {
		out.rest[i] = ch.answer.text
	}
	out.seen = make([]progress, len(j.choices))
	if out.flush() != nil {
		return
	}
	var state []progress
	for !allDone(out.seen) {
		if c.wait(ctx) != nil {
			return
		}
		state = c.read(state)
		if out.advance(state) != nil {
			return
		}
	}
	if j.mishap.transport == "break" {
		out.cut() // the answer was shorter than the fault allows
	}
	out.buf = j.format.close(out.buf, j, state)
	_ = out.flush() // the last write: nothing depends on it
}

// streamer writes the frames of one stream.
type streamer struct {
	job     *job
	w       http.ResponseWriter
	control *http.ResponseController
	buf     []byte
	rest    []string   // text not yet sent, per choice
	seen    []progress // what has been sent
	opened  bool
	sent    int // tokens of all choices
}

// advance sends what has come since the last call, in one write.
func (o *streamer) advance(state []progress) error {
	if !o.opened {
		o.opened = true
		o.buf = o.job.format.open(o.buf, o.job)
	}
	for i, now := range state {
		for o.seen[i].tokens < now.tokens {
			o.breakIfDue()
			o.seen[i].tokens++
			o.seen[i].cached = now.cached
			o.seen[i].done = now.done && o.seen[i].tokens == now.tokens
			var text string
			text, o.rest[i] = cutTokens(o.rest[i], 1)
			o.buf = o.job.format.piece(o.buf, o.job, i, text, o.seen)
			o.sent++
		}
	}
	return o.flush()
}

// breakIfDue cuts the connection when the fault lets no more tokens through.
func (o *streamer) breakIfDue() {
	if m := o.job.mishap; m.transport == "break" && o.sent >= m.after {
		o.cut()
	}
}

// cut sends what is ready and closes the connection without an end.
func (o *streamer) cut() {
	_ = o.flush() // the connection is closed anyway
	panic(http.ErrAbortHandler)
}

func (o *streamer) flush() error {
	if len(o.buf) > 0 {
		if _, err := o.w.Write(o.buf); err != nil {
			return err
		}
		o.buf = o.buf[:0]
	}
	return o.control.Flush()
}

// breakWhole sends half of an answer and cuts the connection.
func breakWhole(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body[:len(body)/2])
	_ = http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// reset closes the connection so that the peer sees a TCP reset, or at least a
// connection closed without an answer where there is no TCP to reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// appendEvent appends one server-sent event, with a name if it has one.
func appendEvent(b []byte, name string, v any) []byte {
	if name != "" {
		b = append(b, "event: "...)
		b = append(b, name...)
		b = append(b, '\n')
	}
	b = append(b, "data: "...)
	b = append(b, encodeJSON(v)...)
	return append(b, "\n\n"...)
}

// appendString appends s as a JSON string. Text that needs no escape, which is
// nearly all of it, is copied.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return append(b, encodeJSON(s)...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

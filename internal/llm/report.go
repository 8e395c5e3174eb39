package llm

import "time"

// Report is what a [Meter] knows of a response.
type Report struct {
	Usage Usage

	Model        string // as the engine answered; "" when it did not say
	FinishReason string // finish_reason, stop_reason or final status; the last one seen

	// FirstToken is when the first content was forwarded: the first event that
	// brings text, reasoning or a tool call (one that only names the role does
	// not count), or the first byte of a body that is no event stream.
	// LastToken is the same for the last. Both are zero when there was none.
	FirstToken, LastToken time.Time

	// Tokens is Usage.CompletionTokens when the response reported usage, else
	// ContentEvents, which is about the same for engines that send each token
	// as it is made.
	Tokens int

	Events        int  // complete server-sent events with data
	ContentEvents int  // of these, those with content
	Gaps          Gaps // between content events
	Done          bool // the stream said that it is complete, or the JSON document is
	Failed        bool // the body is an error, or an error came in the stream
}

// Gaps sums up the times between content events, which is the inter-token
// latency of an engine that sends each token as it is made. Events that were
// forwarded together have gaps of 0 between them.
type Gaps struct {
	Count    int
	Sum, Max time.Duration
}

func (g *Gaps) add(gap time.Duration) {
	g.Count++
	g.Sum += gap
	g.Max = max(g.Max, gap)
}

// Mean returns the average gap, 0 when there was none.
func (g Gaps) Mean() time.Duration {
	if g.Count == 0 {
		return 0
	}
	return g.Sum / time.Duration(g.Count)
}

// Result returns what is known so far. The response need not have ended.
func (m *Meter) Result() Report {
	r := m.count
	r.Usage = m.usage.usage()
	r.Model = string(m.model)
	r.FinishReason = finishReason(m.finish)
	r.Tokens = r.ContentEvents
	if r.Usage.Known {
		r.Tokens = r.Usage.CompletionTokens
	}
	return r
}

// finishReason returns text as a string, without allocating for the reasons
// that engines give.
func finishReason(text []byte) string {
	switch string(text) {
	case "stop":
		return "stop"
	case "length":
		return "length"
	case "tool_calls":
		return "tool_calls"
	case "content_filter":
		return "content_filter"
	case "completed":
		return "completed"
	case "incomplete":
		return "incomplete"
	case "end_turn":
		return "end_turn"
	case "max_tokens":
		return "max_tokens"
	}
	return string(text)
}

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

	Quality
}

// Quality is what a [Meter] knows of the worth of an answer. Of several choices
// the worst counts. Up to [MaxJudged] choices and as many tool calls of a
// response are looked at. Everything but Looping is known only of an answer that
// ended well: Done and not Failed.
type Quality struct {
	// Empty: an answer of a generating API says nothing, or nothing but white
	// space, and calls no tool. Reasoning alone is empty, for it is no answer.
	// Responses of other APIs, such as embeddings, are never Empty.
	Empty bool

	// Looping: more than half of what was written in the course of some stretch
	// had been written shortly before, word for word; see repetition.go. Known
	// as soon as it is seen, so also of an answer that a client broke off.
	Looping bool

	// WantedJSON: the request asked for JSON, and the answer could be judged by
	// that: it is neither a refusal nor a tool call.
	// InvalidJSON: it did, and the answer is not one JSON value. That includes
	// empty answers and those cut by their token limit: whoever parses them
	// fails either way, and FinishReason tells them apart.
	WantedJSON, InvalidJSON bool

	// ToolCalls is how many calls of functions were looked at, InvalidToolCalls
	// how many of these name no tool that the request offered, or have arguments
	// that are not one JSON object. Calls in Anthropic's format, calls of
	// built-in tools, and calls in answers to requests that were not read (see
	// [Meter.Expect]) are not looked at.
	ToolCalls, InvalidToolCalls int
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
	r.Quality = m.judge.quality(r.Done && !r.Failed)
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

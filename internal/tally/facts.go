package tally

import (
	"net/http"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
)

// An event is something that happens to a unit or not.
type event uint8

const (
	errored event = iota
	refused
	aborted
	cutAtLength
	filtered
	empty
	looping
	badJSON
	badToolCall
	numEvents
)

// eventNames are the events' names in guardrails.
var eventNames = [numEvents]string{
	errored: rollout.ErrorRate, refused: rollout.Rejected, aborted: rollout.ClientAborts, cutAtLength: rollout.FinishLength, filtered: rollout.ContentFilter,
	empty: rollout.EmptyAnswer, looping: rollout.LoopingAnswer, badJSON: rollout.InvalidJSON, badToolCall: rollout.InvalidToolCall,
}

// A set of events.
type events uint16

func (s *events) add(e event)     { *s |= 1 << e }
func (s events) has(e event) bool { return s>>e&1 == 1 }

// A measure is a quantity of a unit.
type measure uint8

const (
	ttft measure = iota
	tpot
	slowestGap
	e2e
	outputTokens
	numMeasures
)

// measureNames are the measures' names in guardrails.
var measureNames = [numMeasures]string{
	ttft: rollout.TTFT, tpot: rollout.TPOT, slowestGap: rollout.SlowestGap, e2e: rollout.E2E, outputTokens: rollout.OutputTokens,
}

// facts are what a finished request says.
type facts struct {
	asked, had events
	// measured are buckets of package stats; less than 0: not measured.
	measured [numMeasures]int16
	prompt   prompt
	stream   bool
}

// kind is what the end of a request says of the version that was asked.
type kind int

const (
	nothing  kind = iota // it was not asked, or somebody else is to blame
	answered             // well, as far as the status tells
	rejected             // it found fault with the request
	failed
	left // the client went away
)

// kindOf sorts the reasons of package llm. A pool without an endpoint or without its
// picker fails its requests like an endpoint does: both belong to the version. The
// gateway's own limits and faults do not. A limit on the whole call ran out on a
// version that is too slow for it.
func kindOf(reason string) kind {
	switch reason {
	case llm.ReasonOK:
		return answered
	case llm.ReasonUpstreamRejected, llm.ReasonPickerRejected:
		return rejected
	case llm.ReasonClientClosed:
		return left
	case llm.ReasonUpstreamConnect, llm.ReasonUpstreamReset, llm.ReasonUpstreamInvalid, llm.ReasonUpstreamTimeout,
		llm.ReasonFirstByteTimeout, llm.ReasonIdleTimeout, llm.ReasonUpstreamTruncated, llm.ReasonUpstreamStreamError,
		llm.ReasonUpstreamError, llm.ReasonRequestTimeout, llm.ReasonNoEndpoints, llm.ReasonPickerFailed, llm.ReasonBackendInvalid:
		return failed
	}
	return nothing
}

// factsOf reads a finished request.
func factsOf(o *llm.Outcome) facts {
	f := facts{prompt: promptOf(o), stream: o.Stream}
	for i := range f.measured {
		f.measured[i] = -1
	}
	k := kindOf(o.Reason)
	if k == nothing {
		return f
	}
	f.asked.add(errored)
	f.asked.add(aborted)
	if k == answered || k == rejected {
		// By chance as many requests that deserve it come to either version: who finds
		// fault with more of them lacks a model, a length or a tool that clients use.
		f.ask(refused, k == rejected && o.Status != http.StatusTooManyRequests && o.Status != http.StatusRequestTimeout)
	}
	switch k {
	case failed:
		f.had.add(errored)
	case left:
		f.had.add(aborted)
		f.firstToken(o)
	case answered:
		f.answer(o)
		f.times(o)
	}
	return f
}

// rescuedFacts are those of a request whose answer came from stable after it had
// failed on the candidate.
func rescuedFacts() (f facts) {
	f.asked.add(errored)
	f.had.add(errored)
	for i := range f.measured {
		f.measured[i] = -1
	}
	return f
}

// ask notes an event that could happen, and whether it did.
func (f *facts) ask(e event, had bool) {
	f.asked.add(e)
	if had {
		f.had.add(e)
	}
}

// answer looks at an answer as a whole. Only those of APIs that generate have a
// reason why they ended.
func (f *facts) answer(o *llm.Outcome) {
	r := &o.Report
	if r.FinishReason == "" {
		return
	}
	f.ask(cutAtLength, atLength(r.FinishReason))
	f.ask(filtered, r.FinishReason == "content_filter")
	f.ask(empty, r.Empty)
	f.ask(looping, r.Looping)
	if r.WantedJSON {
		f.ask(badJSON, r.InvalidJSON)
	}
	if r.ToolCalls > 0 {
		f.ask(badToolCall, r.InvalidToolCalls > 0)
	}
	f.measured[outputTokens] = int16(stats.BucketOf(int64(r.Tokens)))
}

// atLength reports whether an answer was cut at its token limit: finish_reason of
// OpenAI's chat and completions, stop_reason of Anthropic's messages, status of
// OpenAI's responses.
func atLength(finish string) bool {
	return finish == "length" || finish == "max_tokens" || finish == "incomplete"
}

// times measures an answer. Requests that failed have none: how soon an error comes
// is no merit.
func (f *facts) times(o *llm.Outcome) {
	f.firstToken(o)
	f.time(e2e, o.Duration())
	if !o.Stream {
		return
	}
	if d, ok := o.TimePerOutputToken(); ok {
		f.time(tpot, d)
	}
	if o.Report.Gaps.Count > 0 {
		f.time(slowestGap, o.Report.Gaps.Max)
	}
}

// firstToken measures the time to the first token of a stream; what is not streamed
// shows its first token together with its last.
func (f *facts) firstToken(o *llm.Outcome) {
	if d, ok := o.TimeToFirstToken(); ok && o.Stream && o.Status < 400 {
		f.time(ttft, d)
	}
}

func (f *facts) time(m measure, d time.Duration) { f.measured[m] = int16(stats.Bucket(max(d, 0))) }

package tally

import (
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout"
)

func TestFacts(t *testing.T) {
	with := func(change func(*llm.Outcome)) *llm.Outcome {
		o := outcome(at(1))
		change(o)
		return o
	}
	// Names of events that were asked for, with * where they happened, and measures.
	all := "error-rate rejected client-abort finish-length content-filter empty-answer looping-answer ttft tpot slowest-gap e2e output-tokens"
	for name, c := range map[string]struct {
		outcome *llm.Outcome
		want    string
	}{
		"a good stream":       {outcome(at(1)), all},
		"cut at its length":   {with(func(o *llm.Outcome) { o.Report.FinishReason = "length" }), strings.Replace(all, "finish-length", "finish-length*", 1)},
		"filtered":            {with(func(o *llm.Outcome) { o.Report.FinishReason = "content_filter" }), strings.Replace(all, "content-filter", "content-filter*", 1)},
		"empty":               {with(func(o *llm.Outcome) { o.Report.Empty = true }), strings.Replace(all, "empty-answer", "empty-answer*", 1)},
		"in circles":          {with(func(o *llm.Outcome) { o.Report.Looping = true }), strings.Replace(all, "looping-answer", "looping-answer*", 1)},
		"JSON":                {with(func(o *llm.Outcome) { o.Report.WantedJSON = true }), strings.Replace(all, "looping-answer", "looping-answer invalid-json", 1)},
		"no JSON":             {with(func(o *llm.Outcome) { o.Report.WantedJSON, o.Report.InvalidJSON = true, true }), strings.Replace(all, "looping-answer", "looping-answer invalid-json*", 1)},
		"tool calls":          {with(func(o *llm.Outcome) { o.Report.ToolCalls = 2 }), strings.Replace(all, "looping-answer", "looping-answer invalid-tool-call", 1)},
		"a bad tool call":     {with(func(o *llm.Outcome) { o.Report.ToolCalls, o.Report.InvalidToolCalls = 2, 1 }), strings.Replace(all, "looping-answer", "looping-answer invalid-tool-call*", 1)},
		"in one piece":        {with(func(o *llm.Outcome) { o.Stream, o.Report.Gaps = false, llm.Gaps{} }), "error-rate rejected client-abort finish-length content-filter empty-answer looping-answer e2e output-tokens"},
		"one token":           {with(func(o *llm.Outcome) { o.Report.Tokens, o.Report.ContentEvents, o.Report.Gaps = 1, 1, llm.Gaps{} }), "error-rate rejected client-abort finish-length content-filter empty-answer looping-answer ttft e2e output-tokens"},
		"no generation":       {with(func(o *llm.Outcome) { o.Report, o.Stream = llm.Report{}, false }), "error-rate rejected client-abort e2e"},
		"no connection":       {ended(at(1), llm.ReasonUpstreamConnect), "error-rate* client-abort"},
		"broken off":          {with(func(o *llm.Outcome) { o.Reason = llm.ReasonUpstreamTruncated }), "error-rate* client-abort"},
		"silent":              {with(func(o *llm.Outcome) { o.Reason = llm.ReasonIdleTimeout }), "error-rate* client-abort"},
		"500":                 {with(func(o *llm.Outcome) { o.Reason, o.Status = llm.ReasonUpstreamError, 500 }), "error-rate* client-abort"},
		"no endpoint":         {ended(at(1), llm.ReasonNoEndpoints), "error-rate* client-abort"},
		"422":                 {with(func(o *llm.Outcome) { o.Reason, o.Status = llm.ReasonUpstreamRejected, 422 }), "error-rate rejected* client-abort"},
		"429":                 {with(func(o *llm.Outcome) { o.Reason, o.Status = llm.ReasonUpstreamRejected, 429 }), "error-rate rejected client-abort"},
		"the client left":     {with(func(o *llm.Outcome) { o.Reason = llm.ReasonClientClosed }), "error-rate client-abort* ttft"},
		"it left at once":     {ended(at(1), llm.ReasonClientClosed), "error-rate client-abort*"},
		"over its share":      {ended(at(1), llm.ReasonRateLimited), ""},
		"no room":             {ended(at(1), llm.ReasonOverloaded), ""},
		"the gateway drains":  {ended(at(1), llm.ReasonDraining), ""},
		"a fault of our own":  {ended(at(1), llm.ReasonInternal), ""},
		"a word not known":    {ended(at(1), "sunspots"), ""},
		"a clock that jumped": {with(func(o *llm.Outcome) { o.Report.FirstToken = o.Start.Add(-time.Hour) }), all},
	} {
		t.Run(name, func(t *testing.T) {
			f := factsOf(c.outcome)
			var got []string
			for e := range numEvents {
				if f.asked.has(e) && f.had.has(e) {
					got = append(got, eventNames[e]+"*")
				} else if f.asked.has(e) {
					got = append(got, eventNames[e])
				}
			}
			for m := range numMeasures {
				if f.measured[m] >= 0 {
					got = append(got, measureNames[m])
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("got  %v\nwant %s", got, c.want)
			}
			if f.had&^f.asked != 0 {
				t.Error("an event that could not happen")
			}
		})
	}
}

// TestEveryReasonHasAKind keeps the list in step with package llm's: a reason that an
// endpoint is to blame for must be an error.
func TestEveryReasonHasAKind(t *testing.T) {
	for _, reason := range llm.Reasons() {
		if strings.HasPrefix(reason, "upstream_") && kindOf(reason) == nothing {
			t.Errorf("%s says nothing of the version", reason)
		}
	}
}

func TestStrata(t *testing.T) {
	for m := range numMeasures {
		names := map[string]bool{}
		for length := range uint8(numLengths) {
			for fresh := range uint8(numFresh) {
				for _, stream := range []bool{false, true} {
					for _, byFresh := range []bool{false, true} {
						f := facts{prompt: prompt{length: length, fresh: fresh}, stream: stream}
						names[stratumName(m, int(f.stratum(m, byFresh)))] = true
					}
				}
			}
		}
		if want := [numMeasures]int{ttft: 15, e2e: 10, tpot: 5, slowestGap: 5, outputTokens: 5}[m]; len(names) != want {
			t.Errorf("%s has %d strata, want %d", measureNames[m], len(names), want)
		}
	}
	usage := func(prompt, cached int) *llm.Outcome {
		return &llm.Outcome{Report: llm.Report{Usage: llm.Usage{Known: true, PromptTokens: prompt, CachedTokens: cached}}}
	}
	for _, c := range []struct {
		outcome *llm.Outcome
		fresh   uint8
		cached  bool
	}{{usage(100, 90), 0, true}, {usage(100, 75), 1, true}, {usage(100, 20), 2, true}, {usage(100, 0), 2, false}, {usage(0, 5), 2, false}, {&llm.Outcome{}, 2, false}, {usage(10, 50), 0, true}} {
		if p := promptOf(c.outcome); p.fresh != c.fresh || p.cached != c.cached {
			t.Errorf("%+v: class %d cached %v, want %d %v", c.outcome.Report.Usage, p.fresh, p.cached, c.fresh, c.cached)
		}
	}
}

func TestNamesAreTheGuardrails(t *testing.T) {
	names := append(eventNames[:], measureNames[:]...)
	slices.Sort(names)
	if slices.Contains(names, "") || len(slices.Compact(names)) != 14 {
		t.Errorf("metrics: %v", names)
	}
	for _, g := range rollout.DefaultGuardrails() {
		if !slices.Contains(names, g.Name) {
			t.Errorf("%s is watched and not counted", g.Name)
		}
	}
}

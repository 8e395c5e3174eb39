package tally

import "crossfade.dev/internal/llm"

func (f *facts) quality(r *llm.Report) {
	f.ask(empty, r.FirstToken.IsZero())
}

func promptBytes(o *llm.Outcome) int { return o.PromptBytes }

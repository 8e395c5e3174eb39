package scheduling

import (
	"testing"

	"crossfade.dev/internal/llm"
)

func TestMeans(t *testing.T) {
	m := newMeans()
	call := &Call{Request: &llm.Request{Prompt: make([]byte, 3000)}}
	before := m.demand(call)
	if before.prompt != 750 || before.output != 300 {
		t.Errorf("at first %+v", before)
	}
	m.learn(3000, llm.Usage{PromptTokens: 1, CompletionTokens: 1}) // not Known
	if m != newMeans() {
		t.Error("learned from usage that was not reported")
	}
	for range 1000 {
		m.learn(3000, llm.Usage{PromptTokens: 1000, CompletionTokens: 50, Known: true})
	}
	if d := m.demand(call); d.prompt < 990 || d.prompt > 1010 || d.output < 49 || d.output > 51 {
		t.Errorf("after a thousand calls of 1000 and 50 tokens: %+v", d)
	}
	call.Request.MaxTokens = 7
	if d := m.demand(call); d.output != 7 {
		t.Errorf("at most 7 tokens were asked for, expected are %v", d.output)
	}
}

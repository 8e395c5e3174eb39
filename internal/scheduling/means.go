package scheduling

import "crossfade.dev/internal/llm"

// means are what a pool has learned of its calls from the usage that answers
// report.
type means struct {
	prompt float64 // tokens of a prompt
	output float64 // tokens of an answer
	// bytes and tokens of the last prompts, the older the lighter.
	bytes, tokens float64
}

const (
	meanGain = 0.01
	// Recent prompts count for the last fifty or so.
	ratioDecay = 0.98
	// The share of JSON text in a prompt's bytes keeps most above 2 bytes a
	// token; images and their like may be anything.
	leastBytesPerToken, mostBytesPerToken = 1, 64
)

func newMeans() means { return means{prompt: 500, output: 300, bytes: 4000, tokens: 1000} }

func (m *means) learn(promptBytes int, u llm.Usage) {
	if !u.Known {
		return
	}
	if u.CompletionTokens > 0 {
		m.output += meanGain * (float64(u.CompletionTokens) - m.output)
	}
	if u.PromptTokens <= 0 {
		return
	}
	m.prompt += meanGain * (float64(u.PromptTokens) - m.prompt)
	if promptBytes > 0 {
		m.bytes = ratioDecay*m.bytes + float64(promptBytes)
		m.tokens = ratioDecay*m.tokens + float64(u.PromptTokens)
	}
}

// bytesPerToken of prompts.
func (m *means) bytesPerToken() float64 {
	return min(mostBytesPerToken, max(leastBytesPerToken, m.bytes/m.tokens))
}

// blockTokens is how many tokens a block of a prompt has.
func (m *means) blockTokens() float64 { return blockBytes / m.bytesPerToken() }

// demand estimates what a call asks for.
func (m *means) demand(call *Call) demand {
	d := demand{adapter: noAdapter, output: max(1, m.output)}
	if r := call.Request; r != nil {
		d.prompt = float64(int(float64(len(r.Prompt)) / m.bytesPerToken()))
		if r.MaxTokens > 0 {
			d.output = min(d.output, float64(r.MaxTokens))
		}
	}
	return d
}

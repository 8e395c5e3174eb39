package sim

// generation holds the request fields that chat and text completions share.
// Fields that only shape probabilities (temperature, top_p and the like) have
// no effect here and are not read.
type generation struct {
	Model         string            `json:"model"`
	Stream        bool              `json:"stream"`
	StreamOptions *streamOptions    `json:"stream_options"`
	N             *int              `json:"n"`
	Stop          oneOrMore[string] `json:"stop"`
	MaxTokens     *int              `json:"max_tokens"`
	MinTokens     int               `json:"min_tokens"`
	IgnoreEOS     bool              `json:"ignore_eos"`
	Format        *responseFormat   `json:"response_format"`

	use toolUse
}

type streamOptions struct {
	IncludeUsage    bool `json:"include_usage"`
	ContinuousUsage bool `json:"continuous_usage_stats"`
}

type responseFormat struct {
	Type string `json:"type"`
}

// Bounds of what a stranger may ask for in one request.
const (
	maxChoices = 16
	maxPrompts = 64
	maxStops   = 16
	maxStopLen = 256
)

// choices is n, or 1 when absent.
func (g *generation) choices() (int, *apiError) {
	if g.N == nil {
		return 1, nil
	}
	if *g.N < 1 || *g.N > maxChoices {
		return 0, badRequest("n", "n is %d: want 1 to %d", *g.N, maxChoices)
	}
	return *g.N, nil
}

func (g *generation) check() *apiError {
	if g.StreamOptions != nil && !g.Stream {
		return badRequest("stream_options", "stream_options needs stream to be true")
	}
	if len(g.Stop) > maxStops {
		return badRequest("stop", "%d stop strings: at most %d", len(g.Stop), maxStops)
	}
	for _, stop := range g.Stop {
		if stop == "" || len(stop) > maxStopLen {
			return badRequest("stop", "a stop string must have 1 to %d bytes", maxStopLen)
		}
	}
	if g.MinTokens < 0 {
		return badRequest("min_tokens", "min_tokens is %d: want 0 or more", g.MinTokens)
	}
	return nil
}

// sampling works out the token limit of an answer to a prompt: what the client
// asked for, or else all the context that is left. Asking for more than is left
// is an error, as it is with vLLM.
func (g *generation) sampling(limits Limits, prompt int, asked *int) (sampling, *apiError) {
	s := sampling{minimum: g.MinTokens, ignoreEnd: g.IgnoreEOS, stops: g.Stop, tools: g.use}
	if g.Format != nil && (g.Format.Type == "json_object" || g.Format.Type == "json_schema") {
		s.json = true
	}
	left := limits.MaxModelLen - prompt
	switch {
	case asked == nil && left < 1:
		return s, badRequest("", "This model's maximum context length is %d tokens, and the prompt alone has %d.",
			limits.MaxModelLen, prompt)
	case asked == nil:
		s.limit = left
	case *asked < 1:
		return s, badRequest("max_tokens", "max_tokens is %d: want at least 1", *asked)
	case *asked > left:
		return s, badRequest("max_tokens",
			"This model's maximum context length is %d tokens, and the request asks for %d: %d in the prompt, %d to generate.",
			limits.MaxModelLen, prompt+*asked, prompt, *asked)
	default:
		s.limit = *asked
	}
	if s.minimum > s.limit {
		return s, badRequest("min_tokens", "min_tokens %d is more than the limit of %d tokens", s.minimum, s.limit)
	}
	return s, nil
}

// requested is the limit a client set, for the metrics: 0 when it set none.
func requested(asked *int) int {
	if asked == nil {
		return 0
	}
	return *asked
}

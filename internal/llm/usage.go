package llm

// Usage is what a response reported about its tokens.
type Usage struct {
	PromptTokens     int  // tokens read, those found in a cache included
	CompletionTokens int  // tokens written
	CachedTokens     int  // of PromptTokens, those found in a prefix cache
	Known            bool // the response reported usage
}

// usageCounts collects the numbers of a response's usage objects, by the name
// each API gives them. A later number replaces an earlier one, so of running
// totals the last remains, and a total that comes in two objects (Anthropic's
// streams do that) is complete.
type usageCounts struct {
	prompt, completion, cached int
	known                      bool

	// Anthropic counts cached tokens beside its input_tokens, not among them.
	// Gateways that speak OpenAI's dialect repeat these two numbers beside
	// prompt_tokens, where they are already counted.
	cacheRead, cacheWritten int
	beside                  bool
}

// note takes over one number of a usage object.
func (u *usageCounts) note(l label, text []byte) {
	n, ok := parseCount(text)
	if !ok {
		return
	}
	switch l {
	case labelPromptTokens:
		u.prompt, u.beside = n, false
	case labelInputTokens:
		u.prompt, u.beside = n, true
	case labelCompletionTokens:
		u.completion = n
	case labelCachedTokens:
		u.cached = n
	case labelCacheRead:
		u.cacheRead = n
	case labelCacheWritten:
		u.cacheWritten = n
	default:
		return
	}
	u.known = true
}

// usage returns what the numbers say together.
func (u *usageCounts) usage() Usage {
	t := Usage{PromptTokens: u.prompt, CompletionTokens: u.completion, CachedTokens: u.cached, Known: u.known}
	if u.beside {
		t.PromptTokens += u.cacheRead + u.cacheWritten
		t.CachedTokens += u.cacheRead
	}
	return t
}

package sim

// usage is what a request cost, in vLLM's order of fields.
type usage struct {
	PromptTokens     int            `json:"prompt_tokens"`
	TotalTokens      int            `json:"total_tokens"`
	CompletionTokens int            `json:"completion_tokens"`
	PromptDetails    *promptDetails `json:"prompt_tokens_details"`
}

// promptDetails is null unless the prefix cache gave something, as with vLLM.
type promptDetails struct {
	CachedTokens int `json:"cached_tokens"`
}

func newUsage(prompt, completion, cached int) usage {
	u := usage{PromptTokens: prompt, TotalTokens: prompt + completion, CompletionTokens: completion}
	if cached > 0 {
		u.PromptDetails = &promptDetails{cached}
	}
	return u
}

// usage is the cost of a whole job.
func (j *job) usage(cached int) usage {
	total := 0
	for _, c := range j.choices {
		total += c.answer.tokens
	}
	return newUsage(j.prompt, total, cached)
}

// usageSoFar is the cost of what has been streamed.
func (j *job) usageSoFar(seen []progress) usage {
	total := 0
	for _, p := range seen {
		total += p.tokens
	}
	return newUsage(j.prompt, total, cachedTokens(seen))
}

// orNull is s, or JSON null when empty.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

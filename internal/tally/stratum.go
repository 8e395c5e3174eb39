package tally

import "crossfade.dev/internal/llm"

// prompt is what strata are made of.
type prompt struct {
	length uint8 // class of its length
	fresh  uint8 // class of the part that was in no cache
	cached bool  // the answer reported tokens from a cache
}

// Classes of prompts: by length in tokens, and by the part that has to be computed.
const (
	numLengths = 5
	numFresh   = 3
	mostStrata = numLengths * numFresh // stats.MaxStrata less one for "other"
)

var (
	lengthNames = [numLengths]string{"<512", "<2k", "<8k", "<32k", ">=32k"}
	freshNames  = [numFresh]string{" fresh<25%", " fresh<75%", ""}
)

// bytesPerToken is about how many bytes of a prompt's JSON make one token. What the
// answer reports is not asked: versions may count differently.
const bytesPerToken = 4

func promptOf(o *llm.Outcome) prompt {
	p := prompt{length: numLengths - 1, fresh: numFresh - 1}
	tokens := o.PromptBytes / bytesPerToken
	for i, limit := range [...]int{512, 2 << 10, 8 << 10, 32 << 10} {
		if tokens < limit {
			p.length = uint8(i)
			break
		}
	}
	u := o.Report.Usage
	if !u.Known || u.CachedTokens <= 0 || u.PromptTokens <= 0 {
		return p
	}
	p.cached = true
	switch fresh := float64(u.PromptTokens-u.CachedTokens) / float64(u.PromptTokens); {
	case fresh < 0.25:
		p.fresh = 0
	case fresh < 0.75:
		p.fresh = 1
	}
	return p
}

// stratum is where a measure of a request is counted. The time to the first token
// depends on what has to be computed before it, the time for all on the length of
// the prompt and on whether a client that reads a stream slows it; the others on the
// length alone. byFresh says that both arms report what was in their caches.
func (f *facts) stratum(m measure, byFresh bool) uint8 {
	switch {
	case m == e2e && f.stream:
		return 2*f.prompt.length + 1
	case m == e2e:
		return 2 * f.prompt.length
	case m != ttft:
		return f.prompt.length
	case !byFresh:
		return numFresh*f.prompt.length + numFresh - 1
	}
	return numFresh*f.prompt.length + f.prompt.fresh
}

// stratumName is the name of a stratum.
func stratumName(m measure, stratum int) string {
	switch m {
	case e2e:
		return lengthNames[stratum/2] + [...]string{" whole", " stream"}[stratum%2]
	case ttft:
		return lengthNames[stratum/numFresh] + freshNames[stratum%numFresh]
	}
	return lengthNames[stratum]
}

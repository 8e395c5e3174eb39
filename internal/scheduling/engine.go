package scheduling

// What one step of an engine costs, in seconds: fitted to Qwen3-32B on two
// H100 under vLLM. Another model or card changes all of them by about the same
// factor, which leaves the comparison of endpoints as it is; simulated, each
// may be wrong by a factor of two with little effect.
const (
	secondsPerStep    = 16.5e-3
	secondsPerPrefill = 46.5e-6 // for each prompt token computed in the step
	secondsPerRequest = 4.4e-6  // for each request that decodes in the step
	secondsPerContext = 50e-9   // for each token those requests attend to
)

const (
	// stepTokens is how many tokens one step computes (vLLM's
	// max_num_batched_tokens).
	stepTokens = 8192
	// assumedKVTokens is the cache of an endpoint that does not tell.
	assumedKVTokens = 275_000
	// kvReserve is the part of the cache an engine can fill before it has to
	// put requests off.
	kvReserve = 0.98
	// adapterLoadSeconds is the time to load a LoRA adapter.
	adapterLoadSeconds = 0.3
)

// step returns how long one step lasts with the load's requests decoding.
func (l *Load) step() float64 {
	return secondsPerStep + secondsPerRequest*float64(l.Requests) + secondsPerContext*float64(l.Context)
}

// turnover returns the mean seconds until one of n running requests ends.
func (l *Load) turnover(d *Demand, n int) float64 {
	return float64(d.Output) * l.step() / float64(max(1, n))
}

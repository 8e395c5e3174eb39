package scheduling

// What one step of an engine costs, in seconds: fitted to Qwen3-32B on two
// H100 under vLLM. They are priors; calibration (calibration.go) finds out what
// holds for a pool.
const (
	priorStep      = 16.5e-3
	priorPrefill   = 46.5e-6 // for each prompt token computed in the step
	priorAttention = 2.1e-9  // for each of those and each token before it
	priorRequest   = 4.4e-6  // for each request that decodes in the step
	priorContext   = 50e-9   // for each token those requests attend to
)

const (
	// stepTokens is how many tokens one step computes (vLLM's
	// max_num_batched_tokens).
	stepTokens = 8192
	// leastPrefill of them are left for prompts, however many requests decode.
	leastPrefill = 256
	// assumedKVTokens is the cache of an endpoint that does not tell.
	assumedKVTokens = 275_000
	// kvReserve is the part of the cache an engine can fill before it has to
	// put requests off.
	kvReserve = 0.98
	// adapterLoadSeconds is the time to load a LoRA adapter; the step stands
	// still meanwhile.
	adapterLoadSeconds = 0.3
	// typicalContext is the tokens before a prompt token that waits, of which
	// nothing is known but that it waits.
	typicalContext = 3000
)

// engine is what a pool's engines cost, in seconds per unit.
type engine struct {
	step, prefill, attention, request, context float64

	prefillRate float64 // tokens per second; 1/prefill
}

// newEngine returns the priors times the factors that calibration found.
func newEngine(f factors) engine {
	return engine{
		step:      priorStep * f[factorStep],
		prefill:   priorPrefill * f[factorPrefill],
		attention: priorAttention * f[factorPrefill],
		request:   priorRequest * f[factorContext],
		context:   priorContext * f[factorContext],

		prefillRate: 1 / (priorPrefill * f[factorPrefill]),
	}
}

// stepSeconds is how long a step lasts that computes no prompt.
func (e *engine) stepSeconds(decodes, context float64) float64 {
	return e.step + e.request*decodes + e.context*context
}

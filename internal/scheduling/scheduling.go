package scheduling

import (
	"errors"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// Call is one model call that needs an endpoint.
type Call struct {
	// Request is what was read of the body; nil when there was none to read.
	Request *llm.Request
	// Model is the name the endpoint will be asked for, after rewriting.
	Model string
	// Priority of the call: above 0 critical, below 0 sheddable. The built-in
	// profile does not look at it.
	Priority int
	// Tried are the addresses that already failed this call; they are not
	// chosen again.
	Tried []string
	// Chosen is the address that an external picker chose: it is booked without
	// deciding. Empty: the profile decides.
	Chosen string
	// At is the instant of the decision.
	At time.Time
	// Explain asks for Decision.Candidates, which costs allocations.
	Explain bool
}

// Decision is the endpoint chosen for a Call, reserved until Reservation.End.
type Decision struct {
	Endpoint    routing.Endpoint
	Reservation *Reservation
	// Candidates says how each endpoint of the pool compared, in the pool's
	// order and without those the call had tried; nil unless Call.Explain.
	Candidates []Explanation
}

// Errors of Pick.
var (
	// ErrNoEndpoints: the pool has no endpoint that may take a request (503).
	ErrNoEndpoints = errors.New("no ready endpoints")
	// ErrExhausted: every endpoint has been tried for this call.
	ErrExhausted = errors.New("every endpoint was tried")
)

// Metrics is what one endpoint last said of itself.
type Metrics struct {
	At             time.Time // not later than the state it describes
	Waiting        int       // vllm:num_requests_waiting
	Running        int       // vllm:num_requests_running
	KVUsage        float64   // vllm:kv_cache_usage_perc, 0 to 1
	BlockSize      int       // tokens, 0 unknown
	Blocks         int       // KV blocks, 0 unknown
	MaxAdapters    int       // LoRA slots, 0 unknown
	ActiveAdapters []string  // LoRA adapters with running requests
	WaitAdapters   []string  // LoRA adapters with waiting requests
	// Adapters are the served models that /v1/models shows as adapters (with a
	// parent), active or not.
	Adapters []string
}

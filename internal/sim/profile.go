package sim

import (
	"fmt"
	"strings"
	"time"
)

// Timing holds the coefficients of one engine step:
//
//	step = Step
//	     + PrefillToken · prefill tokens
//	     + PrefillContext · Σ over prefill chunks of (tokens · mean context)
//	     + Decode · decoding sequences
//	     + DecodeContext · Σ over decoding sequences of context
//	     + AdapterLoad · adapters brought into a slot
type Timing struct {
	Step           time.Duration // fixed cost: one read of the weights and launch overhead
	PrefillToken   time.Duration // per prompt token computed
	PrefillContext float64       // nanoseconds per pair of (prefill token, context token)
	Decode         time.Duration // per sequence that decodes
	DecodeContext  float64       // nanoseconds per context token read by a decoding sequence
	AdapterLoad    time.Duration // per LoRA adapter loaded; it stalls the whole step
}

// scaled returns t with the costs of prefill and those of decoding multiplied.
// The fixed cost belongs to decoding, since it dominates a step without prefill.
func (t Timing) scaled(prefill, decode float64) Timing {
	t.PrefillToken = time.Duration(float64(t.PrefillToken) * prefill)
	t.PrefillContext *= prefill
	t.Step = time.Duration(float64(t.Step) * decode)
	t.Decode = time.Duration(float64(t.Decode) * decode)
	t.DecodeContext *= decode
	return t
}

// Profile is a model on an accelerator: how fast it is, how much KV cache it
// has, and the limits vLLM would choose there by itself.
type Profile struct {
	Name     string
	Timing   Timing
	Memory   int64 // accelerator memory in bytes, all devices together
	KVToken  int64 // bytes of KV cache per token
	KVTokens int   // tokens of KV cache at referenceUtilization

	MaxModelLen      int // default of --max-model-len, tokens
	MaxNumSeqs       int // default of --max-num-seqs
	MaxBatchedTokens int // default of --max-num-batched-tokens
}

// referenceUtilization is vLLM's default of --gpu-memory-utilization.
const referenceUtilization = 0.9

// kvTokens is the KV cache in tokens when vLLM may use this share of the
// memory: every byte above or below the reference share is KV cache.
func (p Profile) kvTokens(utilization float64) int {
	extra := (utilization - referenceUtilization) * float64(p.Memory)
	return max(0, p.KVTokens+int(extra/float64(p.KVToken)))
}

// Profile7B is the default: a 7B-class model (Qwen2.5-7B: 7.6·10⁹ parameters in
// bf16, 28 layers, 4 KV heads of 128) on one 24 GB A10-class accelerator (600
// GB/s, 125 dense TFLOP/s). It is an assumption worked out on paper, never
// measured; only its shape is that of a real server:
//
//   - Step: 15.2 GB of weights at 85 % of the bandwidth, 30 ms.
//   - PrefillToken: 2 · 6.5·10⁹ FLOP at 55 % of the peak, 190 µs (a batch of
//     2048 then takes 0.42 s, 4,900 tokens/s).
//   - PrefillContext: 4 · 28 · 3584 FLOP per pair at 50 % of the peak, 6.5 ns.
//   - Decode: sampling over 152,000 logits and host work, 10 µs.
//   - DecodeContext: 57,344 B per token at 80 % of the bandwidth, 120 ns.
//   - KVTokens: 0.9 · 22.06 GiB less weights and 1.5 GB of activations.
//   - AdapterLoad: the value of the 32B profile.
func Profile7B() Profile {
	return Profile{
		Name: "7b-a10",
		Timing: Timing{
			Step:           30 * time.Millisecond,
			PrefillToken:   190 * time.Microsecond,
			PrefillContext: 6.5,
			Decode:         10 * time.Microsecond,
			DecodeContext:  120,
			AdapterLoad:    300 * time.Millisecond,
		},
		Memory:           23_690_000_000,
		KVToken:          57_344,
		KVTokens:         80_000,
		MaxModelLen:      32_768,
		MaxNumSeqs:       256,
		MaxBatchedTokens: 2048,
	}
}

// Profile32B is Qwen3-32B on two H100 (tensor parallel): the coefficients are
// fitted to the prefill throughput that llm-d publishes for it (20,480 tokens/s,
// 8192 tokens in 0.40 s) and its KV cache of 275,000 tokens.
func Profile32B() Profile {
	return Profile{
		Name: "32b-2xh100",
		Timing: Timing{
			Step:           16500 * time.Microsecond,
			PrefillToken:   46500 * time.Nanosecond,
			PrefillContext: 2.1,
			Decode:         4400 * time.Nanosecond,
			DecodeContext:  50,
			AdapterLoad:    300 * time.Millisecond,
		},
		Memory:           171_800_000_000,
		KVToken:          262_144,
		KVTokens:         275_000,
		MaxModelLen:      40_960,
		MaxNumSeqs:       256,
		MaxBatchedTokens: 8192,
	}
}

// Profiles lists the built-in profiles, the default first.
func Profiles() []Profile { return []Profile{Profile7B(), Profile32B()} }

// ProfileByName finds a built-in profile. The error lists the names there are.
func ProfileByName(name string) (Profile, error) {
	var names []string
	for _, p := range Profiles() {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Profile{}, fmt.Errorf("no profile %q: use one of %s", name, strings.Join(names, ", "))
}

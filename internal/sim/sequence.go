package sim

import "time"

// sequence is one Work on its way through the engine.
//
// Its known tokens are the prompt and what was generated. Those computed have
// keys and values in its blocks. When a step has computed all that is known,
// one more token is generated; so prefill, decoding and the recomputation after
// a preemption are the same thing: catching up.
type sequence struct {
	id      uint64
	adapter string
	names   []uint64 // of the full blocks of the prompt
	prompt  int
	output  int // tokens to generate

	computed  int
	generated int
	step      int // tokens computed by the step in flight
	blocks    []int32
	cached    int // prompt tokens found in the prefix cache, or unknown
	gone      bool

	arrived, admitted, first, last time.Duration
}

// unknown marks a sequence that has never been admitted.
const unknown = -1

func (s *sequence) known() int { return s.prompt + s.generated }

// decoding tells whether the next step only adds the token that was generated
// last; what came before is all computed.
func (s *sequence) decoding() bool { return s.generated > 0 && s.known()-s.computed == 1 }

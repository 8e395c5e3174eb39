package routing

import (
	"hash/fnv"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

// blockSize is how many consecutive draws of one Sequence follow the weights
// exactly. A hundred, because people write weights as percentages.
const blockSize = 100

// Split chooses one of several weighted alternatives.
//
// Draws are stratified. The draws of one Sequence are numbered; each block of
// blockSize numbers visits every hundredth of the unit interval exactly once,
// in an order that a keyed permutation shuffles anew for each block, and the
// cumulative weights cut the interval into the alternatives. So weights that are
// whole percentages are met exactly in every block, any other weights to within
// one draw per block and exactly over time, and yet nobody without the key can
// tell the next draw, nor can traffic with a rhythm of its own (a client that
// sends requests in pairs, say) fall into step with the split.
type Split struct {
	// ID names the split across snapshots: a successor with the same ID and
	// weights carries on where this one stands.
	ID string

	weights    []uint32
	cumulative []uint64 // cumulative[i] = weights[0] + … + weights[i]
	sequence   *Sequence
}

// Sequence is a split's position: the key of its permutations and the number of
// draws so far. It is shared by all snapshots that contain the split.
type Sequence struct {
	key  uint64
	next atomic.Uint64
}

// NewSplit returns a split over weights; an alternative of weight 0 is never
// drawn. At most 64 alternatives of at most 1,000,000 each keep the arithmetic
// of draw within 64 bits; Gateway API allows 16.
func NewSplit(id string, weights []uint32) *Split {
	s := &Split{ID: id, weights: weights, cumulative: make([]uint64, len(weights)), sequence: &Sequence{}}
	var sum uint64
	for i, w := range weights {
		sum += uint64(w)
		s.cumulative[i] = sum
	}
	return s
}

// Total is the sum of the weights.
func (s *Split) Total() uint64 {
	if len(s.cumulative) == 0 {
		return 0
	}
	return s.cumulative[len(s.cumulative)-1]
}

// Weights returns the weights in order; the caller must not change them.
func (s *Split) Weights() []uint32 { return s.weights }

// Draw returns the index of the next alternative, or -1 when the weights sum to
// zero. It is safe for concurrent use, takes no lock and does not allocate.
func (s *Split) Draw() int {
	total := s.Total()
	if total == 0 {
		return -1
	}
	if s.cumulative[0] == total {
		return 0
	}
	return s.at(s.sequence.next.Add(1) - 1)
}

// at is the alternative of draw number n.
func (s *Split) at(n uint64) int {
	block, i := n/blockSize, n%blockSize
	slot := permute(i, blockSize, mix(s.sequence.key^mix(block)))
	// The point's place within its hundredth moves by the golden ratio from
	// block to block: equidistributed, so weights finer than a percent are met
	// over time without a bias to either neighbour.
	jitter := (block*0x9E3779B97F4A7C15 + s.sequence.key) >> 32
	hi, lo := bits.Mul64(slot<<32|jitter, s.Total())
	point, _ := bits.Div64(hi, lo, blockSize<<32)
	for i, c := range s.cumulative {
		if point < c {
			return i
		}
	}
	return len(s.cumulative) - 1
}

// permute maps i in [0,n) one-to-one onto [0,n) by the swap-or-not shuffle
// (Hoang, Morris, Rogaway: An Enciphering Scheme Based on a Card Shuffle, 2012).
// Sixteen rounds are far below its security bound for cryptography and far above
// what hiding the next draw from a client needs.
func permute(i, n, key uint64) uint64 {
	for round := uint64(0); round < 16; round++ {
		key = mix(key + round)
		partner := (key%n + n - i) % n
		if mix(key^max(i, partner))&1 == 1 {
			i = partner
		}
	}
	return i
}

// mix is the finaliser of splitmix64 (Steele, Lea, Flood 2014): a bijection that
// spreads every input bit.
func mix(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
}

// Arm gives every split of s its Sequence: the one of the split with the same ID
// and weights in previous (which may be nil), or a fresh one with a key made of a
// number from r and the ID. Splits of s that share an ID share a Sequence. Call it
// once, before s is published; a split that was never armed draws by a fixed key.
func (s *Snapshot) Arm(previous *Snapshot, r *rand.Rand) {
	secret := r.Uint64()
	known := map[string]*Split{}
	if previous != nil {
		previous.eachSplit(func(p *Split) { known[p.ID] = p })
	}
	s.eachSplit(func(n *Split) {
		if old := known[n.ID]; old != nil && equalWeights(old.weights, n.weights) {
			n.sequence = old.sequence
			return
		}
		n.sequence = &Sequence{key: mix(secret ^ hash(n.ID))}
		known[n.ID] = n
	})
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}

func equalWeights(a, b []uint32) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

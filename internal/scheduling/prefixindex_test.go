package scheduling

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// twin is the prefix index without limits, written to be obviously right.
type twin map[uint64]map[int]bool

func (w twin) add(hashes []uint64, slot int) {
	for _, h := range hashes {
		if w[h] == nil {
			w[h] = map[int]bool{}
		}
		w[h][slot] = true
	}
}

func (w twin) match(hashes []uint64, slots int) []int32 {
	out := make([]int32, slots)
	for s := range out {
		for out[s] < int32(len(hashes)) && w[hashes[out[s]]][s] {
			out[s]++
		}
	}
	return out
}

// randomChain returns the hashes of a prompt out of few, so that beginnings are
// shared.
func randomChain(r *rand.Rand) []uint64 {
	prompt := make([]byte, blockBytes*(1+r.IntN(12)))
	for i := 0; i < len(prompt); i += blockBytes {
		prompt[i] = byte(r.IntN(3))
	}
	return appendBlockHashes(nil, "m", prompt)
}

func TestPrefixIndexMatchesTwin(t *testing.T) {
	const slots = 100
	r := rand.New(rand.NewPCG(1, 2))
	x, w := &prefixIndex{}, twin{}
	x.grow(10, 1<<10, 1<<30)
	for i := range 3000 {
		if i == 1000 {
			x.grow(slots, 1<<16, 1<<30) // in two steps, to see that nothing is lost
		}
		limit := 10
		if i > 1000 {
			limit = slots
		}
		chain, slot := randomChain(r), r.IntN(limit)
		if i < 30 || i > 1000 {
			x.add(chain, slot)
			w.add(chain, slot)
		}
		probe := randomChain(r)
		got := make([]int32, 128)
		x.match(probe, got)
		if want := w.match(probe, slots); !slices.Equal(got[:slots], want) {
			t.Fatalf("step %d: match\n%v, want\n%v", i, got[:slots], want)
		}
	}
	x.forget([]int{3, 70})
	for h := range w {
		delete(w[h], 3)
		delete(w[h], 70)
	}
	probe := randomChain(r)
	got := make([]int32, 128)
	x.match(probe, got)
	if want := w.match(probe, slots); !slices.Equal(got[:slots], want) {
		t.Fatalf("after forget: match\n%v, want\n%v", got[:slots], want)
	}
}

// A full index never says more than the twin, stays within its bytes, and
// forgets the end of a prompt before its beginning.
func TestPrefixIndexBounded(t *testing.T) {
	const limit = 64 << 10
	r := rand.New(rand.NewPCG(3, 4))
	x, w := &prefixIndex{}, twin{}
	x.grow(3, 1<<30, limit)
	if size := len(x.hashes) * entryBytes(x.words); size > limit || size < limit/2 {
		t.Fatalf("index of %d bytes, want at most and about %d", size, limit)
	}
	prompt := make([]byte, 200*blockBytes)
	for range 500 {
		prompt[0], prompt[1] = byte(r.Uint32()), byte(r.Uint32())
		chain := appendBlockHashes(nil, "m", prompt)
		slot := r.IntN(3)
		x.add(chain, slot)
		w.add(chain, slot)
		got := make([]int32, 64)
		x.match(chain, got)
		for s, n := range w.match(chain, 3) {
			if got[s] > n {
				t.Fatalf("slot %d matches %d blocks, was sent %d", s, got[s], n)
			}
		}
		if got[slot] < 150 {
			t.Fatalf("%d of the 200 blocks just sent are remembered", got[slot])
		}
	}
}

func TestBlockHashes(t *testing.T) {
	text := make([]byte, 10*blockBytes)
	base := appendBlockHashes(nil, "m", text)
	if len(base) != 10 {
		t.Fatalf("%d hashes of 10 blocks", len(base))
	}
	if got := appendBlockHashes(nil, "m", text[:10*blockBytes-1]); !slices.Equal(got, base[:9]) {
		t.Error("a shorter prompt has other hashes, or one of an unfinished block")
	}
	if other := appendBlockHashes(nil, "n", text); other[0] == base[0] {
		t.Error("two models share hashes")
	}
	text[3*blockBytes]++
	changed := appendBlockHashes(nil, "m", text)
	if !slices.Equal(changed[:3], base[:3]) {
		t.Error("blocks before a change have other hashes")
	}
	for i := 3; i < 10; i++ {
		if changed[i] == base[i] {
			t.Errorf("block %d after a change has the same hash", i)
		}
	}
	if got := appendBlockHashes(nil, "m", make([]byte, (maxBlocks+5)*blockBytes)); len(got) != maxBlocks {
		t.Errorf("%d hashes of a very long prompt, want %d", len(got), maxBlocks)
	}
}

// Engines free the blocks of a request from the last to the first, so the end
// of a prompt is forgotten first; its beginning may still serve.
func TestPrefixIndexForgetsEndsFirst(t *testing.T) {
	x := &prefixIndex{}
	x.grow(1, ways, 1<<20)
	long := appendBlockHashes(nil, "m", make([]byte, ways*blockBytes))
	x.add(long, 0)
	x.add(appendBlockHashes(nil, "other", make([]byte, 3*blockBytes)), 0)
	lengths := make([]int32, 64)
	x.match(long, lengths)
	if lengths[0] != ways-3 {
		t.Errorf("%d blocks are remembered, want the first %d", lengths[0], ways-3)
	}
}

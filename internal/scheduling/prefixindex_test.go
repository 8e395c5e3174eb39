package scheduling

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// randomChain returns the hashes of a prompt out of few, so that beginnings are
// shared.
func randomChain(r *rand.Rand) []uint64 {
	prompt := make([]byte, blockBytes*(1+r.IntN(12)))
	for i := 0; i < len(prompt); i += blockBytes {
		prompt[i] = byte(r.IntN(3))
	}
	return appendBlockHashes(nil, "m", "", prompt)
}

// history makes the same random changes to the index and its twin, and compares
// what they answer.
func history(t *testing.T, seed uint64, steps, slots, size int) {
	r := rand.New(rand.NewPCG(seed, 2))
	x, w := &prefixIndex{}, newTwin()
	x.grow(min(slots, 10))
	for i := range steps {
		if i == steps/3 {
			x.grow(slots) // in two steps, to see that nothing is lost
		}
		slot := r.IntN(slots)
		if i < steps/3 {
			slot = r.IntN(min(slots, 10))
		}
		if w.sizes[slot] == 0 || r.IntN(20) == 0 {
			w.sizes[slot] = 1 + r.IntN(size)
			x.resize(slot, w.sizes[slot])
		}
		switch chain := randomChain(r); r.IntN(12) {
		case 0:
			n := r.IntN(10)
			x.addAnonymous(n, slot)
			w.addAnonymous(n, slot)
		case 1:
			if r.IntN(10) == 0 {
				x.forget(slot)
				w.forget(slot)
			}
		case 2:
			x.addOldest(chain, slot)
			w.addOldest(chain, slot)
		default:
			if got, want := x.add(chain, slot), w.add(chain, slot); !slices.Equal(got, want) {
				t.Fatalf("step %d: %x have changed, want %x", i, got, want)
			}
		}
		skip, n := r.IntN(size), r.IntN(2*size)
		if got, want := x.newest(slot, skip, n), w.newest(slot, skip, n); !slices.Equal(got, want) {
			t.Fatalf("step %d: the newest are\n%x, want\n%x", i, got, want)
		}
		probe := randomChain(r)
		got := make([]int32, (slots+63)/64*64)
		x.match(probe, got)
		if want := w.match(probe, slots); !slices.Equal(got[:slots], want) {
			t.Fatalf("step %d: match\n%v, want\n%v", i, got[:slots], want)
		}
		if x.pairs != w.pairs() {
			t.Fatalf("step %d: %d blocks, want %d", i, x.pairs, w.pairs())
		}
	}
	for slot := range slots {
		x.forget(slot)
	}
	for i := range x.shards {
		if x.shards[i].used != 0 {
			t.Fatalf("%d blocks are left that nobody has", x.shards[i].used)
		}
	}
	if x.pairs != 0 {
		t.Errorf("%d blocks are counted that nobody has", x.pairs)
	}
}

func TestPrefixIndexMatchesTwin(t *testing.T) {
	history(t, 1, 3000, 100, 400)
	history(t, 2, 3000, 5, 30)
	history(t, 3, 3000, 64, 1000)
}

func FuzzPrefixIndex(f *testing.F) {
	f.Add(uint64(1), uint16(300), uint8(9), uint16(20))
	f.Add(uint64(2), uint16(900), uint8(200), uint16(3))
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16, slots uint8, size uint16) {
		history(t, seed, int(steps%1500), 1+int(slots), 1+int(size))
	})
}

// The index takes no more than it says for each block of an endpoint, whether
// each has its own prompts or all have the same, and forgets to stay so.
func TestPrefixIndexBytes(t *testing.T) {
	for name, shared := range map[string]bool{"own": false, "shared": true} {
		t.Run(name, func(t *testing.T) {
			const slots, capacity = 100, 1500
			r := rand.New(rand.NewPCG(3, 4))
			x := &prefixIndex{}
			x.grow(slots)
			prompt := make([]byte, 100*blockBytes)
			for i := range 4 * slots * capacity / 100 {
				slot := i % slots
				if !shared || slot == 0 {
					prompt[0], prompt[1], prompt[2] = byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32())
				}
				x.resize(slot, capacity)
				x.add(appendBlockHashes(nil, "m", "", prompt), slot)
			}
			if x.pairs != slots*capacity {
				t.Fatalf("%d blocks are remembered, want the capacity %d", x.pairs, slots*capacity)
			}
			per := float64(x.bytes()) / float64(x.pairs)
			t.Logf("%.1f bytes per block", per)
			if per > bytesPerBlock {
				t.Errorf("%.1f bytes per block, want at most %d", per, bytesPerBlock)
			}
		})
	}
}

func TestBlockHashes(t *testing.T) {
	text := make([]byte, 10*blockBytes)
	base := appendBlockHashes(nil, "m", "", text)
	if len(base) != 10 {
		t.Fatalf("%d hashes of 10 blocks", len(base))
	}
	if got := appendBlockHashes(nil, "m", "", text[:10*blockBytes-1]); !slices.Equal(got, base[:9]) {
		t.Error("a shorter prompt has other hashes, or one of an unfinished block")
	}
	if other := appendBlockHashes(nil, "n", "", text); other[0] == base[0] {
		t.Error("two models share hashes")
	}
	if other := appendBlockHashes(nil, "m", "tenant", text); other[0] == base[0] {
		t.Error("two cache salts share hashes")
	}
	text[3*blockBytes]++
	changed := appendBlockHashes(nil, "m", "", text)
	if !slices.Equal(changed[:3], base[:3]) {
		t.Error("blocks before a change have other hashes")
	}
	for i := 3; i < 10; i++ {
		if changed[i] == base[i] {
			t.Errorf("block %d after a change has the same hash", i)
		}
	}
	if got := appendBlockHashes(nil, "m", "", make([]byte, (maxBlocks+5)*blockBytes)); len(got) != maxBlocks {
		t.Errorf("%d hashes of a very long prompt, want %d", len(got), maxBlocks)
	}
}

// Engines free the blocks of a request from the last to the first, so the end
// of a prompt is forgotten first; its beginning may still serve.
func TestPrefixIndexForgetsEndsFirst(t *testing.T) {
	x := &prefixIndex{}
	x.grow(1)
	x.resize(0, 8)
	long := appendBlockHashes(nil, "m", "", make([]byte, 8*blockBytes))
	x.add(long, 0)
	x.add(appendBlockHashes(nil, "other", "", make([]byte, 3*blockBytes)), 0)
	lengths := make([]int32, 64)
	x.match(long, lengths)
	if lengths[0] != 5 {
		t.Errorf("%d blocks are remembered, want the first 5", lengths[0])
	}
}

// What is asked for again outlasts what is not.
func TestPrefixIndexKeepsWhatIsAskedFor(t *testing.T) {
	x := &prefixIndex{}
	x.grow(1)
	x.resize(0, 8)
	guide := appendBlockHashes(nil, "guide", "", make([]byte, 3*blockBytes))
	x.add(guide, 0)
	x.add(guide, 0)
	x.add(appendBlockHashes(nil, "once", "", make([]byte, 5*blockBytes)), 0)
	x.add(appendBlockHashes(nil, "more", "", make([]byte, 5*blockBytes)), 0)
	lengths := make([]int32, 64)
	x.match(guide, lengths)
	if lengths[0] != 3 {
		t.Errorf("%d blocks of 3 that were asked for twice are remembered", lengths[0])
	}
}

func TestPrefixIndexAllocatesNothing(t *testing.T) {
	x := &prefixIndex{}
	x.grow(1000)
	prompt := make([]byte, 100*blockBytes)
	chain := appendBlockHashes(nil, "m", "", prompt)
	for slot := range 1000 {
		x.resize(slot, 200)
		x.add(chain, slot)
	}
	lengths := make([]int32, 1024)
	n := testing.AllocsPerRun(100, func() {
		clear(lengths)
		x.match(chain, lengths)
	})
	if n != 0 {
		t.Errorf("%v allocations per match, want none", n)
	}
}

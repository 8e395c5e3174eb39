package routing

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
)

// armed returns a split with a key of its own.
func armed(r *rand.Rand, weights ...uint32) *Split {
	s := NewSplit("test", weights)
	s.sequence = &Sequence{key: r.Uint64()}
	return s
}

// block draws one block and counts.
func block(s *Split) []int {
	counts := make([]int, len(s.weights))
	for range blockSize {
		counts[s.Draw()]++
	}
	return counts
}

// TestSplitIsExact checks the promise of the package: every block of a hundred
// draws meets whole percentages exactly, whatever the key.
func TestSplitIsExact(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, weights := range [][]uint32{{90, 10}, {9, 1}, {1, 1}, {1, 0, 3}, {70, 30}, {1, 99}, {900_000, 100_000}, {25, 25, 25, 25}, {33, 33, 34}, {0, 5, 5}, {2, 3, 5, 10}} {
		var total uint32
		for _, w := range weights {
			total += w
		}
		for range 20 {
			s := armed(r, weights...)
			for n := range 50 {
				for i, got := range block(s) {
					if want := int(weights[i]) * blockSize / int(total); got != want {
						t.Fatalf("weights %v, block %d: alternative %d drawn %d times, want %d", weights, n, i, got, want)
					}
				}
			}
		}
	}
}

// TestSplitIsNearlyExact checks weights that are no whole percentages: within one
// draw in every block, and within a few draws over 40,000, where independent
// draws would be off by hundreds.
func TestSplitIsNearlyExact(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for _, weights := range [][]uint32{{1, 2}, {1, 1, 1}, {1, 999}, {1, 2, 4}, {123_456, 654_321, 222_223}, {1_000_000, 1}, {5, 7, 11, 13}} {
		total := 0.0
		for _, w := range weights {
			total += float64(w)
		}
		for range 3 {
			s := armed(r, weights...)
			sums := make([]int, len(weights))
			const blocks = 400
			for n := range blocks {
				for i, got := range block(s) {
					want := float64(weights[i]) / total * blockSize
					if math.Abs(float64(got)-want) >= 1 {
						t.Fatalf("weights %v, block %d: alternative %d drawn %d times, want %.2f ± 1", weights, n, i, got, want)
					}
					sums[i] += got
				}
			}
			for i, got := range sums {
				if want := float64(weights[i]) / total * blocks * blockSize; math.Abs(float64(got)-want) > 10 {
					t.Errorf("weights %v: alternative %d drawn %d times of %d, want %.1f ± 10", weights, i, got, blocks*blockSize, want)
				}
			}
		}
	}
}

// TestSplitLooksRandom checks that draws neither alternate nor repeat: runs of a
// side of 30 % are as often as among the shuffled hundreds that blocks are (30·29·28
// of 100·99·98 for three in a row).
func TestSplitLooksRandom(t *testing.T) {
	s := armed(rand.New(rand.NewPCG(3, 3)), 70, 30)
	const n = 200_000
	draws := make([]int, n)
	for i := range draws {
		draws[i] = s.Draw()
	}
	for length := 2; length <= 5; length++ {
		runs := 0
		for i := 0; i+length <= n; i++ {
			if !slices.Contains(draws[i:i+length], 0) {
				runs++
			}
		}
		got, want := float64(runs)/n, 1.0
		for i := range length {
			want *= float64(30-i) / float64(100-i)
		}
		if math.Abs(got-want) > 0.1*want {
			t.Errorf("%d draws of the 30 %% side in a row: %.5f of the time, want about %.5f", length, got, want)
		}
	}
	// A client whose every second, third or tenth request is of one kind must
	// meet the same shares with those.
	for _, step := range []int{2, 3, 10, 50, 100} {
		side := 0
		for i := 0; i < n; i += step {
			side += draws[i]
		}
		share := float64(side) / float64((n+step-1)/step)
		if sd := math.Sqrt(0.21 * float64(step) / n); math.Abs(share-0.3) > 5*sd {
			t.Errorf("every %dth draw: share %.4f, want 0.3 ± %.4f", step, share, 5*sd)
		}
	}
}

// TestBlocksDiffer checks that the order within a block changes from block to
// block and from key to key: each position takes each side.
func TestBlocksDiffer(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	byBlock, byKey := make([]int, blockSize), make([]int, blockSize)
	s := armed(r, 50, 50)
	for range 400 {
		other := armed(r, 50, 50)
		for i := range blockSize {
			byBlock[i] += s.Draw()
			byKey[i] += other.Draw()
		}
	}
	for i := range blockSize {
		for _, got := range []int{byBlock[i], byKey[i]} {
			if got < 150 || got > 250 {
				t.Errorf("position %d took one side %d of 400 times, want about 200", i, got)
			}
		}
	}
}

func TestPermuteIsOneToOne(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for _, n := range []uint64{1, 2, 7, blockSize} {
		for range 200 {
			key := r.Uint64()
			seen := make([]bool, n)
			for i := range n {
				j := permute(i, n, key)
				if j >= n || seen[j] {
					t.Fatalf("n %d key %d: %d maps to %d again or outside", n, key, i, j)
				}
				seen[j] = true
			}
		}
	}
}

func TestDrawOfNothing(t *testing.T) {
	for _, weights := range [][]uint32{nil, {}, {0}, {0, 0}} {
		if got := NewSplit("", weights).Draw(); got != -1 {
			t.Errorf("weights %v: drew %d, want -1", weights, got)
		}
	}
	for range 500 {
		if got := NewSplit("", []uint32{0, 3, 0}).Draw(); got != 1 {
			t.Fatalf("drew %d, whose weight is 0", got)
		}
	}
}

// TestManyAlternatives takes the arithmetic to its documented bounds.
func TestManyAlternatives(t *testing.T) {
	weights := make([]uint32, 64)
	for i := range weights {
		weights[i] = 1_000_000
	}
	s := armed(rand.New(rand.NewPCG(6, 6)), weights...)
	counts := make([]int, len(weights))
	for range 640 {
		for i, n := range block(s) {
			counts[i] += n
		}
	}
	for i, n := range counts {
		if n < 990 || n > 1010 {
			t.Errorf("alternative %d drawn %d times, want 1000 ± 10", i, n)
		}
	}
}

// TestConcurrentDraws checks that draws of many goroutines are as exact together
// as those of one.
func TestConcurrentDraws(t *testing.T) {
	s := armed(rand.New(rand.NewPCG(7, 7)), 90, 10)
	const workers, each = 8, 5000
	counts := make([][2]int, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for range each {
				counts[w][s.Draw()]++
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, c := range counts {
		sum += c[1]
	}
	if want := workers * each / 10; sum != want {
		t.Errorf("drew the 10 %% side %d times, want exactly %d", sum, want)
	}
}

// snapshotOf returns a snapshot of one rule with two pools and these weights.
func snapshotOf(weights ...uint32) (*Snapshot, *Rule) {
	r := &Rule{ID: "n/r/0"}
	pools := map[string]*Pool{}
	for i, w := range weights {
		p := &Pool{ID: string(rune('a' + i)), Inference: true, Rules: map[string]*ModelRule{
			"m": NewModelRule("InferenceModel n/m", "m", []Target{{"x", 3}, {"y", 1}}, false, 0)}}
		pools[p.ID] = p
		r.Backends = append(r.Backends, Backend{Ref: "Pool " + p.ID, Weight: w, Pool: p})
	}
	r.Seal()
	l := &Listener{}
	l.AddRoute("", &Route{Match: Match{Path: "/"}, Rule: r})
	return &Snapshot{Ports: []*Port{{Number: 80, Listeners: []*Listener{l}}}, Pools: pools}, r
}

// TestArmInherits checks that a split goes on where it stood after a change of
// something else, so that frequent changes do not spoil the exactness, and starts
// anew when its weights change.
func TestArmInherits(t *testing.T) {
	random := rand.New(rand.NewPCG(8, 8))
	first, rule := snapshotOf(90, 10)
	first.Arm(nil, random)
	counts := [2]int{}
	for range 37 {
		counts[rule.Split("").Draw()]++
	}
	second, next := snapshotOf(90, 10)
	second.Arm(first, random)
	for range 63 {
		counts[next.Split("").Draw()]++
	}
	if counts != [2]int{90, 10} {
		t.Errorf("a hundred draws across a change of configuration: %v, want 90 and 10", counts)
	}
	if a, b := first.Pools["a"].Rules["m"].split.sequence, second.Pools["a"].Rules["m"].split.sequence; a != b {
		t.Error("the targets of a model started anew")
	}
	third, changed := snapshotOf(80, 20)
	third.Arm(second, random)
	if changed.Split("").sequence == next.Split("").sequence {
		t.Error("a split with new weights goes on in the old sequence")
	}
	if got := block(changed.Split("")); !slices.Equal(got, []int{80, 20}) {
		t.Errorf("after the change of weights a block has %v", got)
	}
}

// TestArmShares checks that one split sealed into several rules, as for several
// listeners, has one sequence, and that different splits have different keys.
func TestArmShares(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	a, ruleA := snapshotOf(90, 10)
	_, ruleB := snapshotOf(90, 10)
	a.Ports[0].Listeners[0].AddRoute("other", &Route{Match: Match{Path: "/"}, Rule: ruleB})
	a.Arm(nil, random)
	if ruleA.Split("").sequence != ruleB.Split("").sequence {
		t.Error("equal splits of one snapshot have sequences of their own")
	}
	if ruleA.Split("").sequence.key == a.Pools["a"].Rules["m"].split.sequence.key {
		t.Error("different splits have one key")
	}
}

// TestArmIsReproducible checks that the same generator gives the same draws, in
// whatever order maps are walked.
func TestArmIsReproducible(t *testing.T) {
	var want []int
	for range 10 {
		s, rule := snapshotOf(50, 50, 50, 50)
		s.Arm(nil, rand.New(rand.NewPCG(11, 11)))
		var got []int
		for range 20 {
			got = append(got, rule.Split("").Draw(), rule.Split("m").Draw())
		}
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Fatalf("drew %v, then %v", want, got)
		}
	}
}

// TestArmWhileDrawing changes the configuration in the middle of every block: the
// shares stay exact.
func TestArmWhileDrawing(t *testing.T) {
	random := rand.New(rand.NewPCG(10, 10))
	snapshot, rule := snapshotOf(70, 30)
	snapshot.Arm(nil, random)
	const draws = 20_000
	side := 0
	for i := range draws {
		if i%100 == 50 {
			next, r := snapshotOf(70, 30)
			next.Arm(snapshot, random)
			snapshot, rule = next, r
		}
		side += rule.Split("").Draw()
	}
	if want := draws * 3 / 10; side != want {
		t.Errorf("with a change every hundred draws the 30 %% side got %d of %d, want exactly %d", side, draws, want)
	}
}

package sim

import (
	"fmt"
	"testing"
	"time"
)

// cachedOf runs work to its end and returns what the prefix cache gave each
// sequence.
func cachedOf(e *Engine, now time.Duration) map[uint64]int {
	cached := map[uint64]int{}
	for {
		d, events := e.Step(now)
		for _, ev := range events {
			cached[ev.ID] = ev.Cached
		}
		if d == 0 {
			return cached
		}
		now += d
	}
}

func TestPrefixCache(t *testing.T) {
	limits := smallLimits()
	limits.MaxLoRAs = 1
	for _, c := range []struct {
		name          string
		first, second Work
		off           bool
		want          int
	}{
		{"same prompt leaves a token to compute", Work{Prompt: words(1, 40)}, Work{Prompt: words(1, 40)}, false, 36},
		{"longer prompt", Work{Prompt: words(1, 42)}, Work{Prompt: words(1, 80)}, false, 40},
		{"shorter prompt", Work{Prompt: words(1, 80)}, Work{Prompt: words(1, 42)}, false, 40},
		{"other prompt", Work{Prompt: words(1, 40)}, Work{Prompt: words(2, 40)}, false, 0},
		{"other adapter", Work{Prompt: words(1, 40)}, Work{Prompt: words(1, 40), Adapter: "a"}, false, 0},
		{"same adapter", Work{Prompt: words(1, 40), Adapter: "a"}, Work{Prompt: words(1, 40), Adapter: "a"}, false, 36},
		{"switched off", Work{Prompt: words(1, 40)}, Work{Prompt: words(1, 40)}, true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			limits.NoPrefixCaching = c.off
			e := NewEngine(limits, plain)
			c.first.Output, c.second.Output = 3, 1
			submit(t, e, 0, c.first)
			play(e, 0)
			id := submit(t, e, 0, c.second)
			if got := cachedOf(e, 0)[id]; got != c.want {
				t.Errorf("%d tokens cached, want %d", got, c.want)
			}
			if got := e.Stats().PrefixHits; got != int64(c.want) {
				t.Errorf("%d hits counted, want %d", got, c.want)
			}
		})
	}
}

func TestPrefixIsSharedWithinOneStep(t *testing.T) {
	e := NewEngine(smallLimits(), plain)
	submit(t, e, 0, Work{Prompt: words(1, 80), Output: 1})
	second := submit(t, e, 0, Work{Prompt: words(1, 80), Output: 1})
	if got := cachedOf(e, 0)[second]; got != 76 {
		t.Errorf("%d tokens cached, want 76", got)
	}
}

func TestSharedBlocksCountOnce(t *testing.T) {
	l := smallLimits()
	l.Blocks = 100
	e := NewEngine(l, plain)
	for range 3 {
		submit(t, e, 0, Work{Prompt: words(1, 41), Output: 5})
	}
	e.Step(0)
	// Ten shared blocks, and one each for the 41st token.
	if got := e.Stats().KVUsage; fmt.Sprintf("%.2f", got) != "0.13" {
		t.Errorf("KV usage %v, want 0.13", got)
	}
}

func TestEvictionTakesTheTailFirst(t *testing.T) {
	l := smallLimits()
	l.Blocks = 20
	l.MaxModelLen = 80
	e := NewEngine(l, plain)
	submit(t, e, 0, Work{Prompt: words(1, 60), Output: 1}) // 15 blocks, all kept after the end
	play(e, 0)
	submit(t, e, 0, Work{Prompt: words(2, 40), Output: 1}) // 10 blocks: 5 fresh, 5 evicted
	play(e, 0)
	id := submit(t, e, 0, Work{Prompt: words(1, 60), Output: 1})
	if got := cachedOf(e, 0)[id]; got != 40 {
		t.Errorf("%d tokens of the first prompt are left, want the first 40", got)
	}
}

func TestPreemption(t *testing.T) {
	// Ten blocks of 4. Two prompts of 16 hold 8; each needs one more block to
	// decode, and after 4 more tokens a sixth: the last admitted goes.
	l := Limits{MaxModelLen: 40, MaxNumSeqs: 8, MaxBatchedTokens: 100, BlockSize: 4, Blocks: 10, NoPrefixCaching: true}
	e := NewEngine(l, plain)
	submit(t, e, 0, Work{Prompt: words(1, 16), Output: 8})
	submit(t, e, 0, Work{Prompt: words(2, 16), Output: 8})
	wantPlay(t, e, `
	42ms: 1=1 2=1
	56ms: 1=2 2=2
	70ms: 1=3 2=3
	84ms: 1=4 2=4
	98ms: 1=5 2=5
	110ms: 1=6
	122ms: 1=7
	134ms: 1=8!
	165ms: 2=6
	177ms: 2=7
	189ms: 2=8!
	`)
	if got := e.Stats().Preemptions; got != 1 {
		t.Errorf("%d preemptions, want 1", got)
	}
}

func TestPreemptedFindsItsOwnPrefix(t *testing.T) {
	l := Limits{MaxModelLen: 40, MaxNumSeqs: 8, MaxBatchedTokens: 100, BlockSize: 4, Blocks: 10}
	e := NewEngine(l, plain)
	submit(t, e, 0, Work{Prompt: words(1, 16), Output: 8})
	submit(t, e, 0, Work{Prompt: words(2, 16), Output: 8})
	log, end := play(e, 0)
	// Without a cache the second ends at 189 ms (above). The first takes only the
	// block with generated tokens from it, the tail: 16 tokens less to compute.
	if end != 173*time.Millisecond {
		t.Errorf("ended at %v, want 173ms\n%s", end, log)
	}
	if got := e.Stats().PrefixHits; got != 0 {
		t.Errorf("%d prefix hits: a sequence's own blocks do not count", got)
	}
}

func TestNobodyIsAdmittedAfterPreemption(t *testing.T) {
	// With 8 tokens a step, the victim's first chunk would fit at once into what
	// it has just given up, and be thrown out again soon after.
	l := Limits{MaxModelLen: 40, MaxNumSeqs: 8, MaxBatchedTokens: 8, BlockSize: 4, Blocks: 10, NoPrefixCaching: true}
	e := NewEngine(l, plain)
	submit(t, e, 0, Work{Prompt: words(1, 16), Output: 12})
	submit(t, e, 0, Work{Prompt: words(2, 16), Output: 12})
	for now := time.Duration(0); e.Stats().Preemptions == 0; {
		d, _ := e.Step(now)
		now += d
	}
	if s := e.Stats(); s.Running != 1 || s.Waiting != 1 {
		t.Errorf("%d running, %d waiting in the step of the preemption, want 1 and 1", s.Running, s.Waiting)
	}
}

func TestHeadOfQueueThatDoesNotFitStopsAdmission(t *testing.T) {
	l := Limits{MaxModelLen: 40, MaxNumSeqs: 8, MaxBatchedTokens: 100, BlockSize: 4, Blocks: 10, NoPrefixCaching: true}
	e := NewEngine(l, plain)
	submit(t, e, 0, Work{Prompt: words(1, 24), Output: 2})         // 6 blocks, then 7
	submit(t, e, 0, Work{Prompt: words(2, 24), Output: 1})         // does not fit beside it
	small := submit(t, e, 0, Work{Prompt: words(3, 4), Output: 1}) // would
	_, _ = e.Step(0)
	if s := e.Stats(); s.Running != 1 || s.Waiting != 2 {
		t.Errorf("%d running, %d waiting; sequence %d must not overtake", s.Running, s.Waiting, small)
	}
}

func TestAdapterSlots(t *testing.T) {
	l := smallLimits()
	l.MaxLoRAs = 1
	e := NewEngine(l, plain, "a")
	submit(t, e, 0, Work{Prompt: words(1, 10), Output: 2, Adapter: "a"}) // resident
	submit(t, e, 0, Work{Prompt: words(2, 10), Output: 1, Adapter: "b"}) // no slot while a runs
	submit(t, e, 0, Work{Prompt: words(3, 10), Output: 1})               // overtakes it
	wantPlay(t, e, `
	30ms: 1=1 3=1!
	42ms: 1=2!
	362ms: 2=1!
	`)
	if s := e.Stats(); s.AdapterLoads != 1 || fmt.Sprint(s.Resident) != "[b]" {
		t.Errorf("%d loads, resident %v; want 1 and [b]", s.AdapterLoads, s.Resident)
	}
}

func TestAdapterSlotsEvictTheLeastRecent(t *testing.T) {
	s := adapterSlots{max: 2}
	for _, c := range []struct {
		active string
		loads  int
		want   string
	}{
		{"a", 1, "[a]"}, {"b", 1, "[a b]"}, {"a", 0, "[b a]"}, {"c", 1, "[a c]"}, {"a", 0, "[c a]"},
	} {
		loads := s.load([]string{c.active})
		if got := fmt.Sprint(s.resident); loads != c.loads || got != c.want {
			t.Errorf("after %s: %d loads, resident %s; want %d and %s", c.active, loads, got, c.loads, c.want)
		}
	}
}

func TestLoadStallsTheWholeStep(t *testing.T) {
	l := smallLimits()
	l.MaxLoRAs = 2
	e := NewEngine(l, plain)
	submit(t, e, 0, Work{Prompt: words(1, 10), Output: 1})
	submit(t, e, 0, Work{Prompt: words(2, 10), Output: 1, Adapter: "a"})
	wantPlay(t, e, "330ms: 1=1! 2=1!\n")
}

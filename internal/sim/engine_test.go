package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// plain is a timing in which sums can be done in the head: a step costs 10 ms,
// a prompt token 1 ms, a decoding sequence 2 ms.
var plain = Timing{Step: 10 * time.Millisecond, PrefillToken: time.Millisecond, Decode: 2 * time.Millisecond,
	AdapterLoad: 300 * time.Millisecond}

func smallLimits() Limits {
	return Limits{MaxModelLen: 1000, MaxNumSeqs: 8, MaxBatchedTokens: 100, BlockSize: 4, Blocks: 1000}
}

// words makes a prompt of n tokens that shares nothing with another seed's.
func words(seed, n int) []uint32 {
	out := make([]uint32, n)
	for i := range out {
		out[i] = uint32(seed<<16 + i)
	}
	return out
}

func submit(t *testing.T, e *Engine, at time.Duration, w Work) uint64 {
	t.Helper()
	id, err := e.Submit(at, w)
	if err != nil {
		t.Fatalf("Submit: %v", err)
	}
	return id
}

// play steps until the engine is empty and writes a line for every step that
// had results: when it ended and who has how many tokens.
func play(e *Engine, now time.Duration) (log string, end time.Duration) {
	var b strings.Builder
	for range 100_000 {
		d, events := e.Step(now)
		if len(events) > 0 {
			fmt.Fprintf(&b, "%v:", now)
			for _, ev := range events {
				fmt.Fprintf(&b, " %d=%d", ev.ID, ev.Tokens)
				if ev.Done {
					b.WriteString("!")
				}
			}
			b.WriteString("\n")
		}
		if d == 0 {
			return b.String(), now
		}
		now += d
	}
	panic("the engine does not come to rest")
}

func wantPlay(t *testing.T, e *Engine, want string) {
	t.Helper()
	got, _ := play(e, 0)
	if want = strings.ReplaceAll(strings.TrimLeft(want, "\n"), "\t", ""); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !e.Empty() {
		t.Error("the engine is not empty")
	}
	if u := e.Stats().KVUsage; u != 0 {
		t.Errorf("KV usage %v after the end, want 0", u)
	}
}

func TestOneRequest(t *testing.T) {
	e := NewEngine(smallLimits(), plain)
	submit(t, e, 0, Work{Prompt: words(1, 30), Output: 3})
	wantPlay(t, e, `
	40ms: 1=1
	52ms: 1=2
	64ms: 1=3!
	`)
}

func TestPromptsContend(t *testing.T) {
	// 60 + 60 tokens, 100 a step: the second prompt ends one step after the
	// first, in a step that also decodes.
	e := NewEngine(smallLimits(), plain)
	submit(t, e, 0, Work{Prompt: words(1, 60), Output: 3})
	submit(t, e, 0, Work{Prompt: words(2, 60), Output: 1})
	wantPlay(t, e, `
	110ms: 1=1
	142ms: 1=2 2=1!
	154ms: 1=3!
	`)
}

func TestPrefillIsSerial(t *testing.T) {
	// Eight prompts of 3000 tokens at 60 µs each take what 24,000 tokens take,
	// however many arrive at once.
	e := NewEngine(Limits{MaxModelLen: 4000, MaxNumSeqs: 8, MaxBatchedTokens: 2048, BlockSize: 16, Blocks: 4000},
		Timing{PrefillToken: 60 * time.Microsecond})
	for i := range 8 {
		submit(t, e, 0, Work{Prompt: words(i, 3000), Output: 1})
	}
	if _, end := play(e, 0); end != 1440*time.Millisecond {
		t.Errorf("eight prompts took %v, want 1.44s", end)
	}
}

func TestLongPromptIsChunked(t *testing.T) {
	// 250 tokens take steps of 100, 100 and 50. Decoding goes first in each.
	e := NewEngine(smallLimits(), plain)
	submit(t, e, 0, Work{Prompt: words(1, 4), Output: 5})
	first, _ := e.Step(0)
	submit(t, e, 0, Work{Prompt: words(2, 250), Output: 1})
	log, _ := play(e, first)
	want := "14ms: 1=1\n125ms: 1=2\n236ms: 1=3\n300ms: 1=4 2=1!\n312ms: 1=5!\n"
	if log != want {
		t.Errorf("got\n%swant\n%s", log, want)
	}
}

func TestDecodeGrowsWithBatchAndContext(t *testing.T) {
	timing := Timing{Step: time.Millisecond, Decode: 10 * time.Microsecond, DecodeContext: 1000}
	step := func(sequences, prompt int) time.Duration {
		e := NewEngine(Limits{MaxModelLen: 1000, MaxNumSeqs: 64, MaxBatchedTokens: 64_000, BlockSize: 16, Blocks: 4000}, timing)
		for i := range sequences {
			submit(t, e, 0, Work{Prompt: words(i, prompt), Output: 5})
		}
		e.Step(0)
		d, _ := e.Step(1)
		return d
	}
	// 1 ms + 10 µs per sequence + 1 µs per token of context.
	for _, c := range []struct {
		sequences, prompt int
		want              time.Duration
	}{
		{1, 99, 1110 * time.Microsecond},
		{10, 99, 2100 * time.Microsecond},
		{1, 199, 1210 * time.Microsecond},
	} {
		if got := step(c.sequences, c.prompt); got != c.want {
			t.Errorf("%d sequences of %d tokens decode in %v, want %v", c.sequences, c.prompt, got, c.want)
		}
	}
}

func TestPrefillContextCost(t *testing.T) {
	// Chunks of 100 and 100 tokens see 0 + 50 and 100 + 50 tokens on average.
	e := NewEngine(smallLimits(), Timing{PrefillContext: 1000})
	submit(t, e, 0, Work{Prompt: words(1, 200), Output: 1})
	if _, end := play(e, 0); end != 20*time.Millisecond {
		t.Errorf("took %v, want 100·50 µs + 100·150 µs", end)
	}
}

func TestMaxNumSeqs(t *testing.T) {
	l := smallLimits()
	l.MaxNumSeqs = 1
	e := NewEngine(l, plain)
	submit(t, e, 0, Work{Prompt: words(1, 10), Output: 2})
	submit(t, e, 0, Work{Prompt: words(2, 10), Output: 1})
	wantPlay(t, e, `
	20ms: 1=1
	32ms: 1=2!
	52ms: 2=1!
	`)
}

func TestPromptOnly(t *testing.T) {
	e := NewEngine(smallLimits(), plain)
	submit(t, e, 0, Work{Prompt: words(1, 150)})
	wantPlay(t, e, "170ms: 1=0!\n")
}

func TestEmbeddingCountsNoOutput(t *testing.T) {
	e := NewEngine(smallLimits(), plain)
	submit(t, e, 0, Work{Prompt: words(1, 8)})
	play(e, 0)
	if c := e.Stats().Counters; c.OutputTokens != 0 || c.PromptTokens != 8 {
		t.Errorf("counted %d output and %d prompt tokens, want 0 and 8", c.OutputTokens, c.PromptTokens)
	}
}

func TestTimes(t *testing.T) {
	l := smallLimits()
	l.MaxNumSeqs = 1
	e := NewEngine(l, plain)
	submit(t, e, 0, Work{Prompt: words(1, 10), Output: 1})
	submit(t, e, 5*time.Millisecond, Work{Prompt: words(2, 30), Output: 3})
	var last Event
	now := time.Duration(0)
	for {
		d, events := e.Step(now)
		if len(events) > 0 {
			last = events[len(events)-1]
		}
		if d == 0 {
			break
		}
		now += d
	}
	want := Times{Queued: 15 * time.Millisecond, Prefill: 40 * time.Millisecond, Decode: 24 * time.Millisecond, Total: 79 * time.Millisecond}
	if last.Times != want {
		t.Errorf("times %+v, want %+v", last.Times, want)
	}
}

func TestSubmitRefusals(t *testing.T) {
	e := NewEngine(smallLimits(), plain)
	for name, w := range map[string]Work{
		"empty prompt": {Output: 1},
		"too long":     {Prompt: words(1, 990), Output: 11},
		"no LoRA":      {Prompt: words(1, 1), Output: 1, Adapter: "a"},
	} {
		if _, err := e.Submit(0, w); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for range maxWaiting {
		submit(t, e, 0, Work{Prompt: words(1, 1), Output: 1})
	}
	if _, err := e.Submit(0, Work{Prompt: words(1, 1), Output: 1}); err != ErrQueueFull {
		t.Errorf("error %v of a full queue, want ErrQueueFull", err)
	}
}

func TestCancel(t *testing.T) {
	l := smallLimits()
	l.MaxNumSeqs = 2
	e := NewEngine(l, plain)
	running := submit(t, e, 0, Work{Prompt: words(1, 8), Output: 50})
	other := submit(t, e, 0, Work{Prompt: words(2, 8), Output: 2})
	waiting := submit(t, e, 0, Work{Prompt: words(3, 8), Output: 1})
	d, _ := e.Step(0)
	for _, id := range []uint64{waiting, running} {
		if !e.Cancel(id) {
			t.Fatalf("sequence %d is not there to cancel", id)
		}
		if e.Cancel(id) {
			t.Fatalf("sequence %d was cancelled twice", id)
		}
	}
	if s := e.Stats(); s.Running != 1 || s.Waiting != 0 {
		t.Errorf("%d running, %d waiting after the cancels, want 1 and 0", s.Running, s.Waiting)
	}
	// The step in flight lasts as long as it was going to.
	log, _ := play(e, d)
	if want := fmt.Sprintf("26ms: %d=1\n38ms: %d=2!\n", other, other); log != want {
		t.Errorf("got\n%swant\n%s", log, want)
	}
	if u := e.Stats().KVUsage; u != 0 {
		t.Errorf("KV usage %v, want 0", u)
	}
}

// TestRandomLoad runs random work, cancels some of it, and checks after every
// step that blocks are accounted for and the batch is within its limits.
func TestRandomLoad(t *testing.T) {
	for seed := range uint64(20) {
		if a, b := randomLoad(t, seed), randomLoad(t, seed); a != b {
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}

func randomLoad(t *testing.T, seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	l := Limits{MaxModelLen: 120, MaxNumSeqs: 6, MaxBatchedTokens: 48, BlockSize: 4, Blocks: 40, MaxLoRAs: 2}
	e := NewEngine(l, plain)
	want := map[uint64]int{}
	var log strings.Builder
	now := time.Duration(0)
	for left := 120; left > 0 || !e.Empty(); {
		for ; left > 0 && rng.IntN(3) > 0; left-- {
			w := Work{Prompt: words(rng.IntN(4), 1+rng.IntN(80)), Output: 1 + rng.IntN(30)}
			w.Adapter = []string{"", "a", "b", "c"}[rng.IntN(4)]
			want[submit(t, e, now, w)] = w.Output
		}
		d, events := e.Step(now)
		for _, ev := range events {
			fmt.Fprintln(&log, now, ev)
			if ev.Done {
				if ev.Tokens != want[ev.ID] {
					t.Fatalf("seed %d: sequence %d ended with %d tokens, want %d", seed, ev.ID, ev.Tokens, want[ev.ID])
				}
				delete(want, ev.ID)
			}
		}
		checkEngine(t, e)
		if len(e.running) > 0 && rng.IntN(8) == 0 {
			id := e.running[rng.IntN(len(e.running))].id
			e.Cancel(id)
			delete(want, id)
			checkEngine(t, e)
		}
		now += max(d, 1)
	}
	if len(want) > 0 {
		t.Fatalf("seed %d: %d sequences never ended", seed, len(want))
	}
	return log.String()
}

func checkEngine(t *testing.T, e *Engine) {
	t.Helper()
	holders := make([]int32, len(e.pool.blocks))
	for _, s := range slices.Concat(e.running, e.waiting) {
		for _, b := range s.blocks {
			holders[b]++
		}
		if need := ceilDiv(s.computed+s.step, e.limits.BlockSize); len(s.blocks) != need {
			t.Fatalf("sequence %d has %d blocks for %d tokens", s.id, len(s.blocks), s.computed+s.step)
		}
	}
	idle := 0
	for b := e.pool.oldest; b != none; b = e.pool.blocks[b].next {
		idle++
	}
	tokens := 0
	for _, s := range e.batch {
		tokens += s.step
	}
	for b, block := range e.pool.blocks {
		if block.holders != holders[b] {
			t.Fatalf("block %d counts %d holders, has %d", b, block.holders, holders[b])
		}
		if holders[b] == 0 {
			idle--
		}
		if block.name != 0 && e.pool.named[block.name] != int32(b) {
			t.Fatalf("block %d is not found under its name", b)
		}
	}
	switch {
	case idle != 0 || e.pool.free() < 0:
		t.Fatalf("the queue of unheld blocks is wrong by %d", idle)
	case tokens > e.limits.MaxBatchedTokens, len(e.running) > e.limits.MaxNumSeqs, len(e.active) > e.limits.MaxLoRAs:
		t.Fatalf("batch over its limits: %d tokens, %d sequences, %d adapters", tokens, len(e.running), len(e.active))
	}
}

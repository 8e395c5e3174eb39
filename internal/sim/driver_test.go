package sim

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

func newTestDriver(speed float64) *driver {
	l := smallLimits()
	return newDriver(NewEngine(l, plain), newMeters("m", l.MaxModelLen), speed)
}

// until waits for the call to have n tokens and returns how long that took.
func until(t *testing.T, c *call, n int) time.Duration {
	t.Helper()
	start := time.Now()
	for state := c.read(nil); state[0].tokens < n; state = c.read(state) {
		if err := c.wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return time.Since(start)
}

func oneTask(prompt, output int) []task {
	return []task{{work: Work{Prompt: words(1, prompt), Output: output}, finish: "stop"}}
}

func TestDriverKeepsTime(t *testing.T) {
	for speed, want := range map[float64]time.Duration{1: 64 * time.Millisecond, 10: 6400 * time.Microsecond, math.Inf(1): 0} {
		synctest.Test(t, func(t *testing.T) {
			d := newTestDriver(speed)
			time.Sleep(time.Hour) // idle time must not count
			c, err := d.submit(oneTask(30, 3), 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := until(t, c, 3); got != want {
				t.Errorf("speed %g: took %v, want %v", speed, got, want)
			}
			if state := c.read(nil); !state[0].done {
				t.Error("not done")
			}
		})
	}
}

func TestDriverQueuesBehindTheStepInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDriver(1)
		first, _ := d.submit(oneTask(90, 1), 0) // one step of 100 ms
		time.Sleep(30 * time.Millisecond)
		first.leave()
		if s := d.stats(); s.Running != 0 {
			t.Fatalf("%d running after leave", s.Running)
		}
		// The accelerator is still at work on what nobody waits for.
		second, _ := d.submit([]task{{work: Work{Prompt: words(2, 30), Output: 1}}}, 0)
		if got, want := until(t, second, 1), 110*time.Millisecond; got != want {
			t.Errorf("took %v, want the 70ms left and 40ms of its own = %v", got, want)
		}
	})
}

func TestDriverIsIdleWithoutWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDriver(1)
		c, _ := d.submit(oneTask(30, 3), 0)
		until(t, c, 3)
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.busy || len(d.owners) != 0 || !d.engine.Empty() {
			t.Errorf("busy %v, %d owners", d.busy, len(d.owners))
		}
	})
}

func TestDriverMeters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDriver(10)
		c, _ := d.submit(oneTask(30, 3), 4*time.Millisecond)
		until(t, c, 3)
		gone, _ := d.submit(oneTask(30, 30), 0)
		gone.leave()
		m := d.meters
		// A client saw 4 ms before the engine, then 40 ms and twice 12 ms at ten
		// times the speed.
		for _, c := range []struct {
			name string
			h    *histogram
			n    uint64
			sum  float64
		}{
			{"TTFT", m.ttft, 1, 0.008}, {"ITL", m.itl, 2, 0.0024}, {"e2e", m.e2e, 1, 0.0104}, {"queue", m.queue, 1, 0.004},
			{"prefill", m.prefill, 1, 0.004}, {"decode", m.dec, 1, 0.0024}, {"TPOT", m.tpot, 1, 0.0012},
		} {
			if c.h.n != c.n || math.Abs(c.h.sum-c.sum) > 1e-9 {
				t.Errorf("%s: n %d, sum %g; want %d, %g", c.name, c.h.n, c.h.sum, c.n, c.sum)
			}
		}
		if m.finished["stop"] != 1 || m.finished["abort"] != 1 {
			t.Errorf("finished %v", m.finished)
		}
	})
}

func TestDriverGivesUpLostTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDriver(1)
		c, _ := d.submit(oneTask(30, 100), 0)
		// A process that did not run for an hour: the timer fires late.
		d.mu.Lock()
		d.origin = d.origin.Add(-time.Hour)
		d.mu.Unlock()
		until(t, c, 2)
		if got := until(t, c, 12); got != 120*time.Millisecond {
			t.Errorf("ten tokens after the pause took %v, want 120ms", got)
		}
		c.leave()
	})
}

func TestWaitEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDriver(1)
		c, _ := d.submit(oneTask(30, 3), 0)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		<-c.news // the first token
		if c.wait(ctx) == nil {
			t.Error("wait came back without news")
		}
		c.leave()
	})
}

func TestQueueFullLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newTestDriver(1)
		for len(d.engine.waiting) < maxWaiting-1 {
			if _, err := d.submit(oneTask(1, 1), 0); err != nil {
				t.Fatal(err)
			}
		}
		before := len(d.owners)
		if _, err := d.submit(append(oneTask(1, 1), oneTask(1, 1)...), 0); err == nil {
			t.Fatal("accepted beyond the queue's bound")
		}
		if len(d.owners) != before || len(d.engine.waiting) != maxWaiting-1 {
			t.Error("half of a refused call is still there")
		}
	})
}

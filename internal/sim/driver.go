package sim

import (
	"context"
	"math"
	"sync"
	"time"
)

// driver runs an Engine against the wall clock. Between steps nothing exists
// but a timer, and none while the engine is empty.
type driver struct {
	mu     sync.Mutex
	engine *Engine
	meters *meters
	speed  float64 // engine seconds per wall second; +Inf never waits
	origin time.Time
	clock  time.Duration // engine time at which the step in flight ends
	busy   bool          // a step is in flight and the timer is set
	timer  *time.Timer
	owners map[uint64]owner
}

// owner says whose sequence it is: which call, and which of its tasks.
type owner struct {
	call  *call
	index int
}

// maxLag is how far the engine may fall behind the wall clock and still catch
// up without waiting. Beyond it (a suspended laptop, a speed the machine cannot
// reach) the lost time is given up, or a burst of tokens would follow.
const maxLag = 200 * time.Millisecond

func newDriver(e *Engine, m *meters, speed float64) *driver {
	return &driver{engine: e, meters: m, speed: speed, origin: time.Now(), owners: make(map[uint64]owner)}
}

// task is one sequence of a call and what the metrics want to know of it.
type task struct {
	work      Work
	finish    string // finish reason it will have
	maxTokens int    // as requested; 0 when the request sets none
}

// call is a set of sequences that one HTTP request waits for.
type call struct {
	driver *driver
	ids    []uint64
	tasks  []task
	state  []progress // guarded by driver.mu
	news   chan struct{}
}

// progress is how far one sequence has come.
type progress struct {
	tokens int
	cached int
	done   bool
}

// submit queues the tasks as one call. waited is wall time that they have spent
// before the engine saw them; it counts into their latency. On an error none of
// them is queued.
func (d *driver) submit(tasks []task, waited time.Duration) (*call, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &call{driver: d, tasks: tasks, state: make([]progress, len(tasks)), news: make(chan struct{}, 1)}
	arrived := d.now() - d.engineTime(waited)
	for i, t := range tasks {
		id, err := d.engine.Submit(arrived, t.work)
		if err != nil {
			d.withdraw(c)
			return nil, err
		}
		c.ids = append(c.ids, id)
		d.owners[id] = owner{c, i}
	}
	if !d.busy {
		d.clock = max(d.clock, d.now())
		d.step()
	}
	return c, nil
}

// wait blocks until something has happened to the call since the last wait.
func (c *call) wait(ctx context.Context) error {
	select {
	case <-c.news:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read copies the progress of every sequence into dst.
func (c *call) read(dst []progress) []progress {
	c.driver.mu.Lock()
	defer c.driver.mu.Unlock()
	return append(dst[:0], c.state...)
}

// leave takes what is unfinished out of the engine at once. Calling it after
// the end does nothing.
func (c *call) leave() {
	c.driver.mu.Lock()
	defer c.driver.mu.Unlock()
	c.driver.withdraw(c)
}

func (d *driver) withdraw(c *call) {
	for i, id := range c.ids {
		if !c.state[i].done && d.engine.Cancel(id) {
			delete(d.owners, id)
			c.state[i].done = true
			d.meters.aborted()
		}
	}
}

// step ends the step in flight, begins the next and sets the timer for its end.
// The caller holds mu.
func (d *driver) step() {
	lasts, events := d.engine.Step(d.clock)
	for _, ev := range events {
		d.deliver(ev)
	}
	d.meters.afterStep(d.engine, time.Now())
	d.busy = lasts > 0
	if !d.busy {
		return
	}
	d.clock += lasts
	wait := d.untilClock()
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, d.tick)
		return
	}
	d.timer.Reset(wait)
}

func (d *driver) tick() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.step()
}

func (d *driver) deliver(ev Event) {
	o := d.owners[ev.ID]
	d.meters.observe(ev, o.call.tasks[o.index], d.meterScale())
	o.call.state[o.index] = progress{tokens: ev.Tokens, cached: ev.Cached, done: ev.Done}
	if ev.Done {
		delete(d.owners, ev.ID)
	}
	// A reader that lags finds several tokens at once: the engine never waits.
	select {
	case o.call.news <- struct{}{}:
	default:
	}
}

// now is the engine time of this moment. While a step is in flight it is not
// later than the step's end, so that no wait comes out negative.
func (d *driver) now() time.Duration {
	if math.IsInf(d.speed, 1) {
		return d.clock
	}
	t := d.engineTime(time.Since(d.origin))
	if d.busy {
		t = min(t, d.clock)
	}
	return t
}

// untilClock is the wall time left until clock.
func (d *driver) untilClock() time.Duration {
	if math.IsInf(d.speed, 1) {
		return 0
	}
	wait := time.Until(d.origin.Add(d.wallTime(d.clock)))
	if wait < -maxLag {
		d.origin = d.origin.Add(-wait)
	}
	return max(0, wait)
}

func (d *driver) engineTime(wall time.Duration) time.Duration {
	if math.IsInf(d.speed, 1) {
		return 0
	}
	return time.Duration(float64(wall) * d.speed)
}

func (d *driver) wallTime(engine time.Duration) time.Duration {
	return time.Duration(float64(engine) / d.speed)
}

// meterScale turns engine time into what the metrics report: the time a client
// sees, or engine time itself when the driver never waits.
func (d *driver) meterScale() float64 {
	if math.IsInf(d.speed, 1) {
		return 1
	}
	return 1 / d.speed
}

// stats reads the engine.
func (d *driver) stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.engine.Stats()
}

// setTiming changes the engine's coefficients; extra is added to every step, in
// wall time.
func (d *driver) setTiming(t Timing, extra time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t.Step += d.engineTime(extra)
	d.engine.SetTiming(t)
}

// unload frees the slot of an adapter.
func (d *driver) unload(adapter string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.engine.Unload(adapter)
}

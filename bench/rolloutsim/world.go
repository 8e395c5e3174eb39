package main

import (
	"math"
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
)

// tick is the length of a window.
const tick = 10 * time.Second

// An event may happen to a request, as package tally counts them.
const (
	failed = iota // before the others: such a request has no answer to look at
	leaves        // the client goes away
	cut
	empty
	loops
	badJSON
	badTool
	numEvents
)

// events are their names in guardrails, the part of the requests that can have them,
// and how often those of a healthy version do.
var events = [numEvents]struct {
	name        string
	asked, rate float64
}{
	failed:  {rollout.ErrorRate, 1, 0.005},
	leaves:  {rollout.ClientAborts, 1, 0.02},
	cut:     {rollout.FinishLength, 1, 0.03},
	empty:   {rollout.EmptyAnswer, 1, 0.001},
	loops:   {rollout.LoopingAnswer, 1, 0.002},
	badJSON: {rollout.InvalidJSON, 0.2, 0.01},
	badTool: {rollout.InvalidToolCall, 0.2, 0.01},
}

// traffic describes a world of sessions that are assigned to an arm by their bucket.
type traffic struct {
	rps     float64
	perUser float64            // requests in a session, on average
	gap     time.Duration      // between them, on average
	icc     float64            // correlation of a session's events, of each kind
	voice   float64            // sd of a session's own ln TTFT and ln TPOT
	pods    float64            // sd of a pod's own ln of latencies and log-odds of errors, by window
	bad     [numEvents]float64 // chance of each event on the candidate
	slower  float64            // factor of the candidate's TTFT
	slack   float64            // factor of its TPOT
	cold    float64            // added to the factor at first, fading within half a minute
	drift   bool               // errors move between a third and three times their rate
}

// usual is healthy traffic without anything special.
func usual() traffic {
	t := traffic{rps: 20, perUser: 1, gap: 15 * time.Second, slower: 1, slack: 1}
	for e := range events {
		t.bad[e] = events[e].rate
	}
	return t
}

// world is the state of one run.
type world struct {
	traffic
	*rand.Rand
	at       float64 // seconds
	users    []user
	exposed  float64 // seconds of traffic the candidate has had
	podNoise [2][4]float64
}

type user struct {
	bucket  float64
	next    float64 // instant of the next request
	left    int
	odds    *[numEvents]float64 // own odds of events; nil: those of the arm
	latency float64             // factor
	had     [numEvents]bool
}

func newWorld(t traffic, seed uint64) *world {
	return &world{traffic: t, Rand: rand.New(rand.NewPCG(seed, 0x5EED))}
}

// unit is what one session did within a window.
type unit struct {
	asked, had [numEvents]bool
	ttft, tpot time.Duration // the worst; 0: none
}

// counts are those of one window; arm 0 is the candidate.
type counts struct {
	events     [numEvents][2]stats.Tally
	ttft, tpot [2]stats.Histogram
	arrivals   [2]int64
}

// window returns what gateways count in one tick with this share.
func (w *world) window(share rollout.Share, revision int64, start time.Time) *rollout.Observation {
	from := w.at
	w.at += tick.Seconds()
	for arm := range w.podNoise {
		for pod := range w.podNoise[arm] {
			w.podNoise[arm][pod] = w.NormFloat64() * w.pods
		}
	}
	w.arrive(from)
	c := &counts{ttft: [2]stats.Histogram{{}, {}}, tpot: [2]stats.Histogram{{}, {}}}
	keep := w.users[:0]
	for _, u := range w.users {
		arm := 1
		if u.bucket < float64(share)/float64(rollout.Whole) {
			arm = 0
		}
		n, x := w.act(&u, arm)
		if n > 0 {
			c.arrivals[arm] += int64(n)
			c.count(arm, &x, &u, w.perUser > 1)
		}
		if u.left > 0 {
			keep = append(keep, u)
		}
	}
	w.users = keep
	if share > 0 {
		w.exposed += tick.Seconds()
	}
	return c.observation(start.Add(seconds(from)), start.Add(seconds(w.at)), revision)
}

// count adds what a session did. It is counted until its first event of a kind: one
// that fails again and again tells nothing new.
func (c *counts) count(arm int, x *unit, u *user, session bool) {
	for e := range c.events {
		if !x.asked[e] || u.had[e] {
			continue
		}
		t := &c.events[e][arm]
		t.Units++
		if x.had[e] {
			t.Events++
			u.had[e] = session
		}
	}
	if x.ttft > 0 {
		c.ttft[arm].Add(stats.Bucket(x.ttft))
		c.tpot[arm].Add(stats.Bucket(x.tpot))
	}
}

func (c *counts) observation(from, to time.Time, revision int64) *rollout.Observation {
	o := &rollout.Observation{From: from, To: to, Oldest: revision}
	for arm, a := range []*rollout.Arm{&o.Candidate, &o.Stable} {
		a.Known, a.Ready, a.Arrivals, a.Running = true, 4, c.arrivals[arm], int(c.arrivals[arm])
	}
	o.Samples = map[string]map[string]rollout.Sample{
		rollout.TTFT: {"": {Candidate: c.ttft[0], Stable: c.ttft[1]}},
		rollout.TPOT: {"": {Candidate: c.tpot[0], Stable: c.tpot[1]}},
	}
	for e, arms := range c.events {
		o.Samples[events[e].name] = map[string]rollout.Sample{"": {Table: stats.Table{Candidate: arms[0], Stable: arms[1]}}}
	}
	return o
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// arrive adds the sessions that begin within the window.
func (w *world) arrive(from float64) {
	for t := from + w.ExpFloat64()*w.perUser/w.rps; t < w.at; t += w.ExpFloat64() * w.perUser / w.rps {
		u := user{bucket: w.Float64(), next: t, left: 1, latency: math.Exp(w.voice * w.NormFloat64())}
		for w.Float64() > 1/w.perUser {
			u.left++
		}
		if w.icc > 0 {
			u.odds = new([numEvents]float64)
			for e := range events {
				p := events[e].rate
				own := w.beta(p*(1-w.icc)/w.icc, (1-p)*(1-w.icc)/w.icc)
				u.odds[e] = own / max(1-own, 1e-12)
			}
		}
		w.users = append(w.users, u)
	}
}

// act makes a session's requests of the window.
func (w *world) act(u *user, arm int) (n int, x unit) {
	for ; u.left > 0 && u.next < w.at; u.left-- {
		n++
		pod := w.podNoise[arm][w.IntN(4)]
		if w.happen(u, arm, pod, &x) {
			ttft := 0.2 * u.latency * math.Exp(0.7*w.NormFloat64()+0.44*pod)
			tpot := 0.02 * u.latency * math.Exp(0.3*w.NormFloat64()+0.44*pod)
			if arm == 0 {
				ttft *= w.slower + w.cold*math.Exp(-w.exposed/30)
				tpot *= w.slack
			}
			x.ttft, x.tpot = max(x.ttft, seconds(ttft)), max(x.tpot, seconds(tpot))
		}
		u.next += w.ExpFloat64() * w.gap.Seconds()
	}
	return n, x
}

// happen draws the events of a request and reports whether it was answered.
func (w *world) happen(u *user, arm int, pod float64, x *unit) bool {
	for e := range events {
		if events[e].asked < 1 && w.Float64() >= events[e].asked {
			continue
		}
		odds := w.odds(arm, e)
		if u.odds != nil {
			odds = u.odds[e]
		}
		if e == failed {
			odds *= math.Exp(pod)
		}
		had := w.Float64() < odds/(1+odds)
		x.asked[e], x.had[e] = true, x.had[e] || had
		if had && e == failed {
			return false
		}
	}
	return true
}

func (w *world) odds(arm, e int) float64 {
	p := events[e].rate
	if arm == 0 {
		p = w.bad[e]
	}
	if w.drift && e == failed {
		p *= math.Exp(1.25 * math.Sin(w.at/300))
	}
	p = min(p, 1-1e-9)
	return p / (1 - p)
}

// beta draws from the beta distribution.
func (w *world) beta(a, b float64) float64 {
	x, y := w.gamma(a), w.gamma(b)
	if x+y == 0 {
		return 0
	}
	return x / (x + y)
}

// gamma draws from the gamma distribution (Marsaglia and Tsang, 2000).
func (w *world) gamma(shape float64) float64 {
	if shape < 1 {
		return w.gamma(shape+1) * math.Pow(w.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		z := w.NormFloat64()
		v := 1 + c*z
		if v = v * v * v; v > 0 && math.Log(1-w.Float64()) < z*z/2+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

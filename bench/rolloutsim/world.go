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

// traffic describes a world of sessions that are assigned to an arm by their bucket.
type traffic struct {
	rps     float64
	perUser float64       // requests in a session, on average
	gap     time.Duration // between them, on average
	icc     float64       // correlation of a session's errors
	voice   float64       // sd of a session's own ln TTFT
	pods    float64       // sd of a pod's own ln TTFT and log-odds of errors, by window
	errors  [2]float64    // candidate, stable
	slower  float64       // factor of the candidate's TTFT
	cold    float64       // added to the factor at first, fading within half a minute
	drift   bool          // errors move between a half and six times their rate
}

// usual is healthy traffic without anything special.
func usual() traffic {
	return traffic{rps: 20, perUser: 1, gap: 15 * time.Second, errors: [2]float64{0.005, 0.005}, slower: 1}
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
	errors  float64 // chance of an error, relative to the arm's odds
	own     bool    // errors is the chance itself
	latency float64 // factor
	failed  bool
}

func newWorld(t traffic, seed uint64) *world {
	w := &world{traffic: t, Rand: rand.New(rand.NewPCG(seed, 0x5EED))}
	// The sessions that are under way when the run begins.
	w.users = nil
	return w
}

// unit is what one session did within a window.
type unit struct {
	bad   bool
	worst time.Duration
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
	o := &rollout.Observation{From: start.Add(seconds(from)), To: start.Add(seconds(w.at)), Oldest: revision}
	errors := stats.Table{}
	latency := [2]stats.Histogram{{}, {}}
	keep := w.users[:0]
	for _, u := range w.users {
		arm := 1
		if u.bucket < float64(share)/float64(rollout.Whole) {
			arm = 0
		}
		n, x := w.act(&u, arm)
		if n > 0 {
			[]*rollout.Arm{&o.Candidate, &o.Stable}[arm].Arrivals += int64(n)
			if t := []*stats.Tally{&errors.Candidate, &errors.Stable}[arm]; !u.failed {
				t.Units++
				if x.bad {
					t.Events++
				}
			}
			// A session is counted until its first error: one that fails again
			// and again tells nothing new.
			u.failed = u.failed || x.bad && w.perUser > 1
			latency[arm].Add(stats.Bucket(x.worst))
		}
		if u.left > 0 {
			keep = append(keep, u)
		}
	}
	w.users = keep
	if share > 0 {
		w.exposed += tick.Seconds()
	}
	for _, a := range []*rollout.Arm{&o.Candidate, &o.Stable} {
		a.Known, a.Ready, a.Running = true, 4, int(a.Arrivals)
	}
	o.Samples = map[string]map[string]rollout.Sample{
		rollout.ErrorRate: {"": {Table: errors}},
		rollout.TTFT:      {"": {Candidate: latency[0], Stable: latency[1]}},
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
			p := w.errors[1]
			u.errors, u.own = w.beta(p*(1-w.icc)/w.icc, (1-p)*(1-w.icc)/w.icc), true
		}
		w.users = append(w.users, u)
	}
}

// act makes a session's requests of the window.
func (w *world) act(u *user, arm int) (n int, x unit) {
	for ; u.left > 0 && u.next < w.at; u.left-- {
		n++
		pod := w.podNoise[arm][w.IntN(4)]
		odds := w.odds(arm) * math.Exp(pod)
		if u.own {
			odds = u.errors / max(1-u.errors, 1e-12)
		}
		x.bad = x.bad || w.Float64() < odds/(1+odds)
		ttft := 0.2 * u.latency * math.Exp(0.7*w.NormFloat64()+0.44*pod)
		if arm == 0 {
			ttft *= w.slower + w.cold*math.Exp(-w.exposed/30)
		}
		x.worst = max(x.worst, seconds(ttft))
		u.next += w.ExpFloat64() * w.gap.Seconds()
	}
	return n, x
}

func (w *world) odds(arm int) float64 {
	p := w.errors[arm]
	if w.drift {
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

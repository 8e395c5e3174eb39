// Package rehearsal plays a rollout's plan on synthetic traffic, with the machine
// that plays it on the real one, to see before what it would do.
//
// Requests arrive by chance, each independent of the others; each gateway there
// is serves a share at once. What real traffic adds (sessions whose requests
// resemble each other, load, cold caches) is missing, so real rollouts take as
// long or longer.
package rehearsal

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
)

// Traffic is a world. The zero value of a field is its default.
type Traffic struct {
	// Rate of requests a second, of both arms together; default 20, at most 10,000.
	Rate float64
	// Stable and Candidate are the arms.
	Stable, Candidate Arm
}

// Arm is how one version behaves.
type Arm struct {
	// Errors is the part of requests that fails, 0 to 1.
	Errors float64
	// TTFT is the median of a lognormal distribution; default 200 ms.
	TTFT time.Duration
	// Endpoints that are ready; default 4.
	Endpoints int
	// Model is false for an arm whose endpoints do not serve the model yet.
	NoModel bool
}

// Spread of ln latencies, time per output token, length of answers, and the parts
// of answers that are cut at their limit and of clients that leave: those of a
// chat service, equal in both arms.
const (
	spread      = 0.7
	tpot        = 20 * time.Millisecond
	tokens      = 200
	cut         = 0.03
	leave       = 0.02
	running     = 5 * time.Second // how long a request runs
	warmEach    = 2.0             // warm-up requests a second and endpoint
	maxRate     = 10_000
	maxTTFT     = 5 * time.Minute
	defaultRate = 20
)

// Complete fills in defaults and returns what cannot be.
func (t *Traffic) Complete() error {
	if t.Rate == 0 {
		t.Rate = defaultRate
	}
	if !(t.Rate > 0 && t.Rate <= maxRate) {
		return errors.New("the rate of requests must be above 0 and at most 10000 a second")
	}
	for _, a := range []*Arm{&t.Stable, &t.Candidate} {
		if a.TTFT == 0 {
			a.TTFT = 200 * time.Millisecond
		}
		if a.Endpoints == 0 {
			a.Endpoints = 4
		}
		if !(a.Errors >= 0 && a.Errors <= 1) {
			return errors.New("the part of errors must be from 0 to 1")
		}
		if a.TTFT < 0 || a.TTFT > maxTTFT || a.Endpoints < 0 {
			return errors.New("the time to the first token must be above 0 and at most 5m, and the endpoints not negative")
		}
	}
	return nil
}

// world is the traffic of one run.
type world struct {
	Traffic
	*rand.Rand
	warmed float64
	number int64
}

// window is what gateways count of one window under a state.
func (w *world) window(plan *rollout.Plan, s *rollout.State, from, to time.Time) *rollout.Observation {
	seconds := to.Sub(from).Seconds()
	mean, share := w.Rate*seconds, float64(s.Share.Set)/float64(rollout.Whole)
	o := &rollout.Observation{From: from, To: to, Oldest: s.Share.Revision, Samples: map[string]map[string]rollout.Sample{}}
	n := [2]int64{w.poisson(mean * share), w.poisson(mean * (1 - share))}
	w.arm(&o.Candidate, w.Traffic.Candidate, n[0], seconds)
	w.arm(&o.Stable, w.Traffic.Stable, n[1], seconds)
	if w.Traffic.Candidate.NoModel {
		o.NoModel = []string{"10.0.0.1:8000"}
	}
	o.Warm, o.WarmSteady = w.warm(s, seconds)
	for i := range plan.Analysis.Guardrails {
		if g := &plan.Analysis.Guardrails[i]; !g.External {
			o.Samples[g.Name] = map[string]rollout.Sample{"": w.sample(g, n, w.mirrored(s, n[1]))}
		}
	}
	return o
}

func (w *world) arm(a *rollout.Arm, is Arm, arrivals int64, seconds float64) {
	now := int64(float64(arrivals) / seconds * running.Seconds())
	*a = rollout.Arm{Arrivals: arrivals, InFlight: now, Known: true, Ready: is.Endpoints, Running: int(now)}
}

// warm is how many requests each endpoint has had in the warm-up under way.
func (w *world) warm(s *rollout.State, seconds float64) (requests int, steady bool) {
	if s.Number != w.number {
		w.number, w.warmed = s.Number, 0
	}
	if s.Step < len(s.Steps) && s.Steps[s.Step].Kind == rollout.Warmup {
		w.warmed += warmEach * seconds
	}
	return int(w.warmed), w.warmed > 0
}

// mirrored is how many requests of a window's are mirrored.
func (w *world) mirrored(s *rollout.State, stable int64) int64 {
	if s.Step >= len(s.Steps) || s.Steps[s.Step].Kind != rollout.Mirror {
		return 0
	}
	return stable * int64(s.Steps[s.Step].Percent) / 100
}

// sample is one guardrail's window.
func (w *world) sample(g *rollout.Guardrail, n [2]int64, pairs int64) (x rollout.Sample) {
	arms := [2]Arm{w.Traffic.Candidate, w.Traffic.Stable}
	if len(g.Quantiles) > 0 || g.Limit > 0 {
		x.Candidate, x.Stable = w.histogram(median(g.Name, arms[0]), n[0]), w.histogram(median(g.Name, arms[1]), n[1])
		return x
	}
	rates := [2]float64{rate(g.Name, arms[0]), rate(g.Name, arms[1])}
	x.Table = stats.Table{Candidate: w.tally(n[0], rates[0]), Stable: w.tally(n[1], rates[1])}
	x.Pairs.Worse = w.tally(pairs, rates[0]*(1-rates[1])).Events
	x.Pairs.Better = min(w.tally(pairs, rates[1]*(1-rates[0])).Events, pairs-x.Pairs.Worse)
	x.Pairs.Same = pairs - x.Pairs.Worse - x.Pairs.Better
	return x
}

// rate of a metric of events; those that this world does not know never occur.
func rate(metric string, a Arm) float64 {
	switch metric {
	case rollout.ErrorRate:
		return a.Errors
	case rollout.FinishLength:
		return cut
	case rollout.ClientAborts:
		return leave
	}
	return 0
}

// median of a latency, or of a number of tokens, for which milliseconds stand.
func median(metric string, a Arm) time.Duration {
	switch metric {
	case rollout.TTFT:
		return a.TTFT
	case rollout.OutputTokens:
		return tokens * time.Millisecond
	case rollout.TPOT, rollout.SlowestGap:
		return tpot
	}
	return a.TTFT + tokens*tpot // of a whole answer
}

// maxDraws bounds the draws for one histogram; beyond it each stands for several,
// which leaves quantiles as they are and takes a little of their chance.
const maxDraws = 2000

func (w *world) histogram(median time.Duration, n int64) stats.Histogram {
	h := stats.Histogram{}
	each := n/maxDraws + 1
	for ; n > 0; n -= each {
		d := time.Duration(float64(median) * math.Exp(spread*w.NormFloat64()))
		h[stats.Bucket(d)] += min(each, n)
	}
	return h
}

// tally draws how many of n units have an event.
func (w *world) tally(n int64, p float64) stats.Tally {
	t := stats.Tally{Units: n}
	if p >= 1 {
		t.Events = n
		return t
	}
	if p <= 0 {
		return t
	}
	// Gaps between events are geometric.
	for at := w.gap(p); at <= n; at += w.gap(p) {
		t.Events++
	}
	return t
}

func (w *world) gap(p float64) int64 {
	g := math.Floor(math.Log(1-w.Float64())/math.Log1p(-p)) + 1
	return int64(min(g, 1e15))
}

func (w *world) poisson(mean float64) (n int64) {
	for at := w.ExpFloat64(); at < mean; at += w.ExpFloat64() {
		n++
	}
	return n
}

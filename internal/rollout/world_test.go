package rollout

import (
	"fmt"
	"math"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// world makes windows of counts, without chance: rates are met as exactly as whole
// numbers allow, latencies stand at the quantiles of a lognormal distribution.
type world struct {
	rps     float64
	stream  time.Duration // how long a request runs
	arms    [2]armWorld   // candidate, stable
	warm    int           // requests a warm-up sends per second and endpoint
	noModel []string
	missing []string
	lag     int // windows until gateways serve a new share
	stuck   bool
	json    float64         // part of the requests that ask for JSON
	only    map[string]bool // metrics that are measured; nil: all

	served  []ShareState // of the last windows
	history [2][]int64   // arrivals of the last windows
	carry   map[string]float64
	warmed  float64
	number  int64
}

type armWorld struct {
	errors, length, empty, aborts float64
	looping, badJSON, rejects     float64
	ttft, tpot                    time.Duration
	ready, waiting                int
	load                          float64 // running requests per endpoint; 0: by arrivals
	kv                            float64
}

func newWorld() *world {
	arm := armWorld{errors: 0.005, length: 0.03, aborts: 0.02, rejects: 0.01, ttft: 200 * time.Millisecond, tpot: 20 * time.Millisecond, ready: 4}
	return &world{rps: 20, stream: 5 * time.Second, arms: [2]armWorld{arm, arm}, warm: 2, carry: map[string]float64{}}
}

// whole returns v as a whole number, and keeps the rest for the next call.
func (w *world) whole(key string, v float64) int64 {
	v += w.carry[key]
	n := math.Floor(v + 1e-9)
	w.carry[key] = v - n
	return int64(n)
}

// window is what gateways count from one instant to another under a state.
func (w *world) window(s *State, from, to time.Time) *Observation {
	w.served = append(w.served, s.Share)
	share := w.served[max(0, len(w.served)-1-w.lag)]
	if w.stuck {
		share = w.served[0]
		w.served = w.served[:1]
	}
	seconds := to.Sub(from).Seconds()
	n := w.whole("arrivals", w.rps*seconds)
	counts := [2]int64{w.whole("candidate", float64(n)*float64(share.Set)/float64(Whole)), 0}
	counts[1] = n - counts[0]
	o := &Observation{From: from, To: to, Missing: w.missing, Oldest: share.Revision, NoModel: w.noModel}
	arms := [2]*Arm{&o.Candidate, &o.Stable}
	for i := range arms {
		w.history[i] = append(w.history[i], counts[i])
		windows := min(int(math.Ceil(w.stream.Seconds()/seconds)), len(w.history[i]))
		for _, c := range w.history[i][len(w.history[i])-windows:] {
			arms[i].InFlight += c
		}
		a := w.arms[i]
		arms[i].Arrivals, arms[i].Known, arms[i].Ready, arms[i].Waiting, arms[i].KV = counts[i], true, a.ready, a.waiting, a.kv
		arms[i].Running = int(arms[i].InFlight)
		if a.load > 0 {
			arms[i].Running = int(a.load * float64(a.ready))
		}
	}
	if s.Number != w.number {
		w.number, w.warmed = s.Number, 0
	}
	if step, ok := (&machine{State: s.clone()}).current(); ok && step.Kind == Warmup {
		w.warmed += float64(w.warm) * seconds
		o.Warm, o.WarmSteady = int(w.warmed), true
	}
	o.Samples = w.samples(counts)
	return o
}

func (w *world) samples(n [2]int64) map[string]map[string]Sample {
	out := map[string]map[string]Sample{}
	for name, rate := range map[string]func(armWorld) float64{
		ErrorRate:    func(a armWorld) float64 { return a.errors },
		FinishLength: func(a armWorld) float64 { return a.length },
		Rejected:     func(a armWorld) float64 { return a.rejects },
		EmptyAnswer:  func(a armWorld) float64 { return a.empty },
		ClientAborts: func(a armWorld) float64 { return a.aborts },

		LoopingAnswer: func(a armWorld) float64 { return a.looping },
		InvalidJSON:   func(a armWorld) float64 { return a.badJSON },
	} {
		tally := func(i int) stats.Tally {
			units := n[i]
			if name == InvalidJSON {
				units = w.whole(fmt.Sprintf("units of %s %d", name, i), float64(units)*w.json)
			}
			return stats.Tally{Units: units, Events: min(units, w.whole(name+string(rune('0'+i)), float64(units)*rate(w.arms[i])))}
		}
		out[name] = map[string]Sample{"": {Table: stats.Table{Candidate: tally(0), Stable: tally(1)}}}
	}
	for name, median := range map[string]func(armWorld) time.Duration{
		TTFT: func(a armWorld) time.Duration { return a.ttft },
		TPOT: func(a armWorld) time.Duration { return a.tpot },
	} {
		histogram := func(i int) stats.Histogram {
			h := stats.Histogram{}
			for k := range n[i] {
				// A point that goes round the unit interval by the golden ratio.
				key := name + string(rune('0'+i))
				w.carry[key] = math.Mod(w.carry[key]+0.6180339887498949, 1)
				z := math.Sqrt2 * math.Erfinv(2*min(max(w.carry[key], 1e-6), 1-1e-6)-1)
				_ = k
				h.Add(stats.Bucket(time.Duration(float64(median(w.arms[i])) * math.Exp(0.7*z))))
			}
			return h
		}
		out[name] = map[string]Sample{"": {Candidate: histogram(0), Stable: histogram(1)}}
	}
	for name := range out {
		if w.only != nil && !w.only[name] {
			delete(out, name)
		}
	}
	return out
}

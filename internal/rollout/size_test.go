package rollout

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// mostState is how long a state may be that is written into an object's status every
// few seconds, in bytes. What keeps statuses refuses more than 256 KiB.
const mostState = 240 << 10

// This is a state of as many guardrails, quantiles and strata as there may be.
func TestSizeOfAState(t *testing.T) {
	p := Plan{}
	for _, name := range Metrics() {
		g := Guardrail{Name: name, Max: 0.5}
		if Measured(name) {
			g.Limit, g.Quantiles = 2*time.Second, []float64{0.5, 0.75, 0.9, 0.95, 0.99}
		}
		p.Analysis.Guardrails = append(p.Analysis.Guardrails, g)
	}
	p.Complete()
	s := State{Books: map[string]*Book{}}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		for i := range p.Analysis.Guardrails {
			g := &p.Analysis.Guardrails[i]
			m := machine{plan: &p, State: &s}
			for stratum := range stats.MaxStrata {
				m.book(g).add(g, fmt.Sprintf("prompt-%d stream", stratum), sample(r, g), false, true)
			}
		}
	}
	text, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", len(text))
	if len(text) > mostState {
		t.Errorf("%d bytes, more than %d", len(text), mostState)
	}
	var again State
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	for i := range p.Analysis.Guardrails {
		g := &p.Analysis.Guardrails[i]
		x, y := s.Books[g.Name].Measure(g), again.Books[g.Name].Measure(g)
		if math.Abs(x.Harm-y.Harm) > 0.01 || x.Table != y.Table || !again.Books[g.Name].fits(g) {
			t.Errorf("%s: %v, and %v when read back", g.Name, x, y)
		}
	}
}

func sample(r *rand.Rand, g *Guardrail) Sample {
	if !g.latency() {
		tally := func() stats.Tally { return stats.Tally{Units: 100, Events: r.Int64N(5)} }
		return Sample{Table: stats.Table{Candidate: tally(), Stable: tally()}}
	}
	histogram := func() stats.Histogram {
		h := stats.Histogram{}
		for range 100 {
			h.Add(stats.Bucket(time.Duration(r.ExpFloat64() * float64(time.Second))))
		}
		return h
	}
	return Sample{Candidate: histogram(), Stable: histogram()}
}

package rollout

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// TestAnyStory throws events of every kind at the machine in no sensible order, with
// plans that change, and checks after each what never happens; now and then the state
// goes through its written form.
func TestAnyStory(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 7))
		g := &gambler{t: t, Rand: r, world: newWorld(), now: time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC), state: &State{}}
		g.world.rps = []float64{0.2, 2, 8}[r.IntN(3)]
		g.changePlan()
		for range 400 {
			g.turn()
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	}
}

// gambler makes events by chance.
type gambler struct {
	t *testing.T
	*rand.Rand
	world *world
	plan  *Plan
	state *State
	now   time.Time
	last  *Observation
}

func (g *gambler) turn() {
	from := g.now
	g.now = g.now.Add(time.Duration(1+g.IntN(60)) * time.Second)
	e := Event{At: g.now, Epoch: g.state.Epoch}
	switch g.IntN(40) {
	case 0:
		g.changePlan()
	case 1:
		g.changeWorld()
	case 2:
		e.Breaker = "out"
	case 3, 4, 5:
		e.Request = g.request()
	case 6:
		e.Epoch += int64(g.IntN(3)) - 1
	case 7:
		e.At = e.At.Add(-time.Hour) // a clock that was set back
	case 8:
		e.Observation = g.last
	case 9:
		e.Values = []Value{{Guardrail: "cost", Value: g.Float64() * 2}, {Guardrail: "nothing"}, {Guardrail: ErrorRate, Err: "x"}}
	default:
		e.Observation = g.world.window(g.state, from, g.now)
		g.last = e.Observation
	}
	next, actions := Step(g.plan, g.state, e)
	checkStep(g.t, g.plan, g.state, next, e, actions)
	text, err := json.Marshal(next)
	if err != nil {
		g.t.Fatalf("the state cannot be written: %v", err)
	}
	if len(text) > 64_000 {
		g.t.Errorf("the state has %d bytes", len(text))
	}
	if g.IntN(5) == 0 {
		next = &State{}
		if err := json.Unmarshal(text, next); err != nil {
			g.t.Fatal(err)
		}
	}
	g.state = next
	_ = Explain(g.plan, g.state).String()
}

func (g *gambler) changePlan() {
	p := &Plan{Name: "n/r", Target: "t", Stable: "v0", Candidate: fmt.Sprintf("v%d", 1+g.IntN(3)), Attempt: int64(g.IntN(3)), Paused: g.IntN(8) == 0}
	share := Share(0)
	for range g.IntN(6) {
		share = min(share+Share(g.IntN(6000)), Whole)
		p.Steps = append(p.Steps, []PlanStep{
			{Kind: SetShare, Share: share}, {Kind: Hold, Min: time.Minute, Max: 10 * time.Minute}, {Kind: Gate}, {Kind: Soak, Min: time.Minute},
			{Kind: Analyze, Min: time.Minute, Max: time.Hour}, {Kind: Warmup, Requests: 5, Max: time.Minute}, {Kind: Mirror, Pairs: 5, Max: time.Minute},
			{Kind: SetShare, Share: share}}[g.IntN(8)])
	}
	p.Analysis.OnInsufficient = []Policy{PolicyHold, PolicyExtend, PolicyAbort, PolicyProceedUnpowered}[g.IntN(4)]
	p.Capacity.Off, p.Abort.Cancel = g.IntN(2) == 0, g.IntN(2) == 0
	p.Analysis.Guardrails = append(DefaultGuardrails(), Guardrail{Name: "cost", External: true, Class: Soft, High: 1.5})
	p.Analysis.Guardrails[g.IntN(6)].Max = 0.3
	if g.IntN(4) == 0 {
		p.Analysis.Guardrails[1].Limit = time.Second
		p.Analysis.Guardrails[0].Question.HarmMargin = 1.5
	}
	p.Complete()
	for _, err := range p.Check() {
		// Shares may fall by chance; others must not be refused.
		if !strings.Contains(err.Error(), "lowers") {
			g.t.Fatal(err)
		}
	}
	g.plan = p
}

func (g *gambler) changeWorld() {
	w := g.world
	w.lag, w.stuck, w.missing, w.noModel = g.IntN(3), false, nil, nil
	switch g.IntN(6) {
	case 0:
		w.missing = []string{"gw"}
	case 1:
		w.noModel = []string{"pod"}
	case 2:
		w.arms[0].errors = g.Float64()
	case 3:
		w.arms[0].ready = g.IntN(6)
	case 4:
		w.arms[1].ready, w.arms[0].kv = g.IntN(6), g.Float64()
	case 5:
		w.arms[0] = w.arms[1]
	}
}

func (g *gambler) request() *Request {
	verbs := []Verb{VerbPause, VerbResume, VerbPromote, VerbPromoteFull, VerbAbort, VerbRetry, VerbUndo, VerbSetShare, "dance"}
	return &Request{ID: fmt.Sprint(g.IntN(1000)), Verb: verbs[g.IntN(len(verbs))], Attempt: g.state.Number - int64(g.IntN(8)/7), Share: Share(g.IntN(12_000) - 1000)}
}

// TestBrokenCounters: numbers that no counting can give change no evidence.
func TestBrokenCounters(t *testing.T) {
	plan := &Plan{Name: "n/r", Stable: "v1", Candidate: "v2"}
	plan.Complete()
	at := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	state, _ := Step(plan, &State{}, Event{At: at})
	bad := map[string]map[string]Sample{
		ErrorRate: {"": {Table: stats.Table{Candidate: stats.Tally{Units: 3, Events: 9}}}, "x": {Table: stats.Table{Stable: stats.Tally{Units: -1}}}},
		TTFT:      {"": {Candidate: stats.Histogram{-4: 9}, Stable: stats.Histogram{5: -9}}, "y": {Stable: stats.Histogram{1 << 20: 1}}},
		"unknown": {"": {}},
		TPOT:      {"": {Pairs: Pairs{Worse: -5}}},
	}
	next, _ := Step(plan, state, Event{At: at.Add(5 * time.Second), Observation: &Observation{From: at, To: at.Add(5 * time.Second), Samples: bad}})
	for name, b := range next.Books {
		for i := range b.Signals {
			if len(b.Signals[i].Strata) > 0 {
				t.Errorf("%s took over a broken counter: %+v", name, b.Signals[i])
			}
		}
	}
}

// TestForeignState: a state of another version, or one somebody edited, is no reason
// to fall over.
func TestForeignState(t *testing.T) {
	plan := &Plan{Name: "n/r", Stable: "v1", Candidate: "v2"}
	plan.Complete()
	for _, text := range []string{
		`{}`, `{"phase":"Analyzing"}`, `{"phase":"Dancing","step":99,"share":{"set":500}}`,
		`{"phase":"Analyzing","key":"` + plan.Key() + `","step":-3}`,
		`{"phase":"Analyzing","key":"` + plan.Key() + `","step":7,"steps":[{"kind":"fly"}],"share":{"set":99999}}`,
		`{"phase":"Paused","key":"` + plan.Key() + `","books":{"ttft":{"margins":[1.1],"signals":[{"strata":[{"name":"","l":[1]}]}]},"error-rate":null}}`,
		`{"phase":"Analyzing","key":"` + plan.Key() + `","books":{"error-rate":{"margins":[1.25,2],"signals":[{"late":{"above":[-1]}}]}}}`,
	} {
		s := &State{}
		if err := json.Unmarshal([]byte(text), s); err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
		w := newWorld()
		for range 30 {
			from := at
			at = at.Add(5 * time.Second)
			s, _ = Step(plan, s, Event{At: at, Observation: w.window(s, from, at)})
			_ = Explain(plan, s).String()
			if s.Share.Set < 0 || s.Share.Set > Whole {
				t.Errorf("%s: share %d", text, s.Share.Set)
			}
		}
	}
}

func TestRamp(t *testing.T) {
	for _, c := range []struct {
		from, to Share
		factor   float64
		want     string
	}{
		{100, 5000, 2, "1% 2% 4% 8% 16% 32% 50%"},
		{100, 100, 2, "1%"},
		{1, 10, 3, "0.01% 0.03% 0.09% 0.1%"},
		{100, 5000, 1, "1%"},
		{0, 5000, 2, "0%"},
	} {
		var got []string
		for _, s := range Ramp(c.from, c.to, c.factor, time.Minute, 0) {
			if s.Kind == SetShare {
				got = append(got, s.Share.String())
			}
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("ramp %s to %s by %v: %s, want %s", c.from, c.to, c.factor, text, c.want)
		}
	}
}

func TestBreaker(t *testing.T) {
	feed := func(text string) (at int, why string) {
		var b Breaker
		for i, c := range text {
			// c: candidate well, C: candidate failed; s and S are stable's.
			if why = b.Record(c == 'c' || c == 'C', c == 'C' || c == 'S'); why != "" {
				return i + 1, why
			}
		}
		return 0, ""
	}
	for _, c := range []struct {
		name, text string
		at         int
	}{
		{"ten in a row", strings.Repeat("C", 30), 10},
		{"nine and one", strings.Repeat("CCCCCCCCCcssssssssss", 1), 0},
		{"half of twenty", strings.Repeat("Cc", 10) + "C", 21},
		{"less than half", strings.Repeat("Ccc", 30), 0},
		{"both arms", strings.Repeat("SC", 60), 0},
		{"both arms, then stable recovers", strings.Repeat("SC", 30) + strings.Repeat("sC", 30), 60 + 22},
		{"half of twenty, a third of stable's", strings.Repeat("SssCc", 30), 0},
		{"half of twenty, a tenth of stable's", "Sssssssss" + strings.Repeat("Cc", 11), 9 + 21},
		{"stable alone", strings.Repeat("S", 60), 0},
	} {
		if at, why := feed(c.text); at != c.at {
			t.Errorf("%s: tripped at %d (%s), want %d", c.name, at, why, c.at)
		}
	}
	var b Breaker
	for range 10 {
		b.Record(true, true)
	}
	if b.Record(true, false) == "" {
		t.Error("a breaker closed by itself")
	}
	if b.Reset(); b.Record(true, true) != "" {
		t.Error("a breaker that was reset is open")
	}
}

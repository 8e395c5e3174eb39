package rollout

import (
	"fmt"
	"strings"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// setPlan changes the plan; what is not named stays. A plan that is refused is
// printed as such and the old one stays.
func (s *script) setPlan(o options) string {
	p := *s.plan
	p.Target = "HTTPRoute llm/chat rule 0"
	if p.Stable == "" {
		p.Stable, p.Candidate = "v1", "v2"
	}
	for _, w := range o.words {
		if w == "running" {
			p.Paused = false
		}
		p.Paused = p.Paused || w == "paused"
		p.Abort.Cancel = p.Abort.Cancel || w == "cancel"
		p.Capacity.Off = p.Capacity.Off || w == "uncapped"
		p.Analysis.AbortOnStall = p.Analysis.AbortOnStall || w == "abort-on-stall"
	}
	for key, v := range o.pairs {
		switch key {
		case "stable":
			p.Stable = v
		case "candidate":
			p.Candidate = v
		case "revision":
			p.Revision = v
		case "attempt":
			p.Attempt = int64(o.atoi(v))
		case "insufficient":
			p.Analysis.OnInsufficient = Policy(v)
		case "stall":
			p.Analysis.StallTimeout = o.duration(v)
		case "drain":
			p.Abort.DrainTimeout = o.duration(v)
		case "deadline":
			p.TotalDeadline = o.duration(v)
		case "step-deadline":
			p.StepDeadline = o.duration(v)
		case "steps":
			p.Steps = o.steps(v)
		case "guardrails":
			p.Analysis.Guardrails = o.guardrails(v)
		default:
			o.t.Fatalf("plan has no %q", key)
		}
	}
	p.Complete()
	if errs := p.Check(); len(errs) > 0 {
		return fmt.Sprintf("refused: %v\n", errs[0])
	}
	s.plan = &p
	return ""
}

func (o options) steps(text string) []PlanStep {
	var out []PlanStep
	for _, part := range strings.Split(text, ",") {
		kind, arg, _ := strings.Cut(part, ":")
		least, most, _ := strings.Cut(arg, "-")
		span := PlanStep{Kind: StepKind(kind)}
		switch kind {
		case "share":
			out = append(out, PlanStep{Kind: SetShare, Share: o.share(arg)})
			continue
		case "ramp":
			out = append(out, o.ramp(arg)...)
			continue
		case "warmup":
			out = append(out, PlanStep{Kind: Warmup, Requests: o.atoi(arg), Max: 10 * time.Minute})
			continue
		case "mirror":
			span.Percent, span.Pairs = 10, int64(o.atoi(least))
		case "hold", "analyze", "gate", "soak":
			if least != "" {
				span.Min = o.duration(least)
			}
		default:
			o.t.Fatalf("no step %q", part)
		}
		if most != "" {
			span.Max = o.duration(most)
		}
		out = append(out, span)
	}
	return out
}

// ramp reads 1-50x2@10m.
func (o options) ramp(arg string) []PlanStep {
	bounds, hold, _ := strings.Cut(arg, "@")
	bounds, factor, _ := strings.Cut(bounds, "x")
	from, to, _ := strings.Cut(bounds, "-")
	return Ramp(o.share(from), o.share(to), o.number(factor), o.duration(hold), time.Hour)
}

// guardrails reads NAME:class[:dry][:max=5%][:external=0-1.2][:limit=1s].
func (o options) guardrails(text string) []Guardrail {
	out := []Guardrail{}
	for _, part := range strings.Split(text, ",") {
		words := strings.Split(part, ":")
		g := Guardrail{Name: words[0], Class: Hard}
		for _, w := range words[1:] {
			key, v, _ := strings.Cut(w, "~")
			switch key {
			case "soft":
				g.Class = Soft
			case "info":
				g.Class = Info
			case "dry":
				g.DryRun = true
			case "either":
				g.Question.Direction = stats.EitherIsWorse
			case "max":
				g.Max = o.number(v)
			case "limit":
				g.Limit = o.duration(v)
			case "one":
				g.MinEndpoints = 1
			case "external":
				g.External, g.High = true, o.number(v)
			default:
				o.t.Fatalf("no option %q", w)
			}
		}
		out = append(out, g)
	}
	return out
}

// setWorld changes the world.
func (s *script) setWorld(o options) {
	w := s.world
	for key, v := range o.pairs {
		arms := []*armWorld{&w.arms[0], &w.arms[1]}
		if name, ok := strings.CutPrefix(key, "c."); ok {
			key, arms = name, arms[:1]
		} else if name, ok := strings.CutPrefix(key, "s."); ok {
			key, arms = name, arms[1:]
		}
		switch key {
		case "rps":
			w.rps = o.number(v)
		case "stream":
			w.stream = o.duration(v)
		case "warm":
			w.warm = o.atoi(v)
		case "lag":
			w.lag = o.atoi(v)
		case "stuck":
			w.stuck = v == "yes"
		case "missing":
			w.missing = o.list(v)
		case "no-model":
			w.noModel = o.list(v)
		case "json":
			w.json = o.number(v)
		case "only":
			w.only = map[string]bool{}
			for _, name := range o.list(v) {
				w.only[name] = true
			}
		default:
			for _, a := range arms {
				o.setArm(a, key, v)
			}
		}
	}
}

func (o options) list(v string) []string {
	if v == "" {
		return nil
	}
	return strings.Split(v, ",")
}

func (o options) setArm(a *armWorld, key, v string) {
	switch key {
	case "errors":
		a.errors = o.number(v)
	case "length":
		a.length = o.number(v)
	case "empty":
		a.empty = o.number(v)
	case "looping":
		a.looping = o.number(v)
	case "bad-json":
		a.badJSON = o.number(v)
	case "aborts":
		a.aborts = o.number(v)
	case "ttft":
		a.ttft = o.duration(v)
	case "tpot":
		a.tpot = o.duration(v)
	case "ready":
		a.ready = o.atoi(v)
	case "waiting":
		a.waiting = o.atoi(v)
	case "load":
		a.load = o.number(v)
	case "kv":
		a.kv = o.number(v)
	default:
		o.t.Fatalf("the world has no %q", key)
	}
}

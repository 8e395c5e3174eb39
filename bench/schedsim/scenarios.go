package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/scheduling"
)

// runScenarios prints what the table does not show: several gateways, a canary,
// priors that are wrong.
func runScenarios(out io.Writer, o *options) {
	byName := map[string]*workload{}
	for _, w := range workloads() {
		byName[w.name] = w
	}
	s := scenario{out, o}
	for _, name := range []string{"b2b", "chat", "bimodal"} {
		s.gateways(byName[name])
	}
	s.canary(byName["chat"])
	for _, name := range []string{"chat", "b2b", "bimodal"} {
		s.priors(byName[name])
	}
}

type scenario struct {
	out io.Writer
	*options
}

// cell runs one set-up with all seeds.
func (s *scenario) cell(w *workload, level int, name string, make func(seed uint64) setup, prepare func(*world)) row {
	r := row{Workload: w.name, Rate: w.loads[level], Policy: name}
	for seed := s.first; seed < s.first+uint64(s.seeds); seed++ {
		requests := generate(w, r.Rate, s.seconds, seed)
		world := newWorld(make(seed), seed)
		if prepare != nil {
			prepare(world)
		}
		world.run(requests)
		r.Results = append(r.Results, measure(world, requests))
	}
	r.print(s.out)
	return r
}

func (s *scenario) base(seed uint64, o scheduling.Options) setup {
	return setup{engine: qwen32B(), endpoints: 8, scrape: 1, toEngine: 0.005, makePolicy: newCrossfade(o, seed)}
}

// gateways compares three gateways with one.
func (s *scenario) gateways(w *workload) {
	const level = 2
	s.cell(w, level, "one gateway", func(seed uint64) setup { return s.base(seed, s.scheduling()) }, nil)
	s.cell(w, level, "three that share nothing", func(seed uint64) setup {
		v := s.base(seed, s.scheduling())
		v.gateways = 3
		return v
	}, nil)
	for _, every := range []float64{0.05, 0.1, 0.5} {
		s.cell(w, level, fmt.Sprintf("three that share every %.0f ms", 1000*every), func(seed uint64) setup {
			o := s.scheduling()
			o.Share = true
			v := s.base(seed, o)
			v.gateways, v.share = 3, every
			return v
		}, func(world *world) { world.onSync = func() { shareAll(world) } })
	}
}

// shareAll lets each gateway hear the others' news.
func shareAll(w *world) {
	for i := range w.policies {
		shareNews(w, i)
	}
}

// shareNews lets the others hear that of one.
func shareNews(w *world, from int) {
	at := epoch.Add(time.Duration(w.now * float64(time.Second)))
	news := w.policies[from].(*crossfade).scheduler.News(fmt.Sprint(from), at)
	for i, to := range w.policies {
		if i != from {
			to.(*crossfade).scheduler.Merge(news, at)
		}
	}
}

// canary gives a quarter of the traffic to a quarter of the endpoints: by
// session, and by lot for each request.
func (s *scenario) canary(w *workload) {
	const level = 1
	members := [][]int{{0, 1, 2, 3, 4, 5}, {6, 7}}
	s.cell(w, level, "one version", func(seed uint64) setup { return s.base(seed, s.scheduling()) }, nil)
	for name, version := range map[string]func(*request, *rand.Rand) int{
		"25 % by session": func(r *request, _ *rand.Rand) int { return quarter(r.session*7919%100 < 25) },
		"25 % by lot":     func(_ *request, rand *rand.Rand) int { return quarter(rand.IntN(4) == 0) },
	} {
		s.cell(w, level, name, func(seed uint64) setup {
			v := s.base(seed, s.scheduling())
			v.members, v.version = members, version
			return v
		}, nil)
	}
}

func quarter(in bool) int {
	if in {
		return 1
	}
	return 0
}

// priors runs engines that are twice and half as fast as the scheduler thinks,
// with and without calibration.
func (s *scenario) priors(w *workload) {
	for _, factor := range []float64{0.5, 2} {
		for _, fixed := range []bool{true, false} {
			name := fmt.Sprintf("engine × %g", factor)
			if !fixed {
				name += ", calibrated"
			}
			s.cell(w, 0, name, func(seed uint64) setup {
				o := s.scheduling()
				o.Uncalibrated = fixed
				v := s.base(seed, o)
				e := &v.engine
				e.Step, e.Prefill, e.Attention = e.Step*factor, e.Prefill*factor, e.Attention*factor
				e.Decode, e.Context = e.Decode*factor, e.Context*factor
				return v
			}, nil)
		}
	}
}

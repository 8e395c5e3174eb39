package scheduling

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestPrompted compares the fading sums with their definition, across many times
// promptMemory.
func TestPrompted(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	p := &pool{engine: newEngine(factors{1, 1, 1}), endpoints: map[string]*endpoint{"a": {}, "b": {}}}
	type prompt struct{ at, seconds float64 }
	told := map[string][]prompt{}
	now := 0.0
	for range 5000 {
		now += 10 * promptMemory * math.Pow(r.Float64(), 8) // mostly moments, at times hours in all
		name := string("ab"[r.IntN(2)])
		tokens := r.Float64() * 30_000
		p.prompt(p.endpoints[name], tokens, now)
		told[name] = append(told[name], prompt{now, tokens * p.engine.prefill})
		for name, e := range p.endpoints {
			want := 0.0
			for _, x := range told[name][max(0, len(told[name])-500):] {
				want += x.seconds * math.Exp((x.at-now)/promptMemory) / promptMemory
			}
			if got := e.prompted * p.prompted.deflate(now); math.Abs(got-want) > 1e-6*want+1e-12 {
				t.Fatalf("at %g s prompts take %g of %s's time, want %g", now, got, name, want)
			}
		}
	}
	if now < 20*oldest {
		t.Fatalf("%g s are not enough to begin anew", now)
	}
}

// TestSlowed checks that of two endpoints the one with more to do is never the
// quicker one, that the quickest has no surcharge, and that a difference counts in
// full where it is all there is, and little where it is small.
func TestSlowed(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	p := &pool{engine: newEngine(factors{1, 1, 1}), weights: Balanced.weights()}
	d := &demand{output: 300}
	for range 2000 {
		paces := make([]pace, 1+r.IntN(8))
		p.usual = newUsual()
		for i := range paces {
			if r.IntN(3) > 0 {
				paces[i] = pace{level: r.Float64() * 0.02, prompts: r.Float64()}
			}
			p.usual.add(&paces[i])
		}
		p.usual.settle(len(paces))
		for i := range paces {
			seconds := p.slowed(d, &paces[i])
			if !(seconds >= 0) || math.IsInf(seconds, 0) {
				t.Fatalf("%v: %g s", paces, seconds)
			}
			more := paces[i]
			more.level += 0.001
			if p.slowed(d, &more) < seconds {
				t.Fatalf("%v: more to do is quicker than %v", paces, paces[i])
			}
		}
		least := p.slowed(d, &pace{p.usual.least, p.usual.prompts})
		if least != 0 {
			t.Fatalf("%v: the least is slowed by %g s", paces, least)
		}
	}
	const level = 0.01
	alone := usual{level: level / 100, half: 50 / level} // one of a hundred endpoints works
	small := usual{level: level, half: 0.5 / level, least: level}
	p.usual = alone
	if got, all := p.slowed(d, &pace{level: level}), p.weights.decode*d.output*level; got < 0.99*all {
		t.Errorf("%g s of %g", got, all)
	}
	p.usual = small
	if got, all := p.slowed(d, &pace{level: 1.1 * level}), p.weights.decode*d.output*level/10; got > 0.1*all {
		t.Errorf("%g s of %g", got, all)
	}
}

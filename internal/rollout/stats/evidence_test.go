package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// asked is the question of most tests.
var asked = Question{HarmMargin: 1.25, PassMargin: 2}

// expectation is the mean of the e-value over all outcomes of a table with these
// margins, at odds ratio psi: what must never exceed 1 while the null holds.
func expectation(s Scale, nc, ns, f int64, psi float64, logE func(Likelihood) float64) float64 {
	sum := 0.0
	p := make([]float64, 1)
	for x := max(0, f-ns); x <= min(nc, f); x++ {
		table := Table{Tally{nc, x}, Tally{ns, f - x}}
		table.logLikelihoods([]float64{psi}, p)
		l := s.NewLikelihood()
		s.AddTable(l, table, 1)
		sum += math.Exp(p[0] + logE(l))
	}
	return sum
}

// TestEValuesAreFair is the heart of the guarantee, by enumeration: the mean of
// each e-value is 1 at the edge of its null, below 1 inside, above 1 outside.
func TestEValuesAreFair(t *testing.T) {
	const margin = 1.25
	s := NewScale(margin, 2)
	for _, test := range []struct {
		name                  string
		logE                  func(Likelihood) float64
		edge, inside, outside float64
	}{
		{"harm", func(l Likelihood) float64 { return s.LogAbove(l, margin) }, margin, 0.8, 4},
		{"harm of lower", func(l Likelihood) float64 { return s.LogBelow(l, margin) }, 1 / margin, 1.2, 0.25},
		{"pass", func(l Likelihood) float64 { return s.LogWithin(l, 2) }, 2, 3, 0.9},
		{"pass of lower", func(l Likelihood) float64 { return s.LogWithinBelow(l, 2) }, 0.5, 0.3, 1.1},
	} {
		for nc := int64(1); nc < 6; nc++ {
			for ns := int64(1); ns < 6; ns++ {
				for f := int64(1); f < nc+ns; f++ {
					if e := expectation(s, nc, ns, f, test.edge, test.logE); math.Abs(e-1) > 1e-9 {
						t.Errorf("%s, margins %d %d %d: mean %v at the edge of the null, want 1", test.name, nc, ns, f, e)
					}
					if e := expectation(s, nc, ns, f, test.inside, test.logE); e > 1 {
						t.Errorf("%s, margins %d %d %d: mean %v within the null, want at most 1", test.name, nc, ns, f, e)
					}
					if e := expectation(s, nc, ns, f, test.outside, test.logE); e < 1 {
						t.Errorf("%s, margins %d %d %d: mean %v outside the null, want more than 1", test.name, nc, ns, f, e)
					}
				}
			}
		}
	}
}

// TestStrataStayFair checks by enumeration that the mixture over strata is an
// e-value, also when one was tempered and when the second stratum comes late.
func TestStrataStayFair(t *testing.T) {
	s := NewScale(1.25, 2)
	p := make([]float64, 1)
	const n, f = 3, 2
	for _, temper := range []float64{1, 0.4} {
		mean := 0.0
		for first := int64(0); first <= f; first++ {
			for second := int64(0); second <= f; second++ {
				var e Evidence
				weight := 1.0
				for i, x := range []int64{first, second} {
					table := Table{Tally{n, x}, Tally{n, f - x}}
					table.logLikelihoods([]float64{1.25}, p)
					weight *= math.Exp(p[0])
					e.Add(s, asked, string(rune('a'+i)), table, temper)
				}
				mean += weight * math.Exp(e.Measure(s, asked).Harm)
			}
		}
		if mean > 1+1e-9 || temper == 1 && mean < 1-1e-9 {
			t.Errorf("temper %v: mean %v", temper, mean)
		}
	}
}

// TestOneBadStratumShows: harm in one of many strata is found though the others
// hide it in the sum, and it is named.
func TestOneBadStratumShows(t *testing.T) {
	s := NewScale(1.25, 2)
	var e Evidence
	for range 40 {
		for _, name := range []string{"short", "middle", "long", "huge"} {
			table := Table{Tally{100, 1}, Tally{100, 1}}
			if name == "huge" {
				table = Table{Tally{5, 1}, Tally{60, 2}}
			}
			e.Add(s, asked, name, table, 1)
		}
	}
	m := e.Measure(s, asked)
	if m.Stratum != "huge" || m.Judge(Budget{Alpha: 0.01, Beta: 0.05}) != Fail {
		t.Errorf("found %v in %q, want harm in huge", math.Exp(m.Harm), m.Stratum)
	}
	if pooled := s.LogAbove(e.Pooled(s), 1.25); pooled > m.Harm {
		t.Errorf("pooling alone finds more (%v) than the mixture (%v): the case shows nothing", pooled, m.Harm)
	}
}

func TestStrataAreBounded(t *testing.T) {
	s := NewScale()
	var e Evidence
	for i := range 10 * MaxStrata {
		e.Add(s, asked, string(rune('a'+i)), Table{Tally{2, 1}, Tally{2, 0}}, 1)
	}
	if len(e.Strata) != MaxStrata || e.Strata[MaxStrata-1].Name != Other {
		t.Errorf("%d strata, the last %q", len(e.Strata), e.Strata[len(e.Strata)-1].Name)
	}
	if got := e.Total().Candidate.Units; got != 2*10*MaxStrata {
		t.Errorf("%d candidate units are left of %d", got, 2*10*MaxStrata)
	}
	if !e.Fits(s) || e.Fits(NewScale(7)) {
		t.Error("Fits is wrong")
	}
}

func TestCloneSharesNothing(t *testing.T) {
	s := NewScale()
	var e Evidence
	e.Add(s, asked, "", Table{Tally{2, 1}, Tally{2, 0}}, 1)
	c := e.Clone()
	c.Add(s, asked, "", Table{Tally{2, 1}, Tally{2, 0}}, 1)
	if e.Total().Candidate.Units != 2 || e.Strata[0].Likelihood[0] == c.Strata[0].Likelihood[0] {
		t.Error("the clone's evidence reached the original")
	}
}

func TestDirections(t *testing.T) {
	s := NewScale(1.25, 2)
	more := Table{Tally{500, 150}, Tally{500, 50}}
	fewer := Table{Tally{500, 50}, Tally{500, 150}}
	same := Table{Tally{3000, 600}, Tally{3000, 600}}
	for _, c := range []struct {
		direction Direction
		table     Table
		want      Verdict
	}{
		{HigherIsWorse, more, Fail}, {HigherIsWorse, fewer, Pass}, {HigherIsWorse, same, Pass},
		{LowerIsWorse, more, Pass}, {LowerIsWorse, fewer, Fail}, {LowerIsWorse, same, Pass},
		{EitherIsWorse, more, Fail}, {EitherIsWorse, fewer, Fail}, {EitherIsWorse, same, Pass},
	} {
		var e Evidence
		q := Question{HarmMargin: 1.25, PassMargin: 2, Direction: c.direction}
		e.Add(s, q, "", c.table, 1)
		m := e.Measure(s, q)
		if got := m.Judge(Budget{Alpha: 0.01, Beta: 0.05, MinSamples: 100}); got != c.want {
			t.Errorf("direction %d, %+v: %s, want %s (harm %.1f, pass %.1f)", c.direction, c.table, got, c.want, m.Harm, m.Pass)
		}
	}
}

func TestJudge(t *testing.T) {
	s := NewScale(1.25, 2)
	for name, c := range map[string]struct {
		table Table
		want  Verdict
	}{
		"nothing seen":                     {Table{}, Insufficient},
		"only stable seen":                 {Table{Stable: Tally{5000, 20}}, Insufficient},
		"too few, all fail":                {Table{Tally{6, 6}, Tally{300, 0}}, Fail},
		"enough for a word, not for more":  {Table{Tally{150, 1}, Tally{3000, 15}}, Inconclusive},
		"enough to rule the margin out":    {Table{Tally{4000, 20}, Tally{60000, 300}}, Pass},
		"worse, within what is tolerated":  {Table{Tally{4000, 22}, Tally{60000, 300}}, Pass},
		"worse than what may pass":         {Table{Tally{4000, 60}, Tally{60000, 300}}, Fail},
		"too few to pass, however healthy": {Table{Tally{99, 0}, Tally{100000, 50000}}, Insufficient},
	} {
		var e Evidence
		e.Add(s, asked, "", c.table, 1)
		m := e.Measure(s, asked)
		if got := m.Judge(Budget{Alpha: 0.01, Beta: 0.05, MinSamples: 100}); got != c.want {
			t.Errorf("%s: %s, want %s (harm e %.2f, pass e %.2f)", name, got, c.want, math.Exp(m.Harm), math.Exp(m.Pass))
		}
	}
}

// TestInterval checks that intervals close in on the truth and say nothing before
// anything is known.
func TestInterval(t *testing.T) {
	s := NewScale(1.25, 2)
	if got := s.Interval(s.NewLikelihood(), 0.05); got != (Interval{0, 1, math.Inf(1)}) {
		t.Errorf("of nothing: %v", got)
	}
	last := math.Inf(1)
	for _, n := range []int64{200, 2000, 20000} {
		l := s.NewLikelihood()
		s.AddTable(l, Table{Tally{n, n / 10}, Tally{n, n * 62 / 1000}}, 1) // odds ratio 1.68
		got := s.Interval(l, 0.05)
		if got.Low > 1.68 || got.High < 1.68 || math.Abs(got.Best-1.68) > 0.1 {
			t.Errorf("n=%d: %v, want about 1.68 within", n, got)
		}
		if width := math.Log(got.High / max(got.Low, 1e-3)); width >= last {
			t.Errorf("n=%d: %v is no narrower than before", n, got)
		} else {
			last = width
		}
	}
}

// TestPairsAndRates checks the other two ways to fill a likelihood at cases that
// can be worked out by hand.
func TestPairsAndRates(t *testing.T) {
	s := NewScale(2)
	l := s.NewLikelihood()
	s.AddPairs(l, 3, 1, 1)
	// At odds ratio 3 the chance of 3 of 4 is 4·(3/4)³(1/4), at 1 it is 4/16.
	if got, want := l[s.index(3)], math.Log(27.0/256*16); math.Abs(got-want) > 1e-12 {
		t.Errorf("pairs: %v, want %v", got, want)
	}
	l = s.NewLikelihood()
	s.AddRate(l, Tally{4, 2}, 0.5, 1)
	// At odds ratio 3 the rate is 3/4: (3/4)²(1/4)² against (1/2)⁴.
	if got, want := l[s.index(3)], math.Log(9.0/256*16); math.Abs(got-want) > 1e-12 {
		t.Errorf("rate: %v, want %v", got, want)
	}
}

// TestCombine: harm of a latency is the mean over its quantiles, a pass the worst.
func TestCombine(t *testing.T) {
	got := Combine([]Measurement{{Harm: math.Log(4), Pass: 3, Stratum: "x"}, {Harm: math.Log(2), Pass: 1}})
	if math.Abs(got.Harm-math.Log(3)) > 1e-12 || got.Pass != 1 || got.Stratum != "x" {
		t.Errorf("%+v", got)
	}
	if empty := Combine(nil); empty.Judge(Budget{Alpha: 0.01, Beta: 0.05}) != Inconclusive || empty.Harm != 0 {
		t.Errorf("nothing combined: %+v", empty)
	}
}

func TestMarginsAreClamped(t *testing.T) {
	s := NewScale(math.NaN(), -1, 1e9)
	for _, m := range []float64{MinMargin, MaxMargin} {
		if s[s.index(m)] != m || s[s.index(1/m)] != 1/m {
			t.Errorf("the scale lacks %v: %v", m, s)
		}
	}
	if !s.Fits(s.NewLikelihood()) || s.LogAbove(s.NewLikelihood(), MaxMargin) != 0 {
		t.Error("the widest margin has no alternative")
	}
}

// TestDispersion: independent halves leave evidence alone, halves that swing
// together by window temper it.
func TestDispersion(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	var calm, wild Dispersion
	for range 300 {
		calm.Add(Table{Tally{200, binomial(r, 200, 0.1)}, Tally{200, binomial(r, 200, 0.1)}})
		odds := func() float64 { o := 0.1 / 0.9 * math.Exp(0.6*r.NormFloat64()); return o / (1 + o) }
		wild.Add(Table{Tally{200, binomial(r, 200, odds())}, Tally{200, binomial(r, 200, odds())}})
	}
	if calm.Temper() != 1 {
		t.Errorf("independent halves: factor %v", calm.Factor())
	}
	if f := wild.Factor(); f < 3 || wild.Temper() != 1/f {
		t.Errorf("halves with a fate of their own: factor %v, temper %v", f, wild.Temper())
	}
	var none Dispersion
	none.Add(Table{Tally{3, 4}, Tally{1, 0}})
	none.Add(Table{Tally{3, 3}, Tally{1, 1}})
	if none.Windows != 0 || none.Temper() != 1 {
		t.Error("windows that say nothing are counted")
	}
}

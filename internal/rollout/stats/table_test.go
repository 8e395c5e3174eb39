package stats

import (
	"math"
	"math/big"
	"testing"
)

// exact is P(x) of the noncentral hypergeometric distribution in rational
// arithmetic, by its definition.
func exact(nc, ns, f, x int64, psi *big.Rat) float64 {
	weight := func(k int64) *big.Rat {
		w := new(big.Rat).SetInt(new(big.Int).Mul(new(big.Int).Binomial(nc, k), new(big.Int).Binomial(ns, f-k)))
		for range k {
			w.Mul(w, psi)
		}
		return w
	}
	sum := new(big.Rat)
	for k := max(0, f-ns); k <= min(nc, f); k++ {
		sum.Add(sum, weight(k))
	}
	p, _ := new(big.Rat).Quo(weight(x), sum).Float64()
	return p
}

// eachTable calls f with every table of at most n units in each arm.
func eachTable(n int64, f func(Table)) {
	for nc := range n + 1 {
		for ns := range n + 1 {
			for fc := range nc + 1 {
				for fs := range ns + 1 {
					f(Table{Tally{nc, fc}, Tally{ns, fs}})
				}
			}
		}
	}
}

// TestLikelihoodIsExact compares every small table with rational arithmetic.
func TestLikelihoodIsExact(t *testing.T) {
	psis := []float64{0.25, 1, 1.25, 3, 100}
	rats := []*big.Rat{big.NewRat(1, 4), big.NewRat(1, 1), big.NewRat(5, 4), big.NewRat(3, 1), big.NewRat(100, 1)}
	got := make([]float64, len(psis))
	eachTable(5, func(table Table) {
		table.logLikelihoods(psis, got)
		for i := range psis {
			want := exact(table.Candidate.Units, table.Stable.Units, table.Candidate.Events+table.Stable.Events, table.Candidate.Events, rats[i])
			if math.Abs(math.Exp(got[i])-want) > 1e-12 {
				t.Fatalf("%+v at odds ratio %v: %v, want %v", table, psis[i], math.Exp(got[i]), want)
			}
		}
	})
}

// TestLikelihoodOfLargeTables checks sums over tables too large to write down:
// probabilities of all outcomes sum to 1, also where a naive sum would overflow.
func TestLikelihoodOfLargeTables(t *testing.T) {
	for _, c := range []struct{ nc, ns, f int64 }{{1000, 19000, 100}, {5000, 5000, 5000}, {20000, 80000, 30}, {3, 100_000, 50_000}} {
		psis := []float64{0.01, 1, 1.25, 100}
		sums, got := make([]float64, len(psis)), make([]float64, len(psis))
		for x := max(0, c.f-c.ns); x <= min(c.nc, c.f); x++ {
			Table{Tally{c.nc, x}, Tally{c.ns, c.f - x}}.logLikelihoods(psis, got)
			for i, v := range got {
				sums[i] += math.Exp(v)
			}
		}
		for i, sum := range sums {
			if math.Abs(sum-1) > 1e-6 {
				t.Errorf("%+v at odds ratio %v: probabilities sum to %v", c, psis[i], sum)
			}
		}
	}
}

// TestLikelihoodAtTheLimit takes a table of MaxUnits: finite numbers, in time.
func TestLikelihoodAtTheLimit(t *testing.T) {
	s := NewScale(1.25, 2)
	l := s.NewLikelihood()
	s.AddTable(l, Table{Tally{MaxUnits, MaxUnits / 2}, Tally{MaxUnits, MaxUnits / 2}}, 1)
	s.AddTable(l, Table{Tally{MaxUnits, MaxUnits}, Tally{MaxUnits, 0}}, 1)
	if !s.Fits(l) {
		t.Errorf("not finite: %v", l)
	}
}

func TestTablesThatSayNothing(t *testing.T) {
	s := NewScale()
	for _, table := range []Table{
		{},
		{Candidate: Tally{10, 3}},
		{Stable: Tally{10, 3}},
		{Tally{10, 0}, Tally{10, 0}},
		{Tally{10, 10}, Tally{7, 7}},
	} {
		l := s.NewLikelihood()
		s.AddTable(l, table, 1)
		for _, v := range l {
			if v != 0 {
				t.Errorf("%+v says something: %v", table, l)
				break
			}
		}
	}
}

func TestCheck(t *testing.T) {
	for table, ok := range map[Table]bool{
		{}:                                   true,
		{Tally{2, 2}, Tally{1, 0}}:           true,
		{Tally{2, 3}, Tally{1, 0}}:           false,
		{Tally{2, 1}, Tally{1, -1}}:          false,
		{Tally{-1, -1}, Tally{1, 0}}:         false,
		{Tally{MaxUnits + 1, 0}, Tally{}}:    false,
		{Tally{MaxUnits, MaxUnits}, Tally{}}: true,
	} {
		if err := table.Check(); (err == nil) != ok {
			t.Errorf("%+v: %v", table, err)
		}
	}
}

package main

import (
	"fmt"
	"io"
	"math"
)

// row is one policy on one workload at one load.
type row struct {
	workload string
	rate     float64
	policy   string
	results  []result
}

func (r *row) column(f func(result) float64) (m, half float64) {
	var v []float64
	for _, x := range r.results {
		v = append(v, f(x))
	}
	return interval(v)
}

func (r *row) print(w io.Writer) {
	cell := func(f func(result) float64, scale float64, digits int) string {
		m, half := r.column(f)
		return fmt.Sprintf("%.*f ± %.*f", digits, scale*m, digits, scale*half)
	}
	fmt.Fprintf(w, "| %s %g | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.workload, r.rate, r.policy,
		cell(func(x result) float64 { return x.ttft50 }, 1000, 0),
		cell(func(x result) float64 { return x.ttft90 }, 1000, 0),
		cell(func(x result) float64 { return x.ttft99 }, 1000, 0),
		cell(func(x result) float64 { return x.e2eMean }, 1, 2),
		cell(func(x result) float64 { return x.tpot90 }, 1000, 1),
		cell(func(x result) float64 { return x.hit }, 100, 1),
		cell(func(x result) float64 { return x.preemptions + x.loads }, 1, 0))
}

// printSummary prints each policy's geometric mean over all cells, as a
// multiple of the best policy's, and the cells in which crossfade is worse than
// the best.
func printSummary(w io.Writer, rows []row) {
	type cell struct {
		workload string
		rate     float64
	}
	best := map[cell][2]float64{}
	of := func(r *row) [2]float64 {
		t, _ := r.column(func(x result) float64 { return x.ttft90 })
		e, _ := r.column(func(x result) float64 { return x.e2eMean })
		return [2]float64{t, e}
	}
	for i := range rows {
		c, v := cell{rows[i].workload, rows[i].rate}, of(&rows[i])
		b, ok := best[c]
		if !ok {
			b = v
		}
		best[c] = [2]float64{min(b[0], v[0]), min(b[1], v[1])}
	}
	logs, count := map[string][2]float64{}, map[string]int{}
	var order []string
	for i := range rows {
		r := &rows[i]
		v, b := of(r), best[cell{r.workload, r.rate}]
		if count[r.policy] == 0 {
			order = append(order, r.policy)
		}
		count[r.policy]++
		l := logs[r.policy]
		logs[r.policy] = [2]float64{l[0] + math.Log(v[0]/b[0]), l[1] + math.Log(v[1]/b[1])}
		if r.policy == "crossfade" && (v[0] > 1.05*b[0] || v[1] > 1.05*b[1]) {
			fmt.Fprintf(w, "behind the best: %s %g TTFT p90 %+.0f %%, E2E %+.0f %%\n", r.workload, r.rate, 100*(v[0]/b[0]-1), 100*(v[1]/b[1]-1))
		}
	}
	for _, p := range order {
		n := float64(count[p])
		fmt.Fprintf(w, "%s: TTFT p90 × %.3f, E2E × %.3f of the best\n", p, math.Exp(logs[p][0]/n), math.Exp(logs[p][1]/n))
	}
}

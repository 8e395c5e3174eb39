package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
)

// row is one policy on one workload at one load.
type row struct {
	Workload string
	Rate     float64 // requests per second
	Policy   string
	Seconds  float64  // in which requests arrive
	Seeds    []uint64 // of each of Results
	Results  []result
}

func (r *row) column(f func(result) float64) (m, half float64) {
	var v []float64
	for _, x := range r.Results {
		v = append(v, f(x))
	}
	return interval(v)
}

func (r *row) print(w io.Writer) {
	cell := func(f func(result) float64, scale float64, digits int) string {
		m, half := r.column(f)
		return fmt.Sprintf("%.*f ± %.*f", digits, scale*m, digits, scale*half)
	}
	fmt.Fprintf(w, "| %s %g | %s | %s | %s | %s | %s | %s | %s | %s |\n", r.Workload, r.Rate, r.Policy,
		cell(func(x result) float64 { return x.TTFT50 }, 1000, 0),
		cell(func(x result) float64 { return x.TTFT90 }, 1000, 0),
		cell(func(x result) float64 { return x.TTFT99 }, 1000, 0),
		cell(func(x result) float64 { return x.E2EMean }, 1, 2),
		cell(func(x result) float64 { return x.TPOT90 }, 1000, 1),
		cell(func(x result) float64 { return x.Hit }, 100, 1),
		cell(func(x result) float64 { return x.Preemptions + x.Loads }, 1, 0))
}

// merge adds what r measured to the row of its cell, which it makes if there is
// none. Of two results of one seed the later counts.
func merge(rows []row, r row) []row {
	i := slices.IndexFunc(rows, func(o row) bool {
		return o.Workload == r.Workload && o.Rate == r.Rate && o.Policy == r.Policy && o.Seconds == r.Seconds
	})
	if i < 0 {
		return append(rows, r)
	}
	for j, seed := range r.Seeds {
		if k := slices.Index(rows[i].Seeds, seed); k >= 0 {
			rows[i].Results[k] = r.Results[j]
		} else {
			rows[i].Seeds, rows[i].Results = append(rows[i].Seeds, seed), append(rows[i].Results, r.Results[j])
		}
	}
	return rows
}

// load reads rows that save wrote.
func load(file string) ([]row, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var rows []row
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		var r row
		if err := d.Decode(&r); errors.Is(err, io.EOF) {
			return rows, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if len(r.Seeds) != len(r.Results) {
			return nil, fmt.Errorf("%s: a row of %s %g %s has %d seeds and %d results", file, r.Workload, r.Rate, r.Policy, len(r.Seeds), len(r.Results))
		}
		rows = merge(rows, r)
	}
}

// save appends a row to a file.
func (r *row) save(file string) error {
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(json.NewEncoder(f).Encode(r), f.Close())
}

// printTable prints the means of all cells, a column for each policy, then who
// is behind whom, then each row in full.
func printTable(w io.Writer, rows []row) {
	slices.SortStableFunc(rows, func(a, b row) int {
		return cmp.Or(cmp.Compare(order(a.Workload), order(b.Workload)), cmp.Compare(a.Rate, b.Rate))
	})
	printMatrix(w, rows)
	fmt.Fprintln(w)
	printSummary(w, rows)
	fmt.Fprintln(w)
	fmt.Fprintln(w, "| load, requests/s | policy | TTFT p50 ms | p90 | p99 | E2E mean s | TPOT p90 ms | hit % | preemptions + loads |")
	fmt.Fprintln(w, "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for i := range rows {
		rows[i].print(w)
	}
}

// printMatrix prints a line for each cell: TTFT p90 in milliseconds / mean E2E
// in seconds of each policy.
func printMatrix(w io.Writer, rows []row) {
	var columns []string
	for i := range rows {
		if !slices.Contains(columns, rows[i].Policy) {
			columns = append(columns, rows[i].Policy)
		}
	}
	fmt.Fprintf(w, "| load, requests/s | %s |\n| --- |%s\n", strings.Join(columns, " | "), strings.Repeat(" ---: |", len(columns)))
	for start := 0; start < len(rows); {
		first := &rows[start]
		cells := make([]string, len(columns))
		for ; start < len(rows) && rows[start].Workload == first.Workload && rows[start].Rate == first.Rate; start++ {
			r := &rows[start]
			t, _ := r.column(func(x result) float64 { return x.TTFT90 })
			e, _ := r.column(func(x result) float64 { return x.E2EMean })
			cells[slices.Index(columns, r.Policy)] = fmt.Sprintf("%.0f / %.2f", 1000*t, e)
		}
		fmt.Fprintf(w, "| %s %g | %s |\n", first.Workload, first.Rate, strings.Join(cells, " | "))
	}
}

func order(name string) int {
	return slices.IndexFunc(workloads(), func(w *workload) bool { return w.name == name })
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
		t, _ := r.column(func(x result) float64 { return x.TTFT90 })
		e, _ := r.column(func(x result) float64 { return x.E2EMean })
		return [2]float64{t, e}
	}
	for i := range rows {
		c, v := cell{rows[i].Workload, rows[i].Rate}, of(&rows[i])
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
		v, b := of(r), best[cell{r.Workload, r.Rate}]
		if count[r.Policy] == 0 {
			order = append(order, r.Policy)
		}
		count[r.Policy]++
		l := logs[r.Policy]
		logs[r.Policy] = [2]float64{l[0] + math.Log(v[0]/b[0]), l[1] + math.Log(v[1]/b[1])}
		if r.Policy == "crossfade" && (v[0] > 1.05*b[0] || v[1] > 1.05*b[1]) {
			fmt.Fprintf(w, "behind the best: %s %g TTFT p90 %+.0f %%, E2E %+.0f %%\n", r.Workload, r.Rate, 100*(v[0]/b[0]-1), 100*(v[1]/b[1]-1))
		}
	}
	for _, p := range order {
		n := float64(count[p])
		fmt.Fprintf(w, "%s: TTFT p90 × %.3f, E2E × %.3f of the best\n", p, math.Exp(logs[p][0]/n), math.Exp(logs[p][1]/n))
	}
}

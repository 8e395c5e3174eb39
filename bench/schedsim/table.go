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
// in seconds of each policy, each with half of its 95 % confidence interval when
// there are several seeds.
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
			cells[slices.Index(columns, rows[start].Policy)] = rows[start].brief()
		}
		fmt.Fprintf(w, "| %s %g | %s |\n", first.Workload, first.Rate, strings.Join(cells, " | "))
	}
}

// What policies are compared by.
func ttft90(x result) float64  { return x.TTFT90 }
func e2eMean(x result) float64 { return x.E2EMean }

func (r *row) brief() string {
	t, th := r.column(ttft90)
	e, eh := r.column(e2eMean)
	if len(r.Results) < 2 {
		return fmt.Sprintf("%.0f / %.2f", 1000*t, e)
	}
	return fmt.Sprintf("%.0f ± %.0f / %.2f ± %.2f", 1000*t, 1000*th, e, eh)
}

func order(name string) int {
	return slices.IndexFunc(workloads(), func(w *workload) bool { return w.name == name })
}

// cellName is one load of one workload.
type cellName struct {
	workload string
	rate     float64
}

// printSummary prints the cells in which crossfade is more than 5 % behind the
// best policy, and each policy's geometric mean over all cells, as a multiple of the
// best policy's.
func printSummary(w io.Writer, rows []row) {
	cells := map[cellName][]*row{}
	var names []cellName
	var policies []string
	for i := range rows {
		c := cellName{rows[i].Workload, rows[i].Rate}
		if cells[c] == nil {
			names = append(names, c)
		}
		cells[c] = append(cells[c], &rows[i])
		if !slices.Contains(policies, rows[i].Policy) {
			policies = append(policies, rows[i].Policy)
		}
	}
	for _, c := range names {
		printBehind(w, c, cells[c])
	}
	for _, p := range policies {
		fmt.Fprintf(w, "%s: TTFT p90 × %.3f, E2E × %.3f of the best\n", p, geometric(cells, p, ttft90), geometric(cells, p, e2eMean))
	}
}

// printBehind prints in what crossfade is more than 5 % behind in a cell, with the
// 95 % confidence interval of the quotient: both had the same requests.
func printBehind(w io.Writer, c cellName, rows []*row) {
	own := slices.IndexFunc(rows, func(r *row) bool { return r.Policy == "crossfade" })
	if own < 0 {
		return
	}
	for _, m := range []struct {
		name string
		of   func(result) float64
	}{{"TTFT p90", ttft90}, {"mean E2E", e2eMean}} {
		best := least(rows, m.of)
		q, low, high := quotient(rows[own], best, m.of)
		if q > 1.05 {
			fmt.Fprintf(w, "%s %g: %s is %+.0f %% (%+.0f to %+.0f) of %s's\n", c.workload, c.rate, m.name, 100*(q-1), 100*(low-1), 100*(high-1), best.Policy)
		}
	}
}

// least returns the row with the least mean.
func least(rows []*row, of func(result) float64) *row {
	return slices.MinFunc(rows, func(a, b *row) int {
		x, _ := a.column(of)
		y, _ := b.column(of)
		return cmp.Compare(x, y)
	})
}

// quotient is the geometric mean, over the seeds that both have, of a's values as
// multiples of b's, and its 95 % confidence interval.
func quotient(a, b *row, of func(result) float64) (q, low, high float64) {
	var logs []float64
	for i, seed := range a.Seeds {
		if j := slices.Index(b.Seeds, seed); j >= 0 {
			logs = append(logs, math.Log(of(a.Results[i])/of(b.Results[j])))
		}
	}
	m, half := interval(logs)
	return math.Exp(m), math.Exp(m - half), math.Exp(m + half)
}

// geometric is a policy's mean over all cells as a multiple of the best there.
func geometric(cells map[cellName][]*row, policy string, of func(result) float64) float64 {
	var logs []float64
	for _, rows := range cells {
		best, _ := least(rows, of).column(of)
		for _, r := range rows {
			if r.Policy == policy {
				v, _ := r.column(of)
				logs = append(logs, math.Log(v/best))
			}
		}
	}
	return math.Exp(mean(logs))
}

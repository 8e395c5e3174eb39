//go:build linux

package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// describeMachine is one line on where the figures come from. The load average
// betrays a machine that was busy with something else.
func describeMachine() string {
	load := "unknown"
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		load, _, _ = strings.Cut(string(b), " ")
	}
	kernel := "unknown"
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(b))
	}
	kernel, _, _ = strings.Cut(kernel, "-")
	return fmt.Sprintf("%s, %d cores, Linux %s, %s, load average before %s", processorName(), runtime.NumCPU(), kernel, runtime.Version(), load)
}

func processorName() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			return strings.TrimLeft(strings.TrimSpace(name), ": \t")
		}
	}
	return runtime.GOARCH
}

// table renders everything measured as one markdown table, a column per target.
func (r *run) table() string {
	t := tableText{columns: len(r.targets)}
	title := []string{""}
	for _, target := range r.targets {
		title = append(title, target.title())
	}
	t.line(title)
	t.line(append([]string{"---"}, strings.Split(strings.Repeat("---:,", len(r.targets)-1)+"---:", ",")...))
	for _, part := range r.partsInOrder() {
		switch part.name {
		case partRequests:
			r.requestRows(&t)
		case partLatency:
			r.latencyRows(&t)
		case partStream:
			r.costRows(&t, fmt.Sprintf("CPU µs per SSE chunk, %d streams", r.streams), func(f *figures) []float64 { return f.cpuChunk })
		case partIdle:
			r.idleRows(&t)
		case partEffect:
			r.effectRow(&t)
		}
	}
	r.row(&t, "wrong answers", func(f *figures) string { return fmt.Sprint(f.wrong) })
	for _, target := range r.targets {
		if f := r.figures[target.name]; f.firstWrong != nil {
			fmt.Fprintf(&t.Builder, "\n%s, first wrong answer: %v\n", target.name, f.firstWrong)
		}
	}
	return t.String()
}

type tableText struct {
	strings.Builder
	columns int
}

func (t *tableText) line(cells []string) { fmt.Fprintf(t, "| %s |\n", strings.Join(cells, " | ")) }

// row adds one measure with a cell for each target.
func (r *run) row(t *tableText, name string, cell func(*figures) string) {
	cells := []string{name}
	for _, target := range r.targets {
		cells = append(cells, cell(r.figures[target.name]))
	}
	t.line(cells)
}

func (r *run) requestRows(t *tableText) {
	r.costRows(t, "CPU µs per request", func(f *figures) []float64 { return f.cpuRequest })
	r.row(t, fmt.Sprintf("requests/s, %d connections", r.connections), func(f *figures) string {
		return spreadText(f.perSecond, 0)
	})
	r.row(t, "its core's use meanwhile", func(f *figures) string {
		return fmt.Sprintf("%.0f %%", 100*spreadOf(f.coreShare).median)
	})
}

// costRows adds a measure and its ratios to the peers that are there.
func (r *run) costRows(t *tableText, name string, of func(*figures) []float64) {
	r.row(t, name, func(f *figures) string { return spreadText(of(f), 1) })
	for _, peer := range []string{"haproxy", "nginx", "baseline"} {
		if p := r.figures[peer]; p != nil {
			r.row(t, "× "+peer, func(f *figures) string {
				return fmt.Sprintf("%.2f", spreadOf(ratios(of(f), of(p))).median)
			})
		}
	}
}

func (r *run) latencyRows(t *tableText) {
	added := func(of func(*latencies) []float64) func(*figures) string {
		return func(f *figures) string {
			return spreadText(differences(of(&f.latency), of(&r.direct)), 0)
		}
	}
	p50 := func(l *latencies) []float64 { return l.p50 }
	p99 := func(l *latencies) []float64 { return l.p99 }
	name := func(q string, values []float64) string {
		return fmt.Sprintf("added latency %s µs at %d/s (direct: %.0f)", q, r.rate, spreadOf(values).median)
	}
	r.row(t, name("p50", r.direct.p50), added(p50))
	r.row(t, name("p99", r.direct.p99), added(p99))
}

func (r *run) idleRows(t *tableText) {
	r.row(t, "RSS MiB at start", func(f *figures) string { return mebi(f.baseBytes) })
	r.row(t, fmt.Sprintf("RSS MiB at %d idle streams", r.idleStreams), func(f *figures) string { return mebi(f.idleBytes) })
	r.row(t, "KiB per idle stream", func(f *figures) string {
		return fmt.Sprintf("%.1f", float64(f.idleBytes-f.baseBytes)/1024/float64(r.idleStreams))
	})
}

func (r *run) effectRow(t *tableText) {
	if len(r.took) == 0 {
		return // crossfade was not among the targets
	}
	cells := []string{fmt.Sprintf("file write to effect, ms (%d times)", len(r.took))}
	var ms []float64
	for _, d := range r.took {
		ms = append(ms, float64(d)/float64(time.Millisecond))
	}
	for _, target := range r.targets {
		cell := "-"
		if target.name == "crossfade" {
			cell = spreadText(ms, 1)
		}
		cells = append(cells, cell)
	}
	t.line(cells)
}

func mebi(n int64) string { return fmt.Sprintf("%.1f", float64(n)/(1<<20)) }

// spreadText shows a median with its extremes.
func spreadText(values []float64, digits int) string {
	if len(values) == 0 {
		return "-"
	}
	s := spreadOf(values)
	f := func(v float64) string { return fmt.Sprintf("%.*f", digits, v) }
	return fmt.Sprintf("%s (%s–%s)", f(s.median), f(s.low), f(s.high))
}

// ratios and differences compare two targets round by round: within a round the
// machine was in one mood.
func ratios(a, b []float64) []float64 {
	var out []float64
	for i := range min(len(a), len(b)) {
		out = append(out, a[i]/b[i])
	}
	return out
}

func differences(a, b []float64) []float64 {
	var out []float64
	for i := range min(len(a), len(b)) {
		out = append(out, a[i]-b[i])
	}
	return out
}

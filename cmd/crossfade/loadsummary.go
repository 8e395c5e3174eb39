package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/screen"
)

// loadSummary is how a load went so far. Its zero value is ready.
type loadSummary struct {
	mu       sync.Mutex
	running  int
	sent     int
	dropped  int // not sent: too many ran
	problems map[string]int
	first    []time.Duration // of streams
	whole    []time.Duration // of what was answered well
	tokens   int
	sending  time.Duration
	done     chan struct{}
}

// begin counts a request that is to be sent; false: too many run.
func (s *loadSummary) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running >= maxLoadInFlight {
		s.dropped++
		return false
	}
	s.running++
	s.sent++
	return true
}

func (s *loadSummary) add(r loadResult) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	s.tokens += r.tokens
	if r.first > 0 {
		s.first = append(s.first, r.first)
	}
	if r.problem == "" {
		s.whole = append(s.whole, r.whole)
		return
	}
	if s.problems == nil {
		s.problems = map[string]int{}
	}
	s.problems[r.problem]++
}

// good is how many requests were answered well.
func (s *loadSummary) good() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.whole)
}

// mark notes how long requests were sent.
func (s *loadSummary) mark(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sending = d
}

// ended is closed by finish.
func (s *loadSummary) ended() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil {
		s.done = make(chan struct{})
	}
	return s.done
}

// finish ends tell.
func (s *loadSummary) finish() { close(s.ended()) }

// tell prints a line every ten seconds until finish is called or ctx ends.
func (s *loadSummary) tell(ctx context.Context, out io.Writer, length time.Duration) {
	ticks := time.NewTicker(10 * time.Second)
	defer ticks.Stop()
	started := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.ended():
			return
		case <-ticks.C:
		}
		s.mu.Lock()
		line := fmt.Sprintf("%s of %s: %d sent, %d well, %d failed, %d running", screen.Span(time.Since(started)), screen.Span(length), s.sent, len(s.whole), s.failed(), s.running)
		s.mu.Unlock()
		fmt.Fprintln(out, line)
	}
}

// stopped is the problem of a request that the load's own end cut.
const stopped = "stopped"

// failed is how many went wrong. The lock is held.
func (s *loadSummary) failed() (n int) {
	for what, k := range s.problems {
		if what != stopped {
			n += k
		}
	}
	return n
}

// String is the summary for people.
func (s *loadSummary) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	seconds := max(s.sending.Seconds(), 1e-3)
	fmt.Fprintf(&b, "requests  %d sent in %s (%.3g/s): %d well, %d failed\n", s.sent, s.sending.Round(time.Millisecond), float64(s.sent)/seconds, len(s.whole), s.failed())
	kinds := slices.SortedFunc(maps.Keys(s.problems), func(a, c string) int {
		return cmp.Or(cmp.Compare(s.problems[c], s.problems[a]), cmp.Compare(a, c))
	})
	for _, k := range kinds {
		fmt.Fprintf(&b, "  %-16s %d (%.3g%%)\n", k, s.problems[k], 100*float64(s.problems[k])/float64(max(s.sent, 1)))
	}
	if s.dropped > 0 {
		fmt.Fprintf(&b, "  %-16s %d: %d ran already\n", "not sent", s.dropped, maxLoadInFlight)
	}
	quantiles(&b, "ttft", s.first)
	quantiles(&b, "whole", s.whole)
	fmt.Fprintf(&b, "tokens    %d of answers, %.4g/s\n", s.tokens, float64(s.tokens)/seconds)
	return b.String()
}

func quantiles(b *strings.Builder, name string, all []time.Duration) {
	if len(all) == 0 {
		return
	}
	sorted := slices.Sorted(slices.Values(all))
	at := func(q float64) string {
		return rollout.Milliseconds(sorted[min(int(q*float64(len(sorted))), len(sorted)-1)])
	}
	fmt.Fprintf(b, "%-9s p50 %s  p90 %s  p99 %s (of %d)\n", name, at(0.5), at(0.9), at(0.99), len(all))
}

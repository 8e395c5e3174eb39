package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"
)

// load asks a gateway questions, several at a time, until it is stopped. Every
// request counts: one that fails fails the test.
type load struct {
	t     testing.TB
	base  string
	asks  []question
	group sync.WaitGroup
	quit  chan struct{}
	once  sync.Once

	mu       sync.Mutex
	now      tally
	failures []string
}

// tally counts good answers, by who gave them.
type tally struct {
	good     int
	speakers map[string]int
	models   map[string]int
}

// share of a speaker among the answers, 0 to 1.
func (n tally) share(speaker string) float64 {
	return float64(n.speakers[speaker]) / float64(max(n.good, 1))
}

// startLoad has workers people ask the gateway at base one of the questions after
// the other, in any order. Every second one opens a connection for each request,
// as short-lived clients do; the others keep theirs.
func startLoad(t testing.TB, base string, workers int, asks ...question) *load {
	l := &load{t: t, base: base, asks: asks, quit: make(chan struct{})}
	l.lap()
	for i := range workers {
		client := newClient(i%2 == 0)
		l.group.Go(func() {
			defer client.CloseIdleConnections()
			l.work(client)
		})
	}
	t.Cleanup(func() { l.halt() })
	return l
}

func (l *load) work(client *http.Client) {
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		q := l.asks[rand.IntN(len(l.asks))]
		began := time.Now()
		// Two minutes are far more than an answer takes: one that hangs is a failure.
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		a, err := chat(ctx, client, l.base, q)
		cancel()
		wrong := a.wrong(q)
		if err != nil {
			wrong = err.Error()
		}
		l.count(a, wrong, began)
		if wrong != "" {
			time.Sleep(20 * time.Millisecond) // a gateway that refuses is not to be hammered
		}
	}
}

func (l *load) count(a answer, wrong string, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if wrong != "" {
		l.failures = append(l.failures, fmt.Sprintf("%s, after %s: %s", began.Format("15:04:05.000"), time.Since(began).Round(time.Millisecond), wrong))
		return
	}
	l.now.good++
	l.now.speakers[a.speaker()]++
	l.now.models[a.model]++
}

// lap returns what was counted since the last lap.
func (l *load) lap() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.now
	l.now = tally{speakers: map[string]int{}, models: map[string]int{}}
	return last
}

// until waits until the current lap has n good answers. The first failure ends the
// load and the test.
func (l *load) until(n int) {
	l.t.Helper()
	failed := false
	eventually(l.t, fmt.Sprintf("%d answers", n), func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		failed = len(l.failures) > 0
		if l.now.good < n && !failed {
			return fmt.Errorf("%d so far", l.now.good)
		}
		return nil
	})
	if failed {
		l.stop()
		l.t.FailNow()
	}
}

// measure counts the next n answers, leaving out those under way.
func (l *load) measure(n int) tally {
	l.t.Helper()
	l.lap()
	l.until(n)
	return l.lap()
}

// halt lets the requests under way end.
func (l *load) halt() {
	l.once.Do(func() { close(l.quit) })
	l.group.Wait()
}

// stop ends the load and returns its last lap. No request may have failed.
func (l *load) stop() tally {
	l.t.Helper()
	l.halt()
	l.mu.Lock()
	for i, f := range l.failures {
		if i == 10 {
			l.t.Errorf("and %d more failed requests", len(l.failures)-i)
			break
		}
		l.t.Errorf("failed request at %s", f)
	}
	l.mu.Unlock()
	return l.lap()
}

// count asks n times, 16 at a time, and counts the answers.
func count(t testing.TB, base string, q question, n int) tally {
	t.Helper()
	l := &load{t: t, base: base, quit: make(chan struct{})}
	l.lap()
	client := newClient(true)
	defer client.CloseIdleConnections()
	work := make(chan struct{}, n)
	for range n {
		work <- struct{}{}
	}
	close(work)
	for range 16 {
		l.group.Go(func() {
			for range work {
				began := time.Now()
				a, err := chat(t.Context(), client, base, q)
				wrong := a.wrong(q)
				if err != nil {
					wrong = err.Error()
				}
				l.count(a, wrong, began)
			}
		})
	}
	return l.stop()
}

// about checks that a lap's shares are as wanted, give or take some hundredths.
func (n tally) about(t testing.TB, want map[string]float64, tolerance float64) {
	t.Helper()
	for speaker := range merged(want, n.speakers) {
		if d := n.share(speaker) - want[speaker]; d > tolerance || d < -tolerance {
			t.Errorf("%.1f%% of %d answers are by %q, want %.0f%%", 100*n.share(speaker), n.good, speaker, 100*want[speaker])
		}
	}
}

func merged(want map[string]float64, have map[string]int) map[string]bool {
	all := map[string]bool{}
	for k := range maps.Keys(want) {
		all[k] = true
	}
	for k := range maps.Keys(have) {
		all[k] = true
	}
	return all
}

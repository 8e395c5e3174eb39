package e2e

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
)

// streams are answers that last long. Each has to come to its end.
type streams struct {
	t     testing.TB
	group sync.WaitGroup
	over  atomic.Int64

	mu       sync.Mutex
	failures []string
}

// startStreams opens n streams of so many tokens each, 33 per second, from the
// model servers of testdata/slow.yaml, each over a connection of its own.
func startStreams(t testing.TB, base string, n, tokens int) *streams {
	s := &streams{t: t}
	q := stream("chat", tokens)
	q.host = "slow.example"
	for i := range n {
		s.group.Go(func() {
			defer s.over.Add(1)
			client := newClient(false)
			a, err := chat(context.Background(), client, base, q)
			wrong := a.wrong(q)
			if err != nil {
				wrong = err.Error()
			}
			if wrong != "" {
				s.mu.Lock()
				s.failures = append(s.failures, fmt.Sprintf("stream %d: %s", i, wrong))
				s.mu.Unlock()
			}
		})
	}
	return s
}

// ended is how many streams are over, well or not.
func (s *streams) ended() int { return int(s.over.Load()) }

// wait waits for every stream's end, which must be a good one.
func (s *streams) wait() {
	s.t.Helper()
	s.group.Wait()
	for _, f := range s.failures {
		s.t.Error(f)
	}
}

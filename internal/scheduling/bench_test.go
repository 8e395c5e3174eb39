package scheduling

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// BenchmarkPick is one call from Pick to End in a pool under load: 8 requests
// in flight per endpoint, fresh metrics, prompts that share half their text.
func BenchmarkPick(b *testing.B) {
	for _, endpoints := range []int{1, 2, 100, 1000} {
		for _, size := range []int{2 << 10, 220 << 10, 400 << 10} {
			b.Run(fmt.Sprintf("endpoints=%d/prompt=%dKB", endpoints, size>>10), func(b *testing.B) {
				benchmarkPick(b, endpoints, size)
			})
		}
	}
}

func benchmarkPick(b *testing.B, endpoints, size int) {
	s, pool := loadedScheduler(endpoints)
	prompts := benchPrompts(size)
	call := &Call{Request: &llm.Request{Stream: true}, Model: "base", At: time.Unix(100, 0)}
	b.ReportAllocs()
	b.SetBytes(int64(size))
	defer reportCPU(b)()
	for i := 0; b.Loop(); i++ {
		call.Request.Prompt = prompts[i%len(prompts)]
		d, err := s.Pick(b.Context(), call, pool)
		if err != nil {
			b.Fatal(err)
		}
		d.Reservation.FirstToken(call.At)
		d.Reservation.End(EndResult{At: call.At})
	}
}

// BenchmarkPickParallel shows what the pool's lock costs.
func BenchmarkPickParallel(b *testing.B) {
	s, pool := loadedScheduler(100)
	prompts := benchPrompts(2 << 10)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		call := &Call{Request: &llm.Request{Stream: true, Prompt: prompts[0]}, Model: "base", At: time.Unix(100, 0)}
		for pb.Next() {
			d, err := s.Pick(b.Context(), call, pool)
			if err != nil {
				b.Error(err)
				return
			}
			d.Reservation.End(EndResult{At: call.At})
		}
	})
}

func BenchmarkObserve(b *testing.B) {
	s, _ := loadedScheduler(1)
	b.ReportAllocs()
	at := time.Unix(200, 0)
	for b.Loop() {
		at = at.Add(time.Second)
		s.Observe("10.0.0.0:8000", Metrics{At: at, Running: 3})
	}
}

func loadedScheduler(endpoints int) (*Scheduler, *routing.Pool) {
	s := New(Options{Rand: rand.New(rand.NewPCG(1, 2))})
	pool := &routing.Pool{ID: "p", Inference: true}
	for i := range endpoints {
		address := fmt.Sprintf("10.0.%d.%d:8000", i/250, i%250)
		pool.Endpoints = append(pool.Endpoints, routing.Endpoint{Address: address, Models: []string{"adapter", "base"}})
		s.Observe(address, Metrics{At: time.Unix(100, 0), Running: 8, KVUsage: 0.3, BlockSize: 16, Blocks: 17000})
	}
	r := &llm.Request{Stream: true, Prompt: make([]byte, 4000)}
	for range 8 * endpoints {
		d, _ := s.Pick(context.Background(), &Call{Request: r, Model: "base", At: time.Unix(100, 0)}, pool)
		d.Reservation.FirstToken(time.Unix(100, 0))
	}
	return s, pool
}

func benchPrompts(size int) [][]byte {
	var prompts [][]byte
	for i := range 16 {
		half := strings.Repeat("you are a helpful assistant. ", size/29/2)
		prompts = append(prompts, []byte(half+strings.Repeat(fmt.Sprintf("question %d? ", i), size/13/2)))
	}
	return prompts
}

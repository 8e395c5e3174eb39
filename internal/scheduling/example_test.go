package scheduling_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// Two calls that begin alike: the second goes where the beginning has been
// computed, and the decision says why.
func Example() {
	scheduler := scheduling.New(scheduling.Options{})
	pool := &routing.Pool{ID: "InferencePool/chat/qwen", Inference: true, Endpoints: []routing.Endpoint{
		{Address: "10.0.0.1:8000"}, {Address: "10.0.0.2:8000"},
	}}
	prompt := []byte(strings.Repeat("You are a travel assistant. ", 400))
	call := &scheduling.Call{
		Request: &llm.Request{Stream: true, Prompt: prompt},
		Model:   "qwen",
		Tried:   []string{"10.0.0.1:8000"}, // it did not answer
		At:      time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC),
	}
	first, _ := scheduler.Pick(context.Background(), call, pool)
	first.Reservation.FirstToken(call.At.Add(100 * time.Millisecond))
	first.Reservation.End(scheduling.EndResult{At: call.At.Add(time.Second)})

	call.Tried, call.Explain = nil, true
	second, _ := scheduler.Pick(context.Background(), call, pool)
	defer second.Reservation.End(scheduling.EndResult{At: call.At})
	fmt.Println("chosen", second.Endpoint.Address)
	for _, candidate := range second.Candidates {
		fmt.Println(candidate)
	}
	// Output:
	// chosen 10.0.0.2:8000
	// 10.0.0.1:8000 183.1ms queue=16.2 prefix=114.2 copy=52.8
	// 10.0.0.2:8000 25.6ms queue=16.2 prefix=2.1 decode=7.4 cached=2752
}

package sim

import (
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// BenchmarkStep is one step of a full batch: 256 sequences that decode.
func BenchmarkStep(b *testing.B) {
	cfg := Config{Model: "m", Limits: Limits{MaxModelLen: 1 << 20, Blocks: 1 << 20}}.withDefaults()
	fill := func() (*Engine, time.Duration) {
		e := NewEngine(cfg.Limits, cfg.Profile.Timing)
		for i := range 256 {
			if _, err := e.Submit(0, Work{Prompt: words(i, 500), Output: 40_000}); err != nil {
				b.Fatal(err)
			}
		}
		now := time.Duration(0)
		for range 256 {
			d, _ := e.Step(now)
			now += d
		}
		return e, now
	}
	e, now := fill()
	b.ReportAllocs()
	for b.Loop() {
		d, events := e.Step(now)
		now += d
		if len(events) != 256 {
			b.StopTimer()
			e, now = fill()
			b.StartTimer()
		}
	}
}

// BenchmarkThousandRequests runs a thousand requests through the engine to the
// end: prompts of 600 tokens of which 400 are shared by fifty, answers of 50.
func BenchmarkThousandRequests(b *testing.B) {
	cfg := Config{Model: "m"}.withDefaults()
	var prompts [][]uint32
	for i := range 1000 {
		prompts = append(prompts, append(words(i%20, 400), words(1000+i, 200)...))
	}
	b.ReportAllocs()
	for b.Loop() {
		e := NewEngine(cfg.Limits, cfg.Profile.Timing)
		for _, p := range prompts {
			if _, err := e.Submit(0, Work{Prompt: p, Output: 50}); err != nil {
				b.Fatal(err)
			}
		}
		for now, d := time.Duration(0), time.Duration(1); d > 0; now += d {
			d, _ = e.Step(now)
		}
	}
}

// BenchmarkChat is a whole request through the handler, without a network and
// without waiting: its cost in CPU.
func BenchmarkChat(b *testing.B) {
	for _, stream := range []bool{false, true} {
		b.Run(fmt.Sprintf("stream=%v", stream), func(b *testing.B) {
			h := New(Config{Model: "m"}, Options{Speed: math.Inf(1), Logger: slog.New(slog.DiscardHandler)}).Handler()
			body := fmt.Sprintf(hello, fmt.Sprintf(`,"max_tokens":20,"stream":%v`, stream))
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if w.Code != 200 {
					b.Fatal(w.Body)
				}
				_, _ = io.Copy(io.Discard, w.Body)
			}
		})
	}
}

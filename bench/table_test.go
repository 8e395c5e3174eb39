//go:build linux

package main

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	r := &run{config: config{connections: 64, rate: 1000, streams: 100, idleStreams: 1024, parts: allParts()},
		targets: []*target{{name: "crossfade"}, {name: "haproxy"}},
		figures: map[string]*figures{
			"crossfade": {cpuRequest: []float64{30, 20, 28}, perSecond: []float64{30000}, coreShare: []float64{0.9},
				latency: latencies{p50: []float64{150}, p99: []float64{400}}, cpuChunk: []float64{20},
				baseBytes: 10 << 20, idleBytes: 12 << 20, wrong: 1, firstWrong: errors.New("status 500")},
			"haproxy": {cpuRequest: []float64{15, 20, 14}, perSecond: []float64{60000}, coreShare: []float64{1},
				latency: latencies{p50: []float64{140}, p99: []float64{300}}, cpuChunk: []float64{16},
				baseBytes: 10 << 20, idleBytes: 11 << 20},
		},
		direct: latencies{p50: []float64{40}, p99: []float64{100}},
		took:   []time.Duration{3 * time.Millisecond, 5 * time.Millisecond, 4 * time.Millisecond},
	}
	want := `|  | crossfade | haproxy |
| --- | ---: | ---: |
| CPU µs per request | 28.0 (20.0–30.0) | 15.0 (14.0–20.0) |
| × haproxy | 2.00 | 1.00 |
| requests/s, 64 connections | 30000 (30000–30000) | 60000 (60000–60000) |
| its core's use meanwhile | 90 % | 100 % |
| added latency p50 µs at 1000/s (direct: 40) | 110 (110–110) | 100 (100–100) |
| added latency p99 µs at 1000/s (direct: 100) | 300 (300–300) | 200 (200–200) |
| CPU µs per SSE chunk, 100 streams | 20.0 (20.0–20.0) | 16.0 (16.0–16.0) |
| × haproxy | 1.25 | 1.00 |
| RSS MiB at start | 10.0 | 10.0 |
| RSS MiB at 1024 idle streams | 12.0 | 11.0 |
| KiB per idle stream | 2.0 | 1.0 |
| file write to effect, ms (3 times) | 4.0 (3.0–5.0) | - |
| wrong answers | 1 | 0 |

crossfade, first wrong answer: status 500
`
	if got := r.table(); got != want {
		t.Errorf("table is\n%s\nwant\n%s", got, want)
	}
}

func TestTableWithoutPeers(t *testing.T) {
	r := &run{config: config{parts: []string{partRequests, partEffect}}, targets: []*target{{name: "reverseproxy"}},
		figures: map[string]*figures{"reverseproxy": {}}}
	if got := r.table(); strings.Contains(got, "×") || strings.Contains(got, "effect") {
		t.Errorf("the table has ratios to peers that were not measured:\n%s", got)
	}
}

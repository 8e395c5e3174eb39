package routing

import (
	"fmt"
	"net/http"
	"net/url"
	"testing"
)

// benchmarkMatch measures one Match with n routes on the listener, of which the
// request meets one of the last.
func benchmarkMatch(b *testing.B, n int) {
	l := &Listener{}
	for i := range n {
		m := Match{Path: fmt.Sprintf("/team-%d/v1", i)}
		if i%10 == 0 {
			m.Method = http.MethodPost
			m.Headers = []ValueMatch{{Name: "X-Team", Value: fmt.Sprint(i)}}
		}
		l.AddRoute([]string{"", "*.models.inference.example.com", "chat.models.inference.example.com"}[i%3], &Route{Match: m, Order: i})
	}
	l.SortRoutes()
	r := &http.Request{Method: http.MethodPost, Host: "chat.models.inference.example.com", Header: http.Header{"X-Team": {fmt.Sprint(n - 1)}},
		URL: &url.URL{Path: fmt.Sprintf("/team-%d/v1/chat/completions", n-1)}}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := l.Match(r); !ok {
			b.Fatal("no match")
		}
	}
}

func BenchmarkMatch1(b *testing.B)    { benchmarkMatch(b, 1) }
func BenchmarkMatch1000(b *testing.B) { benchmarkMatch(b, 1000) }

func BenchmarkDraw(b *testing.B) {
	for _, weights := range [][]uint32{{90, 10}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}} {
		b.Run(fmt.Sprint(len(weights)), func(b *testing.B) {
			s := NewSplit("", weights)
			b.ReportAllocs()
			for b.Loop() {
				s.Draw()
			}
		})
	}
}

func BenchmarkDrawParallel(b *testing.B) {
	s := NewSplit("", []uint32{90, 10})
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			s.Draw()
		}
	})
}

// TestHotPathDoesNotAllocate holds the benchmarks' other half where every run of
// the tests sees it.
func TestHotPathDoesNotAllocate(t *testing.T) {
	l := &Listener{}
	l.AddRoute("*.a-long-label-for-a-tenant.models.inference.example.com", &Route{Match: Match{Path: "/v1", Headers: []ValueMatch{{Name: "X", Value: "1"}}}})
	l.AddRoute("", &Route{Match: Match{Path: "/"}})
	r := &http.Request{Method: "POST", Host: "chat.a-long-label-for-a-tenant.models.inference.example.com:8080", Header: http.Header{"X": {"1"}}, URL: &url.URL{Path: "/v1/chat/completions"}}
	p := &Port{Listeners: []*Listener{{Hostname: "*.example.com"}, l}}
	s := NewSplit("", []uint32{90, 10})
	if n := testing.AllocsPerRun(100, func() {
		p.Listener(r.Host)
		l.Match(r)
		s.Draw()
	}); n != 0 {
		t.Errorf("%v allocations for one request, want none", n)
	}
}

//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serveGroup is a server that answers as an engine of group i does.
func serveGroup(i int, model string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answerBody(groups()[i].name, model)) }
}

func newTestLoad(t *testing.T, rewrites bool, h http.HandlerFunc) *load {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	l, err := newLoad(server.Listener.Addr().String(), 4, rewrites)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func TestClosedLoopSendsExactlyTheTotal(t *testing.T) {
	var served atomic.Int64
	l := newTestLoad(t, true, func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		serveGroup(1, modelB)(w, r)
	})
	if _, err := l.closedLoop(t.Context(), 103); err != nil {
		t.Fatal(err)
	}
	if served.Load() != 103 || l.check.seen != [2]int{0, 103} || l.wrong != 0 {
		t.Errorf("served %d, seen %v, wrong %d (%v); want 103 of the second group", served.Load(), l.check.seen, l.wrong, l.first)
	}
}

func TestPacedSendsAtItsRate(t *testing.T) {
	l := newTestLoad(t, false, serveGroup(0, askedModel))
	answered := 0
	l.answered = func(time.Time) { answered++ }
	if err := l.paced(t.Context(), 200, 100*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if answered != 20 || l.wrong != 0 {
		t.Errorf("%d answers and %d wrong ones (%v), want 20 and none", answered, l.wrong, l.first)
	}
}

// A gateway that does not rewrite the model must not pass for one that does.
func TestWrongAnswersAreCounted(t *testing.T) {
	for name, tc := range map[string]struct {
		rewrites bool
		handler  http.HandlerFunc
		want     string
	}{
		"model not rewritten":           {true, serveGroup(0, askedModel), "not an answer of the engine"},
		"rewritten for the other group": {true, serveGroup(0, modelB), "not an answer of the engine"},
		"rewritten unasked":             {false, serveGroup(0, modelA), "not an answer of the engine"},
		"an error":                      {false, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) }, "status 503"},
		"a broken connection":           {false, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "connection closed"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newTestLoad(t, tc.rewrites, tc.handler)
			if _, err := l.closedLoop(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			if l.wrong != 10 || l.first == nil || !strings.Contains(l.first.Error(), tc.want) {
				t.Errorf("%d wrong answers, the first: %v; want 10 with %q", l.wrong, l.first, tc.want)
			}
		})
	}
}

func TestLoadStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	l := newTestLoad(t, false, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server notices a lost client only after the body
		cancel()
		<-r.Context().Done()
	})
	if _, err := l.closedLoop(ctx, 10); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestCheckShare(t *testing.T) {
	for _, good := range [][2]int{{900, 100}, {27_000, 3000}, {88, 12}} {
		if err := checkShare(good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	for _, bad := range [][2]int{{0, 0}, {30_000, 0}, {15_000, 15_000}} {
		if checkShare(bad) == nil {
			t.Errorf("%v passes for 90/10", bad)
		}
	}
}

func TestStreamEventsAreChecked(t *testing.T) {
	l := &streamLoad{models: [2]string{modelA, modelB}, next: make([]int, 1)}
	if err := l.check(0, appendEvent(nil, "stable", modelA, 0)); err != nil {
		t.Fatal(err)
	}
	for name, event := range map[string][]byte{
		"the same again":      appendEvent(nil, "stable", modelA, 0),
		"one left out":        appendEvent(nil, "stable", modelA, 2),
		"model not rewritten": appendEvent(nil, "stable", askedModel, 1),
		"an error":            []byte("data: {\"error\":{}}\n\n"),
	} {
		if l.check(0, event) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if l.events != 1 {
		t.Errorf("%d events counted, want 1", l.events)
	}
}

// The wheel of the standard library's proxy gives each group its weight.
func TestWheel(t *testing.T) {
	next := newWheel(engineAddresses{"stable": {"s1", "s2", "s3"}, "candidate": {"c1", "c2"}})
	hosts := map[string]int{}
	for range 1000 {
		hosts[next().Host]++
	}
	if hosts["c1"]+hosts["c2"] != 100 || len(hosts) != 5 {
		t.Errorf("hosts are %v, want 100 of 1000 at the two candidates and all five used", hosts)
	}
}

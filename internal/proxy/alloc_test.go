//go:build !race

package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A model call costs a handful of allocations here; most belong to the upstream
// client. The race detector changes what is allocated.
func TestAllocationsOfACall(t *testing.T) {
	const most = 15
	w := newWorld(t, serving(to(pool("a", fastEngine(t, jsonAnswer())))))
	h := w.proxy.Handler(80)
	body := strings.NewReader("")
	r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", nil).WithContext(t.Context())
	r.Header.Set("Content-Type", "application/json")
	r.ContentLength = int64(len(benchBody))
	r.Body = io.NopCloser(body)
	answer := &nowhere{header: http.Header{}}
	if n := testing.AllocsPerRun(100, func() {
		body.Reset(benchBody)
		clear(answer.header)
		h.ServeHTTP(answer, r)
	}); n > most {
		t.Errorf("a call takes %v allocations, at most %d are expected", n, most)
	}
	if got := len(w.visits.ended); got == 0 {
		t.Error("nothing was served")
	}
}

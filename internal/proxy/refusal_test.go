package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"crossfade.dev/internal/scheduling"
)

// A refusal comes at once: it says nothing of how fast an engine computes prompts, and
// leaves nothing of its call in the books. What is answered does.
func TestRefusalsAreNoSamples(t *testing.T) {
	s := scheduling.New(scheduling.Options{})
	var status atomic.Int32
	status.Store(http.StatusBadRequest)
	p := pool("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.WriteHeader(int(status.Load()))
		io.WriteString(w, "data: {}\n\n")
	}))
	w := newWorld(t, serving(to(p)), func(o *Options) { o.Picker = s })
	body := fmt.Sprintf(`{"model":"m","stream":true,"prompt":%q}`, strings.Repeat("how do you do, ", 1000))
	samples := func() int {
		t.Helper()
		w.post("/v1/completions", body)
		var got scheduling.PoolStats
		eventually(t, "the call has ended", func() bool {
			for _, got = range s.Stats() {
				if got.ID == p.ID {
					return got.Endpoints[0].InFlight == 0
				}
			}
			return false
		})
		if e := got.Endpoints[0]; e.PendingTokens != 0 || e.ContextTokens != 0 || e.Failures != 0 {
			t.Errorf("status %d leaves %+v", status.Load(), e)
		}
		return int(got.Engine.Samples)
	}
	if n := samples(); n != 0 {
		t.Errorf("%d samples of a refusal", n)
	}
	status.Store(http.StatusOK)
	if n := samples(); n == 0 {
		t.Error("no sample of an answer")
	}
}

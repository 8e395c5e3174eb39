package proxy

import (
	"io"
	"net/http"
	"testing"
	"time"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// mirrorBooks sends one streamed model call that is mirrored to an engine, whose answer
// may take as long as limit, and returns the books of its endpoint as they are when done
// says so.
func mirrorBooks(t *testing.T, limit time.Duration, shadow http.HandlerFunc, done func(scheduling.EndpointStats, *mirrorCounts) bool) scheduling.EndpointStats {
	t.Helper()
	s := scheduling.New(scheduling.Options{})
	rule := to(service("a", engine(t, echoing("a"))))
	copies := pool("copies", engine(t, shadow))
	rule.Backends[0].Filters.Mirrors = []*routing.Mirror{{Pool: copies}}
	w, counts := newMirrorWorld(t, rule, func(o *Options) { o.Picker, o.Timeouts.Mirror = s, limit })
	w.post("/v1/completions", `{"model":"m","stream":true,"prompt":"how do you do, and what else is there to say"}`)
	var got scheduling.EndpointStats
	eventually(t, "the books are as they are to be", func() bool {
		for _, p := range s.Stats() {
			if p.ID == copies.ID {
				got = p.Endpoints[0]
				return done(got, counts)
			}
		}
		return false
	})
	return got
}

func over(e scheduling.EndpointStats, counts *mirrorCounts) bool {
	return counts.of(MirrorAnswered)+counts.of(MirrorFailed) == 1 && e.InFlight == 0
}

// While the answer to a copy streams, its prompt is none that the engine has yet to
// compute.
func TestBooksOfACopyThatStreams(t *testing.T) {
	hold := make(chan struct{})
	defer close(hold)
	mirrorBooks(t, patience, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "data: {}\n\n")
		w.(http.Flusher).Flush()
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}, func(e scheduling.EndpointStats, _ *mirrorCounts) bool {
		return e.InFlight == 1 && e.ContextTokens > 0 && e.PendingTokens == 0
	})
}

// A copy that takes longer than copies may is cut by us, which says nothing against
// its endpoint: it may serve clients as well.
func TestBooksOfACopyThatIsCut(t *testing.T) {
	e := mirrorBooks(t, 50*time.Millisecond, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}, over)
	if e.Failures != 0 {
		t.Errorf("the endpoint has been ejected: %+v", e)
	}
}

// An error is no sign of health, though its answer is thrown away.
func TestBooksOfACopyThatFails(t *testing.T) {
	e := mirrorBooks(t, patience, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }, over)
	if e.Failures != 1 {
		t.Errorf("the endpoint is taken to be well: %+v", e)
	}
}

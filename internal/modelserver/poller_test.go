package modelserver

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/scheduling"
	"github.com/google/go-cmp/cmp"
)

func TestModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.serve("a", engine(baseOnly))
		w.poller.SetEndpoints([]Target{{Address: "a"}})
		want := func(why string, reports ...[]string) {
			t.Helper()
			if diff := cmp.Diff(reports, w.reported("a")); diff != "" {
				t.Fatalf("%s (-want +got)\n%s", why, diff)
			}
		}
		synctest.Wait()
		want("asked at once", []string{"base"})
		time.Sleep(time.Minute)
		want("no report without a change", []string{"base"})
		w.serve("a", engine(withAdapter))
		time.Sleep(15 * time.Second)
		want("an adapter was loaded", []string{"base"}, []string{"base", "travel"})
		w.serve("a", nil)
		time.Sleep(time.Minute)
		want("unreachable is not a change", []string{"base"}, []string{"base", "travel"})
		w.serve("a", http.NotFound)
		time.Sleep(time.Minute)
		want("it no longer tells", []string{"base"}, []string{"base", "travel"}, nil)
		w.serve("a", engine(`{"data":[]}`))
		time.Sleep(time.Minute)
		want("it serves nothing", []string{"base"}, []string{"base", "travel"}, nil, []string{})
	})
}

func TestFirstAnswerIsReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.serve("a", http.NotFound)
		w.poller.SetEndpoints([]Target{{Address: "a"}})
		time.Sleep(time.Minute)
		if diff := cmp.Diff([][]string{nil}, w.reported("a")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestBadAnswersChangeNothing(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"not JSON":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") },
		"an error":  func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"loading":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		"too large": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, maxMetricsBytes+1)) },
		"too slow":  func(http.ResponseWriter, *http.Request) { time.Sleep(time.Minute) },
		"a redirect": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://b"+r.URL.Path, http.StatusTemporaryRedirect)
		},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				defer w.end()
				w.serve("a", answer)
				w.serve("b", engine(baseOnly))
				w.poller.SetEndpoints([]Target{{Address: "a"}})
				time.Sleep(time.Minute)
				if n := len(w.reported("a")) + len(w.scraped("a")); n > 0 {
					t.Errorf("%d reports", n)
				}
				if n := len(w.times("b", "/v1/models")); n > 0 {
					t.Errorf("the redirect was followed %d times", n)
				}
				w.serve("a", engine(baseOnly))
				time.Sleep(90 * time.Second) // the answer under way may be the slow one
				if len(w.reported("a")) != 1 || len(w.scraped("a")) < 10 {
					t.Errorf("recovered: %v and %d metrics", w.reported("a"), len(w.scraped("a")))
				}
			})
		})
	}
}

func TestMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.serve("a", engine(withAdapter))
		w.poller.SetEndpoints([]Target{{Address: "a"}})
		time.Sleep(100 * time.Second)
		got := w.scraped("a")
		if len(got) < 99 || len(got) > 101 {
			t.Errorf("%d metrics in 100 s", len(got))
		}
		last := got[len(got)-1]
		if age := time.Since(last.At); age < 0 || age > time.Second {
			t.Errorf("metrics are %s old", age)
		}
		last.At = time.Time{}
		want := scheduling.Metrics{Running: 2, Waiting: 1, Adapters: []string{"travel"}}
		if diff := cmp.Diff(want, last); diff != "" {
			t.Error(diff)
		}
	})
}

// A server of another kind is not asked every second for what it does not have.
func TestSilentEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.serve("a", http.NotFound)
		w.serve("b", func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, `{"data":[]}`) })
		w.poller.SetEndpoints([]Target{{Address: "a"}, {Address: "b"}})
		time.Sleep(10 * time.Minute)
		for _, address := range []string{"a", "b"} {
			if n := len(w.times(address, "/metrics")); n < 19 || n > 21 {
				t.Errorf("%s was asked for metrics %d times in 10 minutes", address, n)
			}
			if n := len(w.scraped(address)); n > 0 {
				t.Errorf("%d metrics of %s", n, address)
			}
		}
	})
}

func TestUnreachableIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.poller.SetEndpoints([]Target{{Address: "a"}})
		time.Sleep(5 * time.Second)
		if n := len(w.times("a", "dial")); n < 4 {
			t.Errorf("a new endpoint that is not up yet was tried %d times in 5 s", n)
		}
		time.Sleep(10 * time.Minute)
		before := len(w.times("a", "dial"))
		time.Sleep(10 * time.Minute)
		// Every 10 s for models, every 15 s for metrics, give or take a fifth.
		if n := len(w.times("a", "dial")) - before; n < 80 || n > 125 {
			t.Errorf("%d attempts in 10 minutes", n)
		}
		w.serve("a", engine(baseOnly))
		time.Sleep(20 * time.Second)
		if len(w.reported("a")) != 1 || len(w.scraped("a")) == 0 {
			t.Errorf("20 s after it came up: models %v, %d metrics", w.reported("a"), len(w.scraped("a")))
		}
	})
}

// A server that comes back may have other models, so it is asked for them
// without waiting for their turn.
func TestModelsAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.poller.options.ModelsInterval = time.Hour
		w.serve("a", engine(baseOnly))
		w.poller.SetEndpoints([]Target{{Address: "a"}})
		time.Sleep(5 * time.Second)
		w.serve("a", nil)
		time.Sleep(5 * time.Second)
		w.serve("a", engine(withAdapter))
		time.Sleep(20 * time.Second)
		if diff := cmp.Diff([][]string{{"base"}, {"base", "travel"}}, w.reported("a")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestRemovedIsNotReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.serve("a", engine(baseOnly))
		w.serve("slow", func(rw http.ResponseWriter, r *http.Request) {
			time.Sleep(3 * time.Second)
			engine(baseOnly)(rw, r)
		})
		w.poller.SetEndpoints([]Target{{Address: "a"}, {Address: "slow"}})
		time.Sleep(2 * time.Second) // slow is still answering for the first time
		w.poller.SetEndpoints(nil)
		models, metrics := len(w.reported("a")), len(w.scraped("a"))
		time.Sleep(time.Minute)
		if len(w.reported("a")) != models || len(w.scraped("a")) != metrics || len(w.reported("slow")) != 0 {
			t.Error("an endpoint was reported after its removal")
		}
		if times := w.times("a", "/metrics"); times[len(times)-1] > 2*time.Second {
			t.Errorf("asked at %s after its removal at 2s", times[len(times)-1])
		}
		w.poller.SetEndpoints([]Target{{Address: "a"}})
		synctest.Wait()
		if len(w.reported("a")) != models+1 {
			t.Error("an endpoint that came back is not reported anew")
		}
	})
}

// Setting the same endpoints again, in any order and twice, disturbs nobody.
func TestSetEndpointsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		w.serve("a", engine(baseOnly))
		w.serve("b", engine(baseOnly))
		for i := range 1000 {
			targets := []Target{{Address: "a"}, {Address: "b"}, {Address: "a"}, {Address: "b", H2C: true}}
			if i%2 == 1 {
				targets = []Target{{Address: "b"}, {Address: "a"}}
			}
			w.poller.SetEndpoints(targets)
			time.Sleep(10 * time.Millisecond)
		}
		for _, address := range []string{"a", "b"} {
			if n := len(w.times(address, "/metrics")); n < 9 || n > 11 {
				t.Errorf("%s was asked for metrics %d times in 10 s", address, n)
			}
			if n := len(w.reported(address)); n != 1 {
				t.Errorf("models of %s were reported %d times", address, n)
			}
		}
	})
}

// Endpoints that hang do not keep the others from being asked every second.
func TestHangingEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		var targets []Target
		for i := range 400 {
			name := fmt.Sprintf("hang%d", i)
			w.serve(name, func(http.ResponseWriter, *http.Request) { time.Sleep(10 * time.Second) })
			targets = append(targets, Target{Address: name})
		}
		for i := range 20 {
			name := fmt.Sprintf("good%d", i)
			w.serve(name, engine(baseOnly))
			targets = append(targets, Target{Address: name})
		}
		w.poller.SetEndpoints(targets)
		time.Sleep(2 * time.Minute) // each has failed once by then
		before := map[string]int{}
		for i := range 20 {
			name := fmt.Sprintf("good%d", i)
			before[name] = len(w.scraped(name))
		}
		time.Sleep(time.Minute)
		for name, n := range before {
			if n := len(w.scraped(name)) - n; n < 59 {
				t.Errorf("%s was read %d times in a minute", name, n)
			}
		}
	})
}

// Many endpoints that come together are asked evenly, not in bursts.
func TestPhases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		var targets []Target
		for i := range 300 {
			name := fmt.Sprintf("e%d", i)
			w.serve(name, engine(baseOnly))
			targets = append(targets, Target{Address: name})
		}
		w.poller.SetEndpoints(targets)
		time.Sleep(30 * time.Second)
		for what, most := range map[string]int{"/metrics": 60, "/v1/models": 15} { // the means are 30 and 3
			perTenth := map[int]int{}
			for _, target := range targets {
				for _, at := range w.times(target.Address, what) {
					perTenth[int(at/(100*time.Millisecond))]++
				}
			}
			for tenth, n := range perTenth {
				if tenth > 20 && n > most {
					t.Errorf("%d reads of %s in the tenth of a second at %d", n, what, tenth)
				}
			}
		}
	})
}

func TestRunTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		defer w.end()
		synctest.Wait()
		if err := w.poller.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "already") {
			t.Errorf("second Run: %v", err)
		}
	})
}

// TestOverTheNetwork asks real servers, of both protocols.
func TestOverTheNetwork(t *testing.T) {
	var targets []Target
	for _, h2c := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if (r.ProtoMajor == 2) != h2c {
				t.Errorf("asked over %s", r.Proto)
			}
			engine(withAdapter)(w, r)
		}))
		server.Config.Protocols = new(http.Protocols)
		server.Config.Protocols.SetHTTP1(!h2c)
		server.Config.Protocols.SetUnencryptedHTTP2(h2c)
		server.Start()
		defer server.Close()
		targets = append(targets, Target{Address: server.Listener.Addr().String(), H2C: h2c})
	}
	models, metrics := make(chan string, 100), make(chan string, 100)
	p := New(Options{
		Interval:  10 * time.Millisecond,
		OnModels:  func(address string, m []string) { models <- address + fmt.Sprint(m) },
		OnMetrics: func(address string, m scheduling.Metrics) { offer(metrics, address+fmt.Sprint(m.Running, m.Adapters)) },
	})
	p.SetEndpoints(targets)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	for _, target := range targets {
		await(t, models, target.Address+"[base travel]")
		await(t, metrics, target.Address+"2 [travel]")
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// offer sends unless the channel is full.
func offer(c chan<- string, s string) {
	select {
	case c <- s:
	default:
	}
}

// await reads until want arrives. Reports of both servers share a channel, so
// others are put back.
func await(t *testing.T, c chan string, want string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case got := <-c:
			if got == want {
				return
			}
			offer(c, got)
		case <-limit:
			t.Fatalf("no %s", want)
		}
	}
}

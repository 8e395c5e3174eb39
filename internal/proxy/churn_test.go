package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/routing"
)

// Bodies of all sizes, over both protocols, at once; some clients leave, some
// engines answer before they have read the body or break off. Memory is used again
// all the time, and yet no request may see another's bytes, and in the end nothing
// may be left.
func TestChurn(t *testing.T) {
	const clients, requests = 8, 40
	behave := func(w http.ResponseWriter, r *http.Request) {
		switch r.Header.Get("X-Behave") {
		case "early":
			http.NewResponseController(w).EnableFullDuplex()
			w.WriteHeader(http.StatusForbidden)
		case "break":
			io.Copy(io.Discard, r.Body)
			w.Write(make([]byte, 10_000))
			panic(http.ErrAbortHandler)
		default:
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			w.Write(body)
		}
	}
	plain, h2c := renaming(engine(t, behave)), h2cPool(engineOf(t, routing.H2C, behave))
	h2c.ID, h2c.Name = "InferencePool/default/h2c", "default/h2c"
	w := newWorld(t, serving(to(plain, h2c)))
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(c), 1))
			for i := range requests {
				churn(t, w, r, fmt.Sprintf("%d-%d ", c, i))
			}
		})
	}
	all.Wait()
	eventually(t, "everything ends", func() bool { return w.proxy.Active() == 0 })
	if n := w.proxy.BufferedBytes(); n != 0 {
		t.Errorf("%d bytes are still taken", n)
	}
	w.last(clients * requests / 2) // at least those that were not cut off while connecting
	if w.visits.begun != len(w.visits.ended) {
		t.Errorf("%d visits began, %d ended", w.visits.begun, len(w.visits.ended))
	}
}

func churn(t *testing.T, w *world, r *rand.Rand, mark string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	padding := strings.Repeat(mark, r.IntN(1<<r.IntN(15))+1)
	body := `{"model":"alias","x":"` + padding + `"}`
	if r.IntN(2) == 0 {
		body = `{"x":"` + padding + `","model":"alias"}`
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url("/v1/completions"), strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return
	}
	behave := []string{"", "", "", "early", "break", "leave"}[r.IntN(6)]
	request.Header.Set("X-Behave", behave)
	if behave == "leave" {
		time.AfterFunc(time.Duration(r.IntN(3000))*time.Microsecond, cancel)
	}
	resp, err := w.client.Do(request)
	if err != nil {
		if behave == "" {
			t.Errorf("%s: %v", mark, err)
		}
		return
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if behave != "" {
		return
	}
	// The answer is text, so the name stays the engine's.
	if want := strings.Replace(body, "alias", "target", 1); err != nil || string(got) != want {
		t.Errorf("%s: got %.60q (%d bytes), %v, want %.60q (%d bytes)", mark, got, len(got), err, want, len(want))
	}
}

// Everything that rollouts do, at once: a candidate that fails in every way before its
// first byte, copies of stable's requests, and aborts that cut. No client ever hears of
// it, and in the end nothing is left.
func TestChurnOfARollout(t *testing.T) {
	const clients, requests = 8, 30
	candidate := rawEngine(t, func(c net.Conn) {
		r, err := http.ReadRequest(bufio.NewReader(c))
		if err != nil {
			return
		}
		body, _ := io.ReadAll(r.Body)
		switch answer := "HTTP/1.1 %d X\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"; r.Header.Get("X-Behave") {
		case "fail":
			fmt.Fprintf(c, answer, 500, 4, "oops")
		case "hang":
			io.Copy(io.Discard, c)
		case "serve":
			fmt.Fprintf(c, answer, 200, len(body), body)
		}
	})
	stable := engine(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	rule := canary(pool("stable", stable), pool("candidate", candidate, deadAddress(t)))
	publish := func(w *world, share uint32, cancel bool) {
		next := *rule
		a := attempted()
		a.Share, a.Cancel, a.Shadow = share, cancel, &routing.Shadow{Percent: 50}
		a.Seal()
		next.Assignment = a
		w.proxy.Publish(serving(&next))
	}
	o := &judge{results: map[string]int{}}
	w := newWorld(t, serving(rule), func(options *Options) {
		options.Observer = o
		options.Timeouts.Mirror = 100 * time.Millisecond
	})
	w.visits = &o.recorder
	over, published := make(chan bool), make(chan bool)
	go func() {
		defer close(published)
		for i := 0; ; i++ {
			select {
			case <-over:
				return
			case <-time.After(time.Millisecond):
				publish(w, uint32(i%3)*5000, i%4 == 3)
			}
		}
	}()
	var all sync.WaitGroup
	for c := range clients {
		all.Go(func() {
			for i := range requests {
				body := fmt.Sprintf(`{"model":"m","client":"%d","prompt":%q}`, c, strings.Repeat("x", i*i))
				r := w.request(http.MethodPost, "/v1/completions", strings.NewReader(body))
				a := w.send(r, "Content-Type", "application/json", "X-Behave", []string{"fail", "hang", "leave", "serve"}[(c+i)%4])
				if a.status != 200 || a.body != body || a.err != nil {
					t.Errorf("client got %d %.40q (%d of %d bytes), %v", a.status, a.body, len(a.body), len(body), a.err)
				}
			}
		})
	}
	all.Wait()
	close(over)
	<-published
	w.last(clients * requests)
	w.noTrials()
	w.shutdown(patience)
	w.proxy.Close()
	rescued := 0
	for _, v := range o.ended {
		if v.Parts[OfRule].Rescued != "" {
			rescued++
		}
	}
	if rescued == 0 || o.pairs() == 0 {
		t.Errorf("%d requests were rescued and %d compared", rescued, o.pairs())
	}
	if o.begun != clients*requests || w.proxy.BufferedBytes() != 0 || w.proxy.mirrors.memory.used.Load() != 0 {
		t.Errorf("%d visits began; %d and %d bytes are still taken", o.begun, w.proxy.BufferedBytes(), w.proxy.mirrors.memory.used.Load())
	}
}

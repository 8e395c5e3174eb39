package proxy

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
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

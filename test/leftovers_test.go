package test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/app"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/scheduling"
)

var (
	leftoversSeed  = flag.Uint64("leftovers-seed", 1, "seed of TestNothingIsLeft; 0: another one each time")
	leftoversMoves = flag.Int("leftovers-moves", 12, "how many things change in TestNothingIsLeft")
)

// TestNothingIsLeft lets everything happen to requests that can: endpoints crash before
// and within their answers, hang, refuse, come and go; clients leave at any moment, also
// from the queue, which is short; the candidate of a rollout is aborted, and what runs on
// it cut, again and again. Whatever becomes of the requests, when the last client is
// gone nothing is in flight in anybody's books, nobody waits, and no goroutine is left
// (TestMain).
func TestNothingIsLeft(t *testing.T) {
	t.Parallel()
	files := manifests(t, `, --max-model-len, "8192"]`, `, --max-model-len, "2048", --num-gpu-blocks-override, "128", --max-num-seqs, "4", `+
		`--enable-lora, --max-loras, "1", --lora-modules, one=/models/one, two=/models/two]`)
	state := filepath.Join(t.TempDir(), "state.json")
	c := newChaos(t, "-leftovers-seed", *leftoversSeed, files, func(c *app.Config, seed uint64) {
		c.StateFile, c.SimSpeed, c.SimSeed = state, 20, seed
		c.QueueCalls, c.QueueFor, c.PollInterval = 4, 300*time.Millisecond, 100*time.Millisecond
	})
	fates := &fates{seen: map[string]int{}}
	var clients sync.WaitGroup
	var over atomic.Bool
	for i := range uint64(8) {
		r := rand.New(rand.NewPCG(c.seed, 10+i))
		clients.Go(func() {
			for !over.Load() {
				fates.add(c.oneOfMany(t.Context(), r))
				time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
			}
		})
	}
	for range *leftoversMoves {
		time.Sleep(time.Duration(20+c.random.IntN(100)) * time.Millisecond)
		c.upset(files["1-models.yaml"])
	}
	over.Store(true)
	clients.Wait()
	c.nothingLeft()
	t.Log(fates.seen, "\n"+strings.Join(c.log, "\n"))
	if fates.seen["200"] == 0 {
		t.Errorf("no request was answered: %v", fates.seen)
	}
}

// fates counts what became of requests.
type fates struct {
	mu   sync.Mutex
	seen map[string]int
}

func (f *fates) add(fate string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[fate]++
}

// oneOfMany sends a random request and returns what became of it.
func (c *chaos) oneOfMany(ctx context.Context, r *rand.Rand) string {
	body, err := json.Marshal(map[string]any{
		"model": []string{"mymodel", "mymodel", "one", "two", "mymodel", "one", "none"}[r.IntN(7)], "stream": r.IntN(2) == 0,
		"max_tokens": 1 + r.IntN(200), "ignore_eos": true, "prompt": strings.Repeat(fmt.Sprint(r.IntN(4), " "), 1+r.IntN(700)),
	})
	if err != nil {
		c.t.Error(err)
	}
	// Nothing takes that long but what hangs, and some clients have no patience at all.
	patience := time.Second
	if r.IntN(4) == 0 {
		patience = time.Duration(r.IntN(50_000)) * time.Microsecond
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url("/v1/completions"), bytes.NewReader(body))
	if err != nil {
		c.t.Error(err)
		return "unsent"
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Session-Id", strconv.Itoa(r.IntN(100)))
	if faults := []string{"", "", "", "", "reset", "break=3", "break=20", "fail=503", "fail=500", "hang"}; r.IntN(3) == 0 {
		request.Header.Set("X-Sim-Fault", faults[r.IntN(len(faults))])
	}
	resp, err := c.client.Do(request)
	if err == nil {
		defer resp.Body.Close()
		_, err = io.Copy(io.Discard, resp.Body)
	}
	switch {
	case ctx.Err() != nil:
		return "left"
	case err != nil:
		return "broke off"
	}
	return strconv.Itoa(resp.StatusCode)
}

// upset changes something.
func (c *chaos) upset(models string) {
	phase := rollout.Phase(c.rollouts()[0].Status.Phase)
	switch {
	case c.random.IntN(3) == 0: // endpoints come and go; those that go refuse
		stable, candidate := 1+c.random.IntN(3), max(0, c.random.IntN(5)-1)
		c.note("%d and %d replicas", stable, candidate)
		models = strings.Replace(models, "replicas: 2", fmt.Sprintf("replicas:  %d", stable), 1)
		c.write(c.t, "1-models.yaml", strings.Replace(models, "replicas: 2", fmt.Sprintf("replicas:  %d", candidate), 1))
	case phase.Running() && c.random.IntN(3) == 0:
		c.verb(rollout.VerbAbort, 0)
	case phase.Running():
		c.verb(rollout.VerbSetShare, float64(50+c.random.IntN(5)*10))
	case phase != "":
		c.verb(rollout.VerbRetry, 0)
	}
}

// nothingLeft waits until no request is in anybody's books.
func (c *chaos) nothingLeft() {
	c.t.Helper()
	left := "?"
	for end := time.Now().Add(patience); left != ""; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf("without any client there are still%s", left)
		}
		left = c.left()
	}
}

// left returns what the admin port says is in flight or waits, "" for nothing.
func (c *chaos) left() string {
	var b strings.Builder
	var pools []scheduling.PoolStats
	if err := json.Unmarshal([]byte(c.adminGet(c.t, "/endpoints")), &pools); err != nil {
		c.t.Fatal(err)
	}
	for _, p := range pools {
		if p.Waiting != 0 {
			fmt.Fprintf(&b, "\n%d that wait in %s", p.Waiting, p.Name)
		}
		for _, e := range p.Endpoints {
			if e.InFlight != 0 || e.PendingTokens != 0 || e.ContextTokens != 0 || e.KVTokens != 0 {
				fmt.Fprintf(&b, "\n%+v", e)
			}
		}
	}
	var counts rollout.Counts
	if err := json.Unmarshal([]byte(c.adminGet(c.t, "/rollouts/counts")), &counts); err != nil {
		c.t.Fatal(err)
	}
	for _, r := range counts.Rollouts {
		if r.Candidate.InFlight != 0 || r.Stable.InFlight != 0 {
			fmt.Fprintf(&b, "\n%d and %d of attempt %d", r.Candidate.InFlight, r.Stable.InFlight, r.Attempt)
		}
	}
	for line := range strings.Lines(c.adminGet(c.t, "/metrics")) {
		for _, gauge := range []string{"crossfade_requests_in_flight", "crossfade_pool_waiting", "crossfade_pool_pending_tokens"} {
			if strings.HasPrefix(line, gauge) && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
				b.WriteString("\n" + strings.TrimSpace(line))
			}
		}
	}
	return b.String()
}

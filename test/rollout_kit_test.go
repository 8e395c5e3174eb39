package test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

const (
	stableModel    = "Qwen2.5-7B-Instruct"
	candidateModel = "Qwen3-8B"
)

// manifests returns the healthy example with its steps and analysis replaced.
func manifests(t *testing.T, changes ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, name := range []string{"1-models.yaml", "2-gateway.yaml", "3-rollout.yaml"} {
		out[name] = read(t, "../examples/rollout-healthy/"+name)
	}
	before, _, ok := strings.Cut(out["3-rollout.yaml"], "  # Everything below")
	if !ok {
		t.Fatal("the example has changed")
	}
	out["3-rollout.yaml"] = before + quick
	replace := strings.NewReplacer(changes...)
	for name := range out {
		out[name] = replace.Replace(out[name])
	}
	return out
}

// quick is a plan that waits for a person at 50 %.
const quick = `  steps:
  - setShare: {percent: 50}
  - pause: {}
  - setShare: {percent: 100}
  - soak: {duration: 1s}
  analysis:
    tick: 1s
    settle: 1s
    guardrails:
    - {name: error-rate, minSamples: 20}
    - {name: empty-answer, minSamples: 20}
    - {name: looping-answer, minSamples: 20}
    - {name: invalid-json, minSamples: 20}
    - {name: invalid-tool-call, minSamples: 20}
`

// planned returns the manifests with other steps and guardrails than those of quick.
func planned(t *testing.T, steps, guardrails string) map[string]string {
	t.Helper()
	files := manifests(t)
	before, _, ok := strings.Cut(files["3-rollout.yaml"], quick)
	if !ok {
		t.Fatal("the plan is another")
	}
	files["3-rollout.yaml"] = before + "  steps:\n" + steps + "  analysis:\n    tick: 1s\n    settle: 1s\n    guardrails:\n" + guardrails
	return files
}

// rollout returns the one rollout of the gateway, and its machine's memory.
func (g *gateway) rollout(t testing.TB) (*cfv1a1.InferenceRollout, rollout.State) {
	t.Helper()
	var list struct{ Items []*cfv1a1.InferenceRollout }
	if err := json.Unmarshal([]byte(g.adminGet(t, "/rollouts")), &list); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 {
		t.Fatalf("%d rollouts", len(list.Items))
	}
	var s rollout.State
	if text := list.Items[0].Status.Machine; text != "" {
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			t.Fatal(err)
		}
	}
	return list.Items[0], s
}

// until waits for a state of the rollout.
func (g *gateway) until(t testing.TB, what string, is func(*cfv1a1.InferenceRollout, rollout.State) bool) rollout.State {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		o, s := g.rollout(t)
		if is(o, s) {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("never %s: %s, step %s, share %+v, %s", what, o.Status.Phase, o.Status.Step, s.Share, o.Status.Message)
		}
	}
}

// untilPhase waits for a phase, and fails at once in another end.
func (g *gateway) untilPhase(t testing.TB, want rollout.Phase) rollout.State {
	t.Helper()
	return g.until(t, string(want), func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
		if (s.Phase == rollout.Aborted || s.Phase == rollout.Promoted) && s.Phase != want {
			t.Fatalf("%s instead of %s: %s", s.Phase, want, o.Status.Message)
		}
		return s.Phase == want
	})
}

// untilShare waits until the share is in force.
func (g *gateway) untilShare(t testing.TB, want rollout.Share) rollout.State {
	t.Helper()
	return g.until(t, "at "+want.String(), func(_ *cfv1a1.InferenceRollout, s rollout.State) bool {
		return s.Share.Set == want && s.Share.Verified
	})
}

// ask sends an operator's verb and waits until it is taken up.
func (g *gateway) ask(t testing.TB, verb rollout.Verb, percent float64) rollout.State {
	t.Helper()
	o, s := g.rollout(t)
	id := fmt.Sprintf("%s-%d", verb, rand.Uint64())
	body, err := json.Marshal(cfv1a1.RolloutRequest{ID: id, Verb: string(verb), Attempt: s.Number, Percent: percent, By: "the test"})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.client.Post("http://"+g.admin+"/rollouts/"+o.Namespace+"/"+o.Name+"/request", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode >= 300 {
		t.Fatalf("%s: status %d: %s", verb, resp.StatusCode, text)
	}
	got := g.until(t, "taken up "+string(verb), func(_ *cfv1a1.InferenceRollout, s rollout.State) bool { return s.LastRequest == id })
	if got.Refused != "" {
		t.Fatalf("%s: refused: %s", verb, got.Refused)
	}
	return got
}

// endpoints returns the addresses of a pool, by its namespace and name.
func (g *gateway) endpoints(t testing.TB, pool string) (out []string) {
	t.Helper()
	var view struct {
		Pools []struct {
			Name      string
			Endpoints []struct{ Address string }
		}
	}
	if err := json.Unmarshal([]byte(g.adminGet(t, "/status")), &view); err != nil {
		t.Fatal(err)
	}
	for _, p := range view.Pools {
		for _, e := range p.Endpoints {
			if p.Name == pool {
				out = append(out, e.Address)
			}
		}
	}
	if len(out) == 0 {
		t.Fatalf("pool %s has no endpoints: %+v", pool, view.Pools)
	}
	return out
}

// faults changes what the simulated servers of a pool do wrong.
func (g *gateway) faults(t testing.TB, pool, faults string) {
	t.Helper()
	for _, address := range g.endpoints(t, pool) {
		g.tell(t, http.MethodPut, address, "/sim/faults", faults)
	}
}

// tell asks something of a simulated server itself, and returns its answer.
func (g *gateway) tell(t testing.TB, method, address, path, body string) string {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := g.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s of %s: status %d, %v, %s", path, address, resp.StatusCode, err, text)
	}
	return string(text)
}

// traffic is a bounded load of short chats, each of one of many sessions.
type traffic struct {
	stop context.CancelFunc
	done sync.WaitGroup

	sent, failed atomic.Int64
	mu           sync.Mutex
	byModel      map[string]int // who answered what was sent since forget
	forgot       int            // how often
	first        string         // failure
}

// thinkTime is a client's time between two requests: enough for tests that run beside
// each other not to take all there is of the machine.
const thinkTime = 5 * time.Millisecond

// send starts traffic; extra is added to each request's body.
func (g *gateway) send(t *testing.T, clients int, extra string) *traffic {
	ctx, stop := context.WithCancel(context.Background())
	l := &traffic{stop: stop, byModel: map[string]int{}}
	for i := range clients {
		l.done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				l.one(ctx, g, fmt.Sprintf("s-%d-%d", i, n/4), extra)
				time.Sleep(thinkTime)
			}
		})
	}
	t.Cleanup(l.end)
	return l
}

func (l *traffic) end() {
	l.stop()
	l.done.Wait()
}

func (l *traffic) one(ctx context.Context, g *gateway, session, extra string) {
	l.mu.Lock()
	sent := l.forgot
	l.mu.Unlock()
	text, status, err := g.chatAs(ctx, session, extra)
	if ctx.Err() != nil {
		return
	}
	l.sent.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || status != http.StatusOK {
		l.failed.Add(1)
		if l.first == "" {
			l.first = fmt.Sprintf("status %d, %v, %.200s", status, err, text)
		}
		return
	}
	for _, name := range []string{stableModel, candidateModel} {
		if sent == l.forgot && strings.Contains(text, name) {
			l.byModel[name]++
		}
	}
}

// forget returns who answered so far and starts to count anew. What is under way is
// not counted: it was sent in other circumstances.
func (l *traffic) forget() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.byModel
	l.byModel = map[string]int{}
	l.forgot++
	return out
}

// answered returns who answered since forget.
func (l *traffic) answered() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.byModel)
}

func (l *traffic) noneFailed(t testing.TB) {
	t.Helper()
	if n := l.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed, the first with %s", n, l.sent.Load(), l.first)
	}
}

// chatAs asks who answers, as one of a session.
func (g *gateway) chatAs(ctx context.Context, session, extra string) (text string, status int, err error) {
	body := `{"model":"mymodel","messages":[{"role":"user","content":"Who are you?"}]` + cmp.Or(extra, `,"max_tokens":16`) + `}`
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url("/v1/chat/completions"), strings.NewReader(body))
	if err != nil {
		return "", 0, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Session-Id", session)
	resp, err := g.client.Do(r)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return string(answer), resp.StatusCode, err
}

// longStream reads a stream that takes a while, to its end; begun is called at its
// first event.
func (g *gateway) longStream(ctx context.Context, session string, begun func()) error {
	once := sync.OnceFunc(begun)
	defer once()
	body := `{"model":"mymodel","stream":true,"ignore_eos":true,"max_tokens":800,"messages":[{"role":"user","content":"Tell a story."}]}`
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url("/v1/chat/completions"), strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Session-Id", session)
	resp, err := g.client.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	head := make([]byte, 1)
	if _, err := io.ReadFull(resp.Body, head); err != nil {
		return fmt.Errorf("%s: %w", session, err)
	}
	once()
	text, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.HasSuffix(bytes.TrimSpace(text), []byte("[DONE]")) {
		return fmt.Errorf("%s: status %d, %d bytes, %w", session, resp.StatusCode, len(text), err)
	}
	return nil
}

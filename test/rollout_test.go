package test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
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

// The scenarios of rollouts that need the whole system: gateway, simulated model
// servers, traffic. What needs the machine alone is told in internal/rollout, what
// needs a cluster in test/e2e.

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
`

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

// faults changes what the simulated servers of a pool do wrong.
func (g *gateway) faults(t testing.TB, pool, faults string) {
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
	n := 0
	for _, p := range view.Pools {
		for _, e := range p.Endpoints {
			if p.Name != pool {
				continue
			}
			n++
			r, err := http.NewRequest(http.MethodPut, "http://"+e.Address+"/sim/faults", strings.NewReader(faults))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := g.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Fatalf("faults of %s: status %d", e.Address, resp.StatusCode)
			}
		}
	}
	if n == 0 {
		t.Fatalf("pool %s has no endpoints: %+v", pool, view.Pools)
	}
}

// traffic is a bounded load of short chats, each of one of many sessions.
type traffic struct {
	stop context.CancelFunc
	done sync.WaitGroup

	sent, failed atomic.Int64
	mu           sync.Mutex
	byModel      map[string]int // who answered, since forget
	first        string         // failure
}

// send starts traffic; extra is added to each request's body.
func (g *gateway) send(t *testing.T, clients int, extra string) *traffic {
	ctx, stop := context.WithCancel(context.Background())
	l := &traffic{stop: stop, byModel: map[string]int{}}
	for i := range clients {
		l.done.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				l.one(ctx, g, fmt.Sprintf("s-%d-%d", i, n/4), extra)
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
		if strings.Contains(text, name) {
			l.byModel[name]++
		}
	}
}

// forget returns who answered so far and starts to count anew.
func (l *traffic) forget() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.byModel
	l.byModel = map[string]int{}
	return out
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

// A candidate that goes down altogether costs no client an answer: what it fails is
// answered by stable, and it is stopped at once (scenario 4).
func TestRolloutOutage(t *testing.T) {
	t.Parallel()
	g := startFiles(t, manifests(t))
	l := g.send(t, 4, "")
	g.untilShare(t, 5000)
	g.faults(t, "default/qwen-v2", `{"failRate": 1}`)
	s := g.untilPhase(t, rollout.Aborted)
	l.forget()
	for range 50 {
		l.one(t.Context(), g, "after", "")
	}
	if by := l.forget(); by[candidateModel] > 0 {
		t.Errorf("the aborted candidate still answers: %v", by)
	}
	l.end()
	l.noneFailed(t)
	if last := s.History[len(s.History)-1]; last.Reason != "BreakerTripped" && last.Reason != "GuardrailFailed" {
		t.Errorf("aborted for %s: %s", last.Reason, last.Message)
	}
}

// Answers that are well by HTTP and bad by content are found (scenario 17).
func TestRolloutQuality(t *testing.T) {
	for fault, guardrail := range map[string]string{"loopRate": rollout.LoopingAnswer, "emptyRate": rollout.EmptyAnswer, "invalidJsonRate": rollout.InvalidJSON} {
		t.Run(guardrail, func(t *testing.T) {
			t.Parallel()
			format := "text"
			if guardrail == rollout.InvalidJSON {
				format = "json_object"
			}
			g := startFiles(t, manifests(t))
			l := g.send(t, 4, `,"max_tokens":400,"response_format":{"type":"`+format+`"}`)
			g.untilShare(t, 5000)
			g.faults(t, "default/qwen-v2", `{"`+fault+`": 0.8}`)
			s := g.untilPhase(t, rollout.Aborted)
			l.end()
			l.noneFailed(t)
			if last := s.History[len(s.History)-1]; !strings.HasPrefix(last.Message, guardrail) {
				t.Errorf("aborted for %s, want %s", last.Message, guardrail)
			}
		})
	}
}

// A candidate that finds fault with what stable takes, as one without the model or
// without tools does, is stopped, though such an answer is no error of an engine.
func TestRolloutRejections(t *testing.T) {
	t.Parallel()
	g := startFiles(t, manifests(t, "    - {name: empty-answer, minSamples: 20}\n", "    - {name: rejected, minSamples: 20}\n"))
	l := g.send(t, 4, "")
	g.untilShare(t, 5000)
	g.faults(t, "default/qwen-v2", `{"failRate": 1, "failStatus": 404}`)
	s := g.untilPhase(t, rollout.Aborted)
	l.end()
	if last := s.History[len(s.History)-1]; !strings.HasPrefix(last.Message, rollout.Rejected) {
		t.Errorf("aborted for %s, want %s", last.Message, rollout.Rejected)
	}
}

// A candidate that takes requests and answers none is stopped though none of them ends,
// and where the plan cuts what runs, stable answers them all.
func TestRolloutHung(t *testing.T) {
	if testing.Short() {
		t.Skip("a request is late after half a minute")
	}
	t.Parallel()
	files := manifests(t)
	files["3-rollout.yaml"] += "  abort: {inFlight: Cancel}\n"
	g := startFiles(t, files)
	l := g.send(t, 4, "")
	g.untilShare(t, 5000)
	g.faults(t, "default/qwen-v2", `{"hangRate": 1}`)
	more := g.send(t, 40, "")
	s := g.untilPhase(t, rollout.Aborted)
	l.end()
	more.end()
	l.noneFailed(t)
	more.noneFailed(t)
	if last := s.History[len(s.History)-1]; last.Reason != "BreakerTripped" && last.Reason != "GuardrailFailed" {
		t.Errorf("aborted for %s: %s", last.Reason, last.Message)
	}
}

// An operator aborts at half of the traffic with many streams running: all end well,
// nothing new arrives, and the same candidate can be tried again (scenario 9).
func TestRolloutAbortByHand(t *testing.T) {
	t.Parallel()
	g := startFiles(t, manifests(t))
	g.untilShare(t, 5000)
	const streams = 60
	var group sync.WaitGroup
	var begun sync.WaitGroup
	begun.Add(streams)
	results := make(chan error, streams)
	for i := range streams {
		group.Go(func() { results <- g.longStream(t.Context(), fmt.Sprint("stream-", i), begun.Done) })
	}
	begun.Wait()
	g.ask(t, rollout.VerbAbort, 0)
	g.untilShare(t, 0)
	l := &traffic{byModel: map[string]int{}}
	for i := range 200 {
		l.one(t.Context(), g, fmt.Sprint("new-", i), "")
	}
	if by := l.forget(); by[candidateModel] > 0 {
		t.Errorf("after the abort the candidate answered %d of 200", by[candidateModel])
	}
	group.Wait()
	for range streams {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	g.untilPhase(t, rollout.Aborted)
	if s := g.ask(t, rollout.VerbRetry, 0); s.Number != 2 {
		t.Errorf("after retry it is attempt %d", s.Number)
	}
	g.untilShare(t, 5000)
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

// A candidate with a quarter of stable's endpoints gets no more than they can take,
// and is not blamed (scenario 3).
func TestRolloutCapacity(t *testing.T) {
	t.Parallel()
	files := manifests(t)
	models := strings.Replace(files["1-models.yaml"], "replicas: 2", "replicas: 4", 1)
	files["1-models.yaml"] = strings.Replace(models, "replicas: 2", "replicas: 1", 1)
	g := startFiles(t, files)
	l := g.send(t, 4, "")
	g.until(t, "limited by capacity", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Share.Set > 2500 {
			t.Fatalf("a quarter of the endpoints gets %s", s.Share.Set)
		}
		return s.Share.Set == 2500 && s.Hold == "CapacityLimited" && s.Share.Candidate > 20
	})
	files["1-models.yaml"] = strings.Replace(files["1-models.yaml"], "replicas: 1", "replicas: 4", 1)
	g.write(t, "1-models.yaml", files["1-models.yaml"])
	g.untilShare(t, 5000)
	l.end()
	l.noneFailed(t)
}

// Sessions go over to the candidate as the share grows, never back, and all at once
// when it is taken away (scenario 12, through the gateway).
func TestRolloutSessions(t *testing.T) {
	t.Parallel()
	g := startFiles(t, manifests(t))
	g.untilShare(t, 5000)
	const sessions = 400
	on := map[int]bool{}
	for _, percent := range []float64{50, 75, 90, 0, 50} {
		if percent != 50 || len(on) > 0 {
			g.ask(t, rollout.VerbSetShare, percent)
			g.untilShare(t, rollout.Share(percent*100))
		}
		now := map[int]bool{}
		for i := range sessions {
			text, status, err := g.chatAs(t.Context(), fmt.Sprint("user-", i), "")
			if err != nil || status != http.StatusOK {
				t.Fatal(status, err, text)
			}
			now[i] = strings.Contains(text, candidateModel)
			if on[i] && !now[i] && percent > 50 {
				t.Errorf("session %d went back at %v %%", i, percent)
			}
		}
		n := 0
		for _, candidate := range now {
			if candidate {
				n++
			}
		}
		if want := sessions * percent / 100; float64(n) < want-50 || float64(n) > want+50 {
			t.Errorf("at %v %% %d of %d sessions are on the candidate", percent, n, sessions)
		}
		on = now
	}
}

// A changed candidate in the files, while another is under way, takes its place once
// that one has no traffic, and starts at the first step (scenario 11). Files that are
// written again as they were change nothing (scenario 10).
func TestRolloutSupersede(t *testing.T) {
	t.Parallel()
	files := manifests(t)
	files["4-third.yaml"] = strings.NewReplacer("qwen-v2", "qwen-v3", "qwen-v1", "unused", candidateModel, "Third-8B").Replace(files["1-models.yaml"])
	files["2-gateway.yaml"] += "    - {group: inference.networking.k8s.io, kind: InferencePool, name: qwen-v3, weight: 0}\n"
	g := startFiles(t, files)
	l := g.send(t, 2, "")
	before := g.untilShare(t, 5000)
	for name, text := range files {
		g.write(t, name, text+"# touched\n")
	}
	g.until(t, "observed after the files were written again", func(_ *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Number != before.Number || s.Share.Revision != before.Share.Revision {
			t.Fatalf("the same files again: attempt %d, share %+v", s.Number, s.Share)
		}
		return s.Share.Total > before.Share.Total+20
	})
	g.write(t, "3-rollout.yaml", strings.Replace(files["3-rollout.yaml"], "qwen-v2", "qwen-v3", 1))
	zero := false
	after := g.until(t, "on to the third version", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
		zero = zero || s.Share.Set == 0
		if o.Status.Shares.Candidate.Name == "qwen-v3" && !zero && s.Share.Set > 0 {
			t.Fatal("the next candidate inherits the share of the last one")
		}
		return s.Share.Set == 5000 && o.Status.Shares.Candidate.Name == "qwen-v3"
	})
	if after.Number != 2 {
		t.Errorf("attempt %d", after.Number)
	}
	l.end()
	l.noneFailed(t)
}

// Sessions that stay with their version find their prefixes cached there; with every
// request by chance the candidate's cache is of little use (scenario 15).
func TestRolloutCache(t *testing.T) {
	t.Parallel()
	g := startFiles(t, manifests(t, `--max-model-len`, `--enable-prompt-tokens-details, --max-model-len`, "percent: 50", "percent: 25"))
	g.untilShare(t, 2500)
	sticky, random := g.conversations(t, "sticky", true), g.conversations(t, "random", false)
	if sticky[candidateModel] < 0.9*sticky[stableModel] {
		t.Errorf("with sessions the candidate has cached %.0f %%, stable %.0f %%", 100*sticky[candidateModel], 100*sticky[stableModel])
	}
	if random[candidateModel] > 0.75*random[stableModel] {
		t.Errorf("by chance the candidate has cached %.0f %%, stable %.0f %%: the test shows nothing", 100*random[candidateModel], 100*random[stableModel])
	}
	t.Logf("cached with sessions: %v, by chance: %v", sticky, random)
}

// conversations has many of five turns and returns, by version, which part of the
// prompts of later turns was cached.
func (g *gateway) conversations(t *testing.T, salt string, sticky bool) map[string]float64 {
	t.Helper()
	var mu sync.Mutex
	cached, prompt := map[string]float64{}, map[string]float64{}
	var group sync.WaitGroup
	for i := range 60 {
		group.Go(func() {
			history := fmt.Sprintf("[%s %d] ", salt, i)
			for turn := range 5 {
				history += strings.Repeat(fmt.Sprintf("turn %d of conversation %d says this. ", turn, i), 30)
				session := ""
				if sticky {
					session = fmt.Sprint(salt, i)
				}
				c, p, version, err := g.turn(t.Context(), session, history)
				if err != nil {
					t.Error(err)
					return
				}
				if turn > 0 {
					mu.Lock()
					cached[version] += c
					prompt[version] += p
					mu.Unlock()
				}
			}
		})
	}
	group.Wait()
	out := map[string]float64{}
	for version := range prompt {
		out[version] = cached[version] / prompt[version]
	}
	return out
}

func (g *gateway) turn(ctx context.Context, session, prompt string) (cached, tokens float64, version string, err error) {
	body, err := json.Marshal(map[string]any{"model": "mymodel", "max_tokens": 8, "messages": []map[string]string{{"role": "user", "content": prompt}}})
	if err != nil {
		return 0, 0, "", err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url("/v1/chat/completions"), bytes.NewReader(body))
	if err != nil {
		return 0, 0, "", err
	}
	r.Header.Set("Content-Type", "application/json")
	if session != "" {
		r.Header.Set("X-Session-Id", session)
	}
	resp, err := g.client.Do(r)
	if err != nil {
		return 0, 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, 0, "", err
	}
	var a struct {
		Usage struct {
			PromptTokens float64 `json:"prompt_tokens"`
			Details      struct {
				Cached float64 `json:"cached_tokens"`
			} `json:"prompt_tokens_details"`
		}
	}
	if err := json.Unmarshal(text, &a); err != nil || a.Usage.PromptTokens == 0 {
		return 0, 0, "", fmt.Errorf("status %d: %.200s (%w)", resp.StatusCode, text, err)
	}
	version = stableModel
	if strings.Contains(string(text), candidateModel) {
		version = candidateModel
	}
	return a.Usage.Details.Cached, a.Usage.PromptTokens, version, nil
}

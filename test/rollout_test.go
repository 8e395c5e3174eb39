package test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// The scenarios of rollouts that need the whole system: gateway, simulated model
// servers, traffic. What needs the machine alone is told in internal/rollout, what
// needs a cluster in test/e2e; docs/rollout-scenarios.md has the list.

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
	const tool = `,"tools":[{"type":"function","function":{"name":"look_up","parameters":{"type":"object","properties":{"what":{"type":"string"}}}}}],"tool_choice":"required"`
	for fault, guardrail := range map[string]string{
		"loopRate": rollout.LoopingAnswer, "emptyRate": rollout.EmptyAnswer, "invalidJsonRate": rollout.InvalidJSON, "invalidToolCallRate": rollout.InvalidToolCall,
	} {
		t.Run(guardrail, func(t *testing.T) {
			t.Parallel()
			format := "text"
			if guardrail == rollout.InvalidJSON {
				format = "json_object"
			}
			g := startFiles(t, manifests(t))
			extra := `,"max_tokens":400,"response_format":{"type":"` + format + `"}`
			if guardrail == rollout.InvalidToolCall {
				extra = `,"max_tokens":400` + tool
			}
			l := g.send(t, 4, extra)
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

// Who has promoted in full, and sees that it was wrong, can still abort, while it
// soaks and after it has ended (scenario 9).
func TestRolloutAbortAfterPromote(t *testing.T) {
	for _, phase := range []rollout.Phase{rollout.Soaking, rollout.Promoted} {
		t.Run(string(phase), func(t *testing.T) {
			t.Parallel()
			files := manifests(t)
			if phase == rollout.Soaking {
				files = manifests(t, "duration: 1s", "duration: 1h")
			}
			g := startFiles(t, files)
			l := g.send(t, 2, "")
			g.untilShare(t, 5000)
			g.ask(t, rollout.VerbPromoteFull, 0)
			g.untilPhase(t, phase)
			if s := g.untilShare(t, rollout.Whole); s.Phase != phase {
				t.Fatalf("it is %s", s.Phase)
			}
			g.ask(t, rollout.VerbAbort, 0)
			g.until(t, "aborted", func(_ *cfv1a1.InferenceRollout, s rollout.State) bool { return s.Phase == rollout.Aborted })
			l.forget()
			for i := range 50 {
				l.one(t.Context(), g, fmt.Sprint("after-", i), "")
			}
			l.end()
			l.noneFailed(t)
			if by := l.forget(); by[candidateModel] > 0 {
				t.Errorf("the aborted candidate still answers: %v", by)
			}
		})
	}
}

// When stable breaks the limit as well, the candidate is not blamed: a person is asked
// (scenario 14).
func TestRolloutStableIsBadToo(t *testing.T) {
	t.Parallel()
	g := startFiles(t, planned(t, "  - setShare: {percent: 50}\n  - hold: {minDuration: 1h}\n", "    - {name: error-rate, minSamples: 20, absolute: {maxRate: 0.05}}\n"))
	g.untilShare(t, 5000)
	for _, pool := range []string{"default/qwen-v1", "default/qwen-v2"} {
		g.faults(t, pool, `{"failRate": 0.1}`)
	}
	g.send(t, 4, "")
	s := g.until(t, "paused", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Phase == rollout.Aborted {
			t.Fatalf("aborted: %s", o.Status.Message)
		}
		return s.Pause != nil
	})
	if s.Pause.Reason != "StableDegraded" || s.Share.Set != 5000 {
		t.Errorf("paused at %s for %s: %s", s.Share.Set, s.Pause.Reason, s.Pause.Message)
	}
}

// Too little traffic is no reason to go back, nor to go on (scenario 5).
func TestRolloutWithoutTraffic(t *testing.T) {
	t.Parallel()
	g := startFiles(t, planned(t, "  - setShare: {percent: 50}\n  - hold: {minDuration: 1s, maxDuration: 3s}\n  - setShare: {percent: 100}\n", "    - {name: error-rate, minSamples: 20}\n"))
	s := g.until(t, "paused", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Phase == rollout.Aborted {
			t.Fatalf("aborted: %s", o.Status.Message)
		}
		return s.Pause != nil
	})
	if s.Pause.Reason != "InsufficientData" || s.Share.Set != 5000 || s.Books[rollout.ErrorRate].Verdict != rollout.Insufficient {
		t.Errorf("paused at %s for %s: %s; the verdict is %s", s.Share.Set, s.Pause.Reason, s.Pause.Message, s.Books[rollout.ErrorRate].Verdict)
	}
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

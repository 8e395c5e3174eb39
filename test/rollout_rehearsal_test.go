package test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// What a candidate has to go through before it gets a user: warm-up and mirror.

const mirrorFirst = `  - mirror: {percent: 100, minPairs: 40, maxTokens: 600, maxDuration: 10m}
  - setShare: {percent: 50}
  - pause: {}
`

const answersCount = `    - {name: error-rate, minSamples: 20}
    - {name: looping-answer, minSamples: 20}
`

// A well candidate answers copies, which are compared, before it answers a user.
func TestRolloutMirror(t *testing.T) {
	t.Parallel()
	g := startFiles(t, planned(t, mirrorFirst, answersCount))
	l := g.send(t, 4, "")
	g.until(t, "beyond the mirror step", func(_ *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Share.Set > 0 {
			return true
		}
		if by := l.answered(); by[candidateModel] > 0 {
			// The share may have been set since s was read.
			if _, now := g.rollout(t); now.Share.Set == 0 {
				t.Fatalf("the candidate answered %d users while it was mirrored to", by[candidateModel])
			}
		}
		return false
	})
	s := g.untilShare(t, 5000)
	l.end()
	l.noneFailed(t)
	if n := s.Books[rollout.ErrorRate].Pairs.Total(); n < 40 {
		t.Errorf("%d pairs were compared", n)
	}
}

// A candidate that never answers its copies keeps no client waiting, and gets no
// further.
func TestRolloutMirrorOfHangingCandidate(t *testing.T) {
	t.Parallel()
	g := startFiles(t, planned(t, mirrorFirst, answersCount))
	g.faults(t, "default/qwen-v2", `{"hangRate": 1}`)
	l := g.send(t, 4, "")
	g.until(t, "a few hundred answers further", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Share.Set > 0 || s.Phase == rollout.Promoted {
			t.Fatalf("%s with a share of %s: %s", s.Phase, s.Share.Set, o.Status.Message)
		}
		return l.sent.Load() > 300 && s.Share.Total > 100
	})
	l.end()
	l.noneFailed(t)
	if by := l.forget(); by[candidateModel] > 0 {
		t.Errorf("the candidate answered %d users", by[candidateModel])
	}
}

// A broken candidate is found out by its copies: no user ever meets it.
func TestRolloutMirrorFindsFaults(t *testing.T) {
	for fault, guardrail := range map[string]string{`{"failRate": 0.5}`: rollout.ErrorRate, `{"loopRate": 0.5}`: rollout.LoopingAnswer} {
		t.Run(guardrail, func(t *testing.T) {
			t.Parallel()
			// So many pairs that the plan alone would mirror for ever.
			g := startFiles(t, planned(t, strings.Replace(mirrorFirst, "minPairs: 40", "minPairs: 1000000", 1), answersCount))
			g.faults(t, "default/qwen-v2", fault)
			l := g.send(t, 4, `,"max_tokens":400`)
			s := g.untilPhase(t, rollout.Aborted)
			l.end()
			l.noneFailed(t)
			if by := l.forget(); by[candidateModel] > 0 {
				t.Errorf("the candidate answered %d users", by[candidateModel])
			}
			if last := s.History[len(s.History)-1]; last.Reason != "GuardrailFailed" || !strings.HasPrefix(last.Message, guardrail) || last.Share != 0 {
				t.Errorf("aborted at %s for %s: %s", last.Share, last.Reason, last.Message)
			}
		})
	}
}

var successes = regexp.MustCompile(`(?m)^vllm:request_success_total\{.*\} (\S+)$`)

// served is how many requests an endpoint says it has answered.
func (g *gateway) served(t *testing.T, address string) (n float64) {
	t.Helper()
	for _, m := range successes.FindAllStringSubmatch(g.tell(t, http.MethodGet, address, "/metrics", ""), -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		n += v
	}
	return n
}

// Every endpoint of the candidate has answered its warm-up when the first share is
// set. No user sends anything in this test.
func TestRolloutWarmup(t *testing.T) {
	t.Parallel()
	g := startFiles(t, planned(t, "  - warmup: {minRequestsPerEndpoint: 6}\n  - pause: {}\n  - setShare: {percent: 50}\n", answersCount))
	g.until(t, "warm", func(_ *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Share.Set > 0 {
			t.Fatal("it has a share")
		}
		return s.Step == 1 && s.Phase == rollout.Paused
	})
	for _, e := range g.endpoints(t, "default/qwen-v2") {
		if n := g.served(t, e); n < 6 {
			t.Errorf("%s has answered %g requests", e, n)
		}
	}
	for _, e := range g.endpoints(t, "default/qwen-v1") {
		if n := g.served(t, e); n > 0 {
			t.Errorf("%s of stable has answered %g requests", e, n)
		}
	}
}

// An endpoint that fails its warm-up keeps the candidate from users.
func TestRolloutWarmupFails(t *testing.T) {
	t.Parallel()
	g := startFiles(t, planned(t, "  - warmup: {minRequestsPerEndpoint: 4, timeout: 3s}\n  - setShare: {percent: 50}\n", answersCount))
	bad := g.endpoints(t, "default/qwen-v2")[0]
	g.tell(t, http.MethodPut, bad, "/sim/faults", `{"failRate": 1}`)
	if s := g.ask(t, rollout.VerbAbort, 0); s.Share.Set != 0 {
		t.Fatalf("it has a share of %s", s.Share.Set)
	}
	g.untilPhase(t, rollout.Aborted)
	g.ask(t, rollout.VerbRetry, 0)
	g.until(t, "paused for the time of its warm-up", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
		if s.Share.Set > 0 {
			t.Fatalf("it has a share of %s: %s", s.Share.Set, o.Status.Message)
		}
		return s.Pause != nil && s.Pause.Reason == "WarmupTimeout"
	})
	g.tell(t, http.MethodPut, bad, "/sim/faults", `{}`)
	g.ask(t, rollout.VerbResume, 0)
	l := g.send(t, 2, "")
	g.untilShare(t, 5000)
	l.end()
	l.noneFailed(t)
	if by := fmt.Sprint(l.forget()); !strings.Contains(by, stableModel) {
		t.Errorf("who answered: %s", by)
	}
}

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

const irollout = "inferencerollout/chat"

// stand is where a rollout stands at one instant.
type stand struct {
	phase, step                     string
	attempt, share, revision, epoch int64
}

// history are the stands of a rollout, one for each change that the API server
// told of.
type history struct {
	t    testing.TB
	stop func()

	mu     sync.Mutex
	stands []stand
}

// watchRollout follows the rollout of a place until the test ends.
func (p place) watchRollout() *history {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	h := &history{t: p.t}
	var watching sync.WaitGroup
	watching.Go(func() {
		for ctx.Err() == nil { // a watch may end, or meet an API server that is busy
			h.read(exec.CommandContext(ctx, "kubectl", "get", "-n", p.namespace, irollout, "--watch", "-o",
				`jsonpath={.status.phase}|{.status.step}|{.status.attempt}|{.status.shares.set}|{.status.shares.revision}|{.status.shares.epoch}{"\n"}`))
		}
	})
	h.stop = sync.OnceFunc(func() {
		cancel()
		watching.Wait()
	})
	p.t.Cleanup(h.stop)
	return h
}

func (h *history) read(cmd *exec.Cmd) {
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		f := strings.Split(lines.Text(), "|")
		if len(f) != 6 || f[0] == "" {
			continue
		}
		s := stand{phase: f[0], step: f[1]}
		for i, n := range []*int64{&s.attempt, &s.share, &s.revision, &s.epoch} {
			_, _ = fmt.Sscan(f[2+i], n)
		}
		if s.attempt == 0 {
			continue // it has yet to begin
		}
		h.mu.Lock()
		if n := len(h.stands); n == 0 || h.stands[n-1] != s {
			h.stands = append(h.stands, s)
		}
		h.mu.Unlock()
	}
	_ = cmd.Wait()
}

// last is the latest stand.
func (h *history) last() stand {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.stands) == 0 {
		return stand{}
	}
	return h.stands[len(h.stands)-1]
}

// until waits until the rollout stands as wanted.
func (h *history) until(what string, ok func(stand) bool) {
	h.t.Helper()
	within(h.t, 5*time.Minute, what, func() error {
		if s := h.last(); !ok(s) {
			return fmt.Errorf("it stands at %+v", s)
		}
		return nil
	})
}

// ascends checks that there was one attempt whose share only grew, each share once,
// and that no leader came after a later one.
func (h *history) ascends(shares ...int64) {
	h.t.Helper()
	h.stop()
	var seen []int64
	for i, s := range h.stands {
		if s.attempt != 1 {
			h.t.Errorf("attempt %d: %+v", s.attempt, s)
		}
		if i == 0 {
			seen = append(seen, s.share)
			continue
		}
		before := h.stands[i-1]
		if s.share < before.share || s.epoch < before.epoch || s.revision < before.revision || (s.share != before.share) != (s.revision != before.revision) {
			h.t.Errorf("%+v follows %+v", s, before)
		}
		if s.share != before.share {
			seen = append(seen, s.share)
		}
	}
	if fmt.Sprint(seen) != fmt.Sprint(shares) {
		h.t.Errorf("shares %v, want %v", seen, shares)
	}
}

// unwritten checks that we have written nothing of objects but their status.
func (p place) unwritten(objects ...string) {
	p.t.Helper()
	for _, object := range objects {
		var o struct {
			Metadata struct {
				Generation    int64
				ManagedFields []struct{ Manager, Operation, Subresource string }
			}
		}
		if err := json.Unmarshal([]byte(p.kubectl("get", object, "--show-managed-fields", "-o", "json")), &o); err != nil {
			p.t.Fatal(err)
		}
		if len(o.Metadata.ManagedFields) == 0 || o.Metadata.Generation != 1 {
			p.t.Errorf("%s has generation %d and managed fields %v", object, o.Metadata.Generation, o.Metadata.ManagedFields)
		}
		for _, f := range o.Metadata.ManagedFields {
			if strings.Contains(f.Manager, "crossfade") && f.Subresource != "status" {
				p.t.Errorf("%s was written by %s: %+v", object, f.Manager, f)
			}
		}
	}
}

// applyAll applies all that was applied, again, as a GitOps controller does.
func (p place) applyAll(files ...string) {
	p.t.Helper()
	for _, f := range files {
		p.kubectl("apply", "-f", "testdata/"+f)
	}
}

// rolloutPromoted rolls a version out under load while the original manifests are
// applied again at every step, and afterwards. Nothing but statuses is ever written,
// no request fails, and deleting the rollout returns to the weights of the route.
func rolloutPromoted(t *testing.T) {
	p, base := newChat(t)
	p.kubectl("scale", "deployment/gw-crossfade", "--replicas=2") // the counts of both are needed
	rolledOut(t, p.namespace, "gw-crossfade")
	l := startLoad(t, base, 8, stream("chat", 20), ask("chat"))
	p.applyAll("rollout.yaml")
	h := p.watchRollout()
	p.says(irollout, "Accepted=True")

	gitops := make(chan struct{})
	var again sync.WaitGroup
	again.Go(func() {
		for last := ""; ; time.Sleep(100 * time.Millisecond) {
			select {
			case <-gitops:
				return
			default:
			}
			if now := h.last().step; now != last {
				last = now
				p.applyAll("chat.yaml", "rollout.yaml")
			}
		}
	})
	p.kubectl("wait", "--for=condition=Promoted", irollout, "--timeout=3m")
	close(gitops)
	again.Wait()
	p.applyAll("chat.yaml", "rollout.yaml")
	p.says(irollout, "Promoted=True", "Healthy=True", "SharesVerified=True", "Progressing=False")
	h.ascends(0, 1000, 3000, 6000, 10000)

	n := l.measure(300)
	n.about(t, map[string]float64{"two": 1}, 0)
	p.unwritten("httproute/chat", "inferencepool/one", "inferencepool/two", "gateway/gw", irollout)
	eventually(t, "events tell the story", func() error {
		told := p.kubectl("get", "events", "--field-selector=involvedObject.kind=InferenceRollout", "-o", `jsonpath={.items[*].reason}`)
		for _, want := range []string{"Started", "Promoted"} {
			if !strings.Contains(told, want) {
				return fmt.Errorf("no %s among %s", want, told)
			}
		}
		return nil
	})
	if line := p.kubectl("get", irollout, "--no-headers"); !strings.Contains(line, "Promoted") || !strings.Contains(line, "100%") || !strings.Contains(line, "two") {
		t.Errorf("kubectl get shows %s", line)
	}

	if out := p.crossfade("rollout", "status", "chat"); !strings.Contains(out, "Promoted") {
		t.Errorf("crossfade rollout status prints %s", out)
	}
	p.crossfade("rollout", "undo", "chat", "--reason", "enough seen")
	p.says(irollout, "Promoted=False")

	p.kubectl("delete", irollout)
	p.follows(l, 90, 10)
	l.stop()
}

// crossfade runs the command line on the cluster, as an operator does, and returns what
// it prints.
func (p place) crossfade(args ...string) string {
	p.t.Helper()
	args = append(args, "-n", p.namespace, "--kubeconfig", os.Getenv("KUBECONFIG"))
	out, err := exec.CommandContext(p.t.Context(), filepath.Join(*bin, "crossfade"), args...).CombinedOutput()
	if err != nil {
		p.t.Errorf("crossfade %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// rolloutKilled kills the leading controller every 20 seconds while a rollout goes
// on. It takes longer, and ends as it would have.
func rolloutKilled(t *testing.T) {
	p, base := newChat(t)
	l := startLoad(t, base, 8, ask("chat"))
	p.applyAll("rollout.yaml")
	h := p.watchRollout()
	h.until("the first share", func(s stand) bool { return s.share > 0 })
	kills := 0
	for h.last().phase != "Promoted" && kills < 15 {
		kubectl(t, "delete", "pod", "-n", system, leader(t), "--grace-period=0", "--force")
		kills++
		soon := time.Now().Add(20 * time.Second)
		err := errNotYet
		for time.Now().Before(soon) && err != nil {
			if h.last().phase == "Promoted" {
				err = nil
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
	t.Logf("promoted after %d leaders were killed", kills)
	if kills < 2 {
		t.Errorf("%d leaders were killed while the rollout went on", kills)
	}
	h.until("it is promoted", func(s stand) bool { return s.phase == "Promoted" })
	p.says(irollout, "Promoted=True", "Healthy=True")
	h.ascends(0, 1000, 3000, 6000, 10000)
	rolledOut(t, system, "crossfade-controller")
	l.stop()
}

// rolloutAborted aborts by an annotation while no controller runs: gateways stop
// sending to the candidate by themselves. The controller that comes later agrees.
func rolloutAborted(t *testing.T) {
	p, base := newChat(t)
	l := startLoad(t, base, 8, ask("chat"))
	text, err := os.ReadFile("testdata/rollout.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rollout := strings.Replace(string(text), "  - setShare: {percent: 60}\n", "  - pause: {}\n", 1)
	p.apply(rollout)
	h := p.watchRollout()
	h.until("it waits at 30 %", func(s stand) bool { return s.share == 3000 && s.phase == "Paused" })
	kubectl(t, "scale", "-n", system, "deployment/crossfade-controller", "--replicas=0")
	t.Cleanup(func() {
		kubectl(t, "scale", "-n", system, "deployment/crossfade-controller", "--replicas=2")
		rolledOut(t, system, "crossfade-controller")
	})
	eventually(t, "no controller runs", func() error {
		if pods := kubectl(t, "get", "pods", "-n", system, "-l", "app.kubernetes.io/component=controller", "-o", "name"); pods != "" {
			return errors.New(pods)
		}
		return nil
	})
	if n := l.measure(200); n.speakers["two"] == 0 {
		t.Errorf("nobody gets the candidate before the abort: %v", n.speakers)
	}
	p.kubectl("annotate", irollout, `crossfade.dev/request={"id": "e2e-1", "verb": "abort", "attempt": 1, "reason": "the test says so"}`)
	within(t, patience, "nobody gets the candidate", func() error {
		if n := l.measure(100); n.speakers["two"] > 0 {
			return fmt.Errorf("%v", n.speakers)
		}
		return nil
	})
	l.measure(300).about(t, map[string]float64{"one": 1}, 0)

	kubectl(t, "scale", "-n", system, "deployment/crossfade-controller", "--replicas=2")
	h.until("it is aborted", func(s stand) bool { return s.phase == "Aborted" && s.share == 0 })
	p.says(irollout, "Promoted=False/Aborted", "SharesVerified=True")
	p.applyAll("chat.yaml")
	p.apply(rollout)
	l.measure(200).about(t, map[string]float64{"one": 1}, 0)
	if s := h.last(); s.attempt != 1 {
		t.Errorf("applied again, it stands at %+v", s)
	}
	p.unwritten("httproute/chat", "inferencepool/two")
	l.stop()
}

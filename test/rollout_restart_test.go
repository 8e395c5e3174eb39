package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"crossfade.dev/internal/rollout"
)

// process is a `crossfade up` that can be killed, and started again with what it has
// written down.
type process struct {
	*gateway
	binary, state string
	cmd           *exec.Cmd
}

// begin starts the process and waits until it serves.
func (p *process) begin(t *testing.T) {
	t.Helper()
	p.cmd = exec.Command(p.binary, "up", "--admin", p.admin, "--state", p.state, "--sim-speed", "100", "--log-level", "error", p.dir)
	p.cmd.Stderr = testWriter{t}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		resp, err := p.client.Get("http://" + p.admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(late) {
			t.Fatalf("it does not become ready: %v", err)
		}
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill() // it may have ended
		_ = p.cmd.Wait()
		p.cmd = nil
	}
	p.client.CloseIdleConnections()
}

func newProcess(t *testing.T, binary string, files map[string]string) *process {
	t.Helper()
	p := &process{gateway: newGateway(t, files), binary: binary, state: filepath.Join(t.TempDir(), "state.json")}
	t.Cleanup(p.kill)
	p.begin(t)
	return p
}

// keepsOn checks that nothing is undone or done twice from one look at a rollout to
// the next one, between which the process may have died.
func keepsOn(t *testing.T, before, after rollout.State) {
	t.Helper()
	if after.Share.Set < before.Share.Set || after.Step < before.Step || after.Number != before.Number && before.Number > 0 {
		t.Fatalf("attempt %d, step %d at %s was followed by attempt %d, step %d at %s",
			before.Number, before.Step, before.Share.Set, after.Number, after.Step, after.Share.Set)
	}
	for name, b := range before.Books {
		a := after.Books[name]
		if a == nil || len(b.Signals) > 0 && a.Signals[0].Total().Candidate.Units < b.Signals[0].Total().Candidate.Units {
			t.Fatalf("evidence of %s is forgotten", name)
		}
	}
}

// The process is killed: in the middle of a ramp, and after an abort (scenario 8, on a
// laptop).
func TestRolloutKilled(t *testing.T) {
	t.Parallel()
	binary := buildBinary(t)
	t.Run("ramp", func(t *testing.T) {
		t.Parallel()
		killedInRamp(t, binary)
	})
	t.Run("abort", func(t *testing.T) {
		t.Parallel()
		killedAfterAbort(t, binary)
	})
}

// killedInRamp kills at moments of chance while the share grows. Each time the rollout
// goes on where it was: no share falls, no step is done twice, and it ends as it would
// have without.
func killedInRamp(t *testing.T, binary string) {
	shares := []rollout.Share{500, 2000, 4000, 6000, 8000, 10_000}
	steps := ""
	for _, s := range shares {
		steps += fmt.Sprintf("  - setShare: {percent: %d}\n", s/100)
		if s < rollout.Whole {
			steps += "  - hold: {minDuration: 1s}\n"
		}
	}
	p := newProcess(t, binary, planned(t, steps, "    - {name: error-rate, minSamples: 10}\n"))
	l := p.send(t, 4, "")
	defer l.end() // what is sent while nobody is there fails

	seed := rand.Uint64()
	t.Logf("the kills are those of seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 8))
	var last rollout.State
	for kills := 0; last.Phase != rollout.Promoted; {
		for range 10 + chance.IntN(60) {
			_, s := p.rollout(t)
			keepsOn(t, last, s)
			if last = s; s.Phase == rollout.Aborted || s.Phase == rollout.Promoted {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		if last.Phase == rollout.Aborted {
			t.Fatalf("aborted: %+v", last.History)
		}
		if kills++; kills <= 4 {
			p.kill()
			p.begin(t)
		} else if kills > 200 {
			t.Fatalf("it never ends: %s, step %d, %s", last.Phase, last.Step, last.Hold)
		}
	}
	// Each share once, and nothing at the beginning.
	if want := int64(len(shares) + 1); last.Share.Revision != want {
		t.Errorf("shares were set %d times, want %d", last.Share.Revision, want)
	}
	p.kill()
	p.begin(t)
	if _, s := p.rollout(t); s.Phase != rollout.Promoted || s.Share.Set != rollout.Whole || s.Number != 1 {
		t.Errorf("after its end it comes back as %s at %s, attempt %d", s.Phase, s.Share.Set, s.Number)
	}
}

// killedAfterAbort: an abort that was asked for is in force from the first request
// after a crash on.
func killedAfterAbort(t *testing.T, binary string) {
	p := newProcess(t, binary, manifests(t))
	p.untilShare(t, 5000)
	p.ask(t, rollout.VerbAbort, 0)
	p.kill()
	if _, err := os.Stat(p.state); err != nil {
		t.Fatal(err)
	}
	p.begin(t)
	l := &traffic{byModel: map[string]int{}}
	for i := range 50 {
		l.one(context.Background(), p.gateway, fmt.Sprint("new-", i), "")
	}
	l.noneFailed(t)
	if by := l.forget(); by[candidateModel] > 0 {
		t.Errorf("the candidate answers: %v", by)
	}
	if s := p.untilPhase(t, rollout.Aborted); s.Share.Set != 0 || s.Number != 1 {
		t.Errorf("it comes back as attempt %d at %s", s.Number, s.Share.Set)
	}
}

package test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/app"
	"crossfade.dev/internal/rollout"
)

var (
	chaosSeed  = flag.Uint64("chaos-seed", 1, "seed of TestRolloutChaos; 0: another one each time")
	chaosMoves = flag.Int("chaos-moves", 25, "how many things happen in TestRolloutChaos")
)

// chaosPlan never gives the candidate everything, so that there is always a stable
// version that can answer for it.
const chaosPlan = `  steps:
  - setShare: {percent: 25}
  - hold: {minDuration: 1s, maxDuration: 10s}
  - setShare: {percent: 60}
  - pause: {}
  abort: {inFlight: Cancel, drainTimeout: 5s}
  analysis:
    tick: 1s
    settle: 1s
    guardrails:
    - {name: error-rate, minSamples: 20}
    - {name: empty-answer, minSamples: 20}
`

// chaos is a gateway to which anything happens, and a watch on what never may.
type chaos struct {
	*gateway
	t      *testing.T
	seed   uint64
	random *rand.Rand
	plan   string // of the rollout's file, without the attempt
	round  int    // spec.attempt

	mu   sync.Mutex
	seen cfv1a1.InferenceRolloutStatus
	set  bool // a share was set by hand, of the attempt seen
	log  []string
}

// newChaos serves files with chaosPlan for the rollout's. A seed of 0 is drawn; flag says
// how to name it again.
func newChaos(t *testing.T, flag string, seed uint64, files map[string]string, change func(c *app.Config, seed uint64)) *chaos {
	t.Helper()
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("%s %d", flag, seed)
	before, _, _ := strings.Cut(files["3-rollout.yaml"], "  steps:")
	files["3-rollout.yaml"] = before + chaosPlan
	return &chaos{
		gateway: startFiles(t, files, func(c *app.Config) { change(c, seed) }),
		t:       t, seed: seed, random: rand.New(rand.NewPCG(seed, 1)), plan: before + chaosPlan,
	}
}

// TestRolloutChaos has a rollout meet candidates that fail, hang up or answer nothing,
// verbs of all kinds and edits of its file, in any order, under traffic. Never does a
// client pay for what stable could have answered, a share rise over a failed hard
// guardrail, an aborted candidate get a request, the state file hold what cannot be
// read, or a request stay in the books after its end.
func TestRolloutChaos(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state.json")
	c := newChaos(t, "-chaos-seed", *chaosSeed, manifests(t), func(c *app.Config, _ uint64) { c.StateFile = state })
	l := c.send(t, 4, "")
	stop, watched := make(chan struct{}), make(chan struct{})
	go func() { defer close(watched); c.watch(stop, state) }()
	for range *chaosMoves {
		c.move()
		time.Sleep(time.Duration(100+c.random.IntN(900)) * time.Millisecond)
		c.spared(l)
	}
	close(stop)
	<-watched
	l.end()
	l.noneFailed(t)
	c.restored()
	c.nothingLeft()
	t.Log("\n" + strings.Join(c.log, "\n"))
}

// chaosFaults are what a candidate does before its first byte, or in it.
var chaosFaults = []string{`{}`, `{}`, `{"failRate": 1}`, `{"resetRate": 0.7}`, `{"failRate": 0.3, "failStatus": 503}`, `{"emptyRate": 0.5}`, `{"resetRate": 0.2, "failRate": 0.2}`}

// move has something happen.
func (c *chaos) move() {
	verbs := []rollout.Verb{rollout.VerbPause, rollout.VerbResume, rollout.VerbPromote, rollout.VerbAbort, rollout.VerbRetry, rollout.VerbRetry, rollout.VerbSetShare}
	switch c.random.IntN(10) {
	case 0, 1, 2:
		faults := chaosFaults[c.random.IntN(len(chaosFaults))]
		c.note("faults %s", faults)
		c.faults(c.t, "default/qwen-v2", faults)
	case 3, 4, 5, 6:
		c.verb(verbs[c.random.IntN(len(verbs))], float64(c.random.IntN(8)*10))
	default:
		c.edit()
	}
}

// edit changes the rollout's file.
func (c *chaos) edit() {
	const name = "3-rollout.yaml"
	switch c.random.IntN(7) {
	case 0: // for a moment it is empty, as while it is being written
		c.note("empty")
		c.write(c.t, name, "")
		time.Sleep(50 * time.Millisecond)
	case 1:
		c.note("gone")
		if err := os.Remove(filepath.Join(c.dir, name)); err != nil {
			c.t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	case 2:
		c.note("nonsense")
		c.write(c.t, name, "kind: [")
		time.Sleep(50 * time.Millisecond)
	case 3:
		c.note("a bad plan")
		c.write(c.t, name, strings.Replace(c.text(), "percent: 60", "percent: 5", 1))
		time.Sleep(50 * time.Millisecond)
	case 4:
		c.note("another plan")
		c.write(c.t, name, strings.Replace(c.text(), "minDuration: 1s", "minDuration: 2s", 1))
		return
	case 5:
		c.note("paused by the file")
		c.write(c.t, name, c.text()+"  paused: true\n")
		time.Sleep(500 * time.Millisecond)
	case 6:
		c.round++
		c.note("attempt %d", c.round)
	}
	c.restored()
}

func (c *chaos) text() string { return c.plan + fmt.Sprintf("  attempt: %d\n", c.round) }

// restored makes the file what it is to be, and waits until it is.
func (c *chaos) restored() {
	c.write(c.t, "3-rollout.yaml", c.text())
	for deadline := time.Now().Add(time.Minute); len(c.rollouts()) != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatal("the rollout does not come back")
		}
	}
}

// verb asks for something; it may well be refused.
func (c *chaos) verb(verb rollout.Verb, percent float64) {
	o := c.rollouts()[0]
	request := cfv1a1.RolloutRequest{Verb: string(verb), Attempt: o.Status.Attempt}
	if verb == rollout.VerbSetShare {
		request.Percent = percent
		c.mu.Lock()
		c.set = true
		c.mu.Unlock()
	}
	body, err := json.Marshal(request)
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.client.Post("http://"+c.admin+"/rollouts/default/qwen/request", "application/json", bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	c.note("%s %g: %d", verb, percent, resp.StatusCode)
	if resp.StatusCode >= 300 && resp.StatusCode != http.StatusConflict {
		c.t.Errorf("%s: status %d: %s", verb, resp.StatusCode, text)
	}
}

func (c *chaos) rollouts() []*cfv1a1.InferenceRollout {
	var list struct{ Items []*cfv1a1.InferenceRollout }
	if err := json.Unmarshal([]byte(c.adminGet(c.t, "/rollouts")), &list); err != nil {
		c.t.Error(err)
	}
	return list.Items
}

func (c *chaos) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, time.Now().Format("05.000 ")+fmt.Sprintf(format, args...))
}

// watch looks again and again until stop is closed.
func (c *chaos) watch(stop chan struct{}, state string) {
	for tick := time.NewTicker(50 * time.Millisecond); ; {
		select {
		case <-stop:
			tick.Stop()
			return
		case <-tick.C:
		}
		for _, o := range c.rollouts() {
			c.look(o)
		}
		var saved struct{ Version int }
		if text, err := os.ReadFile(state); err == nil && (json.Unmarshal(text, &saved) != nil || saved.Version != 1) {
			c.t.Errorf("the state file has %q", text)
		}
	}
}

// look compares a status with the one before.
func (c *chaos) look(o *cfv1a1.InferenceRollout) {
	var s rollout.State
	if o.Status.Machine == "" {
		return
	}
	if err := json.Unmarshal([]byte(o.Status.Machine), &s); err != nil {
		c.t.Errorf("machine: %v in %q", err, o.Status.Machine)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	before := c.seen
	c.seen = o.Status
	if before.Attempt != o.Status.Attempt {
		c.set = false
	}
	if o.Status.Attempt < before.Attempt {
		c.t.Errorf("attempt %d after %d: what was known is lost", o.Status.Attempt, before.Attempt)
	}
	line := fmt.Sprintf("%s attempt %d share %s", s.Phase, s.Number, s.Share.Set)
	if n := len(c.log); n == 0 || !strings.HasSuffix(c.log[n-1], line) {
		c.log = append(c.log, time.Now().Format("05.000    ")+line)
	}
	for name, b := range s.Books {
		if b.Verdict == rollout.Fail && s.Phase.Running() {
			c.t.Errorf("%s goes on at %s though %s has failed: %s", s.Phase, s.Share.Set, name, b.Note)
		}
	}
	if before.Shares == nil || o.Status.Shares == nil || before.Attempt != o.Status.Attempt || c.set {
		return
	}
	was, is := before.Shares.Set, o.Status.Shares.Set
	if is < was && s.Phase.Running() {
		c.t.Errorf("the share falls from %d to %d without an abort", was, is)
	}
	if is > was && !s.Phase.Running() {
		c.t.Errorf("the share rises from %d to %d of what is %s", was, is, s.Phase)
	}
}

// spared sees that an aborted candidate answers nobody.
func (c *chaos) spared(l *traffic) {
	aborted := func() (int64, bool) {
		list := c.rollouts()
		return list[0].Status.Attempt, list[0].Status.Phase == string(rollout.Aborted)
	}
	number, ok := aborted()
	if !ok {
		return
	}
	l.forget()
	time.Sleep(100 * time.Millisecond)
	by := l.forget()
	if still, ok := aborted(); ok && still == number && by[candidateModel] > 0 {
		c.t.Errorf("the aborted candidate answers: %v", by)
	}
}

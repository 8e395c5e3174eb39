package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/rehearsal"
	"crossfade.dev/internal/translate"
	"crossfade.dev/test/port"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fakeUp is a crossfade up with rollouts on synthetic traffic, or a cluster with
// them. Their machines are real; they go on by ticks with each answer.
type fakeUp struct {
	*httptest.Server
	t *testing.T

	mu    sync.Mutex
	runs  []*fakeRollout
	ticks int  // of each answer
	deaf  bool // no machine takes requests up
	// fault answers a request with a status code; 0 is none.
	fault func(r *http.Request) int
	asked []string // "verb attempt version"
}

type fakeRollout struct {
	up      *fakeUp
	object  *cfv1a1.InferenceRollout
	run     *rehearsal.Run
	version int
}

func newFakeUp(t *testing.T, ticks int) *fakeUp {
	t.Helper()
	up := &fakeUp{t: t, ticks: ticks}
	up.Server = httptest.NewServer(http.HandlerFunc(up.serve))
	t.Cleanup(up.Close)
	return up
}

// add adds a rollout, with default guardrails and steps.
func (up *fakeUp) add(namespace, name string, traffic rehearsal.Traffic) *fakeRollout {
	up.t.Helper()
	o := &cfv1a1.InferenceRollout{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: cfv1a1.InferenceRolloutSpec{
		Target: cfv1a1.RolloutTarget{HTTPRoute: &cfv1a1.RolloutRouteTarget{Name: "llm", RuleName: "chat"}},
		Stable: cfv1a1.RolloutSide{Name: "v1"}, Candidate: cfv1a1.RolloutSide{Name: "v2"},
	}}
	plan, errs := translate.PlanOf(o)
	if len(errs) > 0 {
		up.t.Fatal(errs)
	}
	run, err := rehearsal.New(&plan, traffic, 1)
	if err != nil {
		up.t.Fatal(err)
	}
	f := &fakeRollout{up: up, object: o, run: run}
	up.meanwhile(func() { up.runs = append(up.runs, f) })
	return f
}

// meanwhile changes or reads the state between two answers: one may still be
// written for a client that has given up.
func (up *fakeUp) meanwhile(do func()) {
	up.mu.Lock()
	defer up.mu.Unlock()
	do()
}

// breakWith answers from now on with the status codes of fault; 0 is none.
func (up *fakeUp) breakWith(fault func(r *http.Request) int) {
	up.meanwhile(func() { up.fault = fault })
}

// take asks the machine for a verb.
func (f *fakeRollout) take(id string, verb rollout.Verb) {
	f.up.meanwhile(func() { f.run.Take(&rollout.Request{ID: id, Verb: verb, Attempt: 1}) })
}

// until goes on until the machine's state is as wanted.
func (f *fakeRollout) until(t *testing.T, want func(*rollout.State) bool) {
	t.Helper()
	f.up.mu.Lock()
	defer f.up.mu.Unlock()
	for range 1500 {
		if f.run.Tick(); want(f.run.State) {
			return
		}
	}
	t.Fatalf("never: %s", f.run.State.Phase)
}

func inPhase(p rollout.Phase) func(*rollout.State) bool {
	return func(s *rollout.State) bool { return s.Phase == p }
}

// read is the object as it stands. The lock is held.
func (f *fakeRollout) read() *cfv1a1.InferenceRollout {
	machine, err := json.Marshal(f.run.State)
	if err != nil {
		panic(err)
	}
	o := *f.object
	o.ResourceVersion = fmt.Sprint(f.version)
	o.APIVersion, o.Kind = "crossfade.dev/v1alpha1", "InferenceRollout"
	o.Status.Machine, o.Status.Phase = string(machine), string(f.run.State.Phase)
	return &o
}

func (up *fakeUp) find(namespace, name string) *fakeRollout {
	i := slices.IndexFunc(up.runs, func(f *fakeRollout) bool { return f.object.Namespace == namespace && f.object.Name == name })
	if i < 0 {
		return nil
	}
	return up.runs[i]
}

func (up *fakeUp) take(f *fakeRollout, r cfv1a1.RolloutRequest, version string) {
	up.asked = append(up.asked, fmt.Sprintf("%s %d %s", r.Verb, r.Attempt, version))
	if up.deaf {
		return
	}
	f.version++
	f.run.Take(&rollout.Request{ID: r.ID, Verb: rollout.Verb(r.Verb), Attempt: r.Attempt, Share: rollout.Share(math.Round(r.Percent * 100)), Reason: r.Reason, By: r.By})
}

// serve is the admin server of a crossfade up, and the API server of a cluster.
func (up *fakeUp) serve(w http.ResponseWriter, r *http.Request) {
	up.mu.Lock()
	defer up.mu.Unlock()
	if up.fault != nil {
		if code := up.fault(r); code != 0 {
			refuse(w, code)
			return
		}
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == "/rollouts":
		up.reply(w, "")
	case parts[0] == "rollouts" && len(parts) == 4 && r.Method == http.MethodPost:
		f := up.find(parts[1], parts[2])
		var req cfv1a1.RolloutRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil || f == nil {
			http.NotFound(w, r)
			return
		}
		if req.Attempt != f.run.State.Number && req.Attempt != 0 {
			http.Error(w, "another attempt has begun", http.StatusConflict)
			return
		}
		up.take(f, req, "")
		w.WriteHeader(http.StatusAccepted)
	case strings.HasPrefix(r.URL.Path, "/apis/crossfade.dev/v1alpha1/inferencerollouts"):
		up.reply(w, "")
	case len(parts) > 5 && parts[5] == "inferencerollouts":
		up.serveNamespace(w, r, parts[4], parts[6:])
	default:
		http.NotFound(w, r)
	}
}

func (up *fakeUp) serveNamespace(w http.ResponseWriter, r *http.Request, namespace string, name []string) {
	if len(name) == 0 {
		up.reply(w, namespace)
		return
	}
	f := up.find(namespace, name[0])
	if f == nil {
		refuse(w, http.StatusNotFound)
		return
	}
	if r.Method == http.MethodPatch {
		var patch struct {
			Metadata struct {
				ResourceVersion string            `json:"resourceVersion"`
				Annotations     map[string]string `json:"annotations"`
			} `json:"metadata"`
			Status struct {
				Request *cfv1a1.RolloutRequest `json:"request"`
			} `json:"status"`
		}
		if err := json.NewDecoder(r.Body).Decode(&patch); err != nil {
			up.t.Error(err)
		}
		if v := patch.Metadata.ResourceVersion; v != "" && v != fmt.Sprint(f.version) {
			refuse(w, http.StatusConflict)
			return
		}
		if text := patch.Metadata.Annotations[cfv1a1.RequestAnnotation]; text != "" {
			if err := json.Unmarshal([]byte(text), &patch.Status.Request); err != nil {
				up.t.Error(err)
			}
		}
		up.take(f, *patch.Status.Request, patch.Metadata.ResourceVersion)
	}
	answer(w, f.read())
	up.tick(f)
}

func (up *fakeUp) tick(f *fakeRollout) {
	for range up.ticks {
		f.run.Tick()
		f.version++
	}
}

func (up *fakeUp) reply(w http.ResponseWriter, namespace string) {
	list := &rolloutList{TypeMeta: metav1.TypeMeta{APIVersion: "crossfade.dev/v1alpha1", Kind: "InferenceRolloutList"}, Items: []*cfv1a1.InferenceRollout{}}
	for _, f := range up.runs {
		if namespace == "" || f.object.Namespace == namespace {
			list.Items = append(list.Items, f.read())
			up.tick(f)
		}
	}
	answer(w, list)
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code int) {
	reason := map[int]metav1.StatusReason{403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound, 409: metav1.StatusReasonConflict}[code]
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(&metav1.Status{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: reason, Message: fmt.Sprintf("refused with %d", code)})
}

func (up *fakeUp) address() string { return strings.TrimPrefix(up.URL, "http://") }

// kubeconfig writes a file that leads to the server.
func (up *fakeUp) kubeconfig(namespace string) string {
	up.t.Helper()
	file := filepath.Join(up.t.TempDir(), "config")
	text := fmt.Sprintf(`
apiVersion: v1
kind: Config
current-context: test
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: u, user: {}}]
contexts: [{name: test, context: {cluster: c, user: u, namespace: %q}}]
`, up.URL, namespace)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		up.t.Fatal(err)
	}
	return file
}

// nowhere is an address at which nothing listens.
func nowhere(t *testing.T) string { return port.Address(t) }

type outcome struct {
	out, err string
	code     int
}

// operate runs a rollout command; admin is the default address.
func operate(t *testing.T, admin string, args ...string) outcome {
	t.Helper()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	return operateAsIs(t, admin, args...)
}

func operateAsIs(t *testing.T, admin string, args ...string) outcome {
	t.Helper()
	return operateWith(t.Context(), t, patient(admin), args...)
}

// patient are the flags of commands to which it does not matter how busy the machine
// is.
func patient(admin string) *rolloutFlags {
	return &rolloutFlags{admin: admin, redraw: time.Millisecond, takeUp: time.Minute, glance: time.Minute}
}

func operateWith(ctx context.Context, t *testing.T, flags *rolloutFlags, args ...string) outcome {
	t.Helper()
	cmd := rolloutCommand(flags)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	var out, errs bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	o := outcome{out: out.String(), err: errs.String()}
	if err != nil {
		o.err += err.Error()
		o.code = exitCode(err)
	}
	return o
}

func (o outcome) want(t *testing.T, code int, parts ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", o.code, code, o.out, o.err)
	}
	for _, p := range parts {
		if !strings.Contains(o.out+o.err, p) {
			t.Errorf("%q is not in\n%s%s", p, o.out, o.err)
		}
	}
}

// TestRolloutHome checks which home is chosen, and that a guess is told.
func TestRolloutHome(t *testing.T) {
	up, cluster := newFakeUp(t, 0), newFakeUp(t, 0)
	up.add("chat", "here", rehearsal.Traffic{})
	cluster.add("chat", "there", rehearsal.Traffic{})
	config := cluster.kubeconfig("chat")
	operate(t, up.address(), "get").want(t, 0, "chat/here", "using the crossfade up")
	explicit := operate(t, nowhere(t), "get", "--admin", up.address())
	if explicit.want(t, 0, "chat/here"); explicit.err != "" {
		t.Errorf("an explicit choice is talked about: %s", explicit.err)
	}
	explicit = operate(t, up.address(), "get", "--kubeconfig", config)
	if explicit.want(t, 0, "chat/there"); explicit.err != "" {
		t.Errorf("an explicit choice is talked about: %s", explicit.err)
	}
	operate(t, up.address(), "get", "--admin", up.address(), "--kubeconfig", config).want(t, rolloutTrouble, "give one of them")
	operate(t, nowhere(t), "get").want(t, rolloutTrouble, "--admin", "--kubeconfig")
	t.Setenv("KUBECONFIG", config)
	operateAsIs(t, nowhere(t), "get").want(t, 0, "chat/there", `context "test"`)
	// A gateway without rollouts at the default address is no home.
	operateAsIs(t, strings.TrimPrefix(httptest404(t), "http://"), "get").want(t, 0, "chat/there", `context "test"`)
}

func httptest404(t *testing.T) string {
	s := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(s.Close)
	return s.URL
}

// TestRolloutNames checks how rollouts are named.
func TestRolloutNames(t *testing.T) {
	up := newFakeUp(t, 0)
	up.add("chat", "a", rehearsal.Traffic{})
	up.add("chat", "b", rehearsal.Traffic{})
	up.add("code", "b", rehearsal.Traffic{})
	for args, want := range map[string]string{
		"get":                   "there are 3 InferenceRollouts",
		"get a":                 "Name:      chat/a",
		"get b":                 "there are 2 InferenceRollouts; name one of chat/b, code/b",
		"get code/b":            "Name:      code/b",
		"get b -n code":         "Name:      code/b",
		"get -n code":           "Name:      code/b",
		"get c":                 "no such InferenceRollout",
		"get chat/b -n code":    "leave one of them out",
		"get a/b/c":             "is not name or namespace/name",
		"get /b":                "is not name or namespace/name",
		"get a -o xml":          "is not json or yaml",
		"get a -o yaml":         "kind: InferenceRollout",
		"get a -w -o yaml":      "do not go together",
		"list":                  "code/b",
		"list -o json":          `"kind": "List"`,
		"explain a":             "chat/a is",
		"explain a nonesuch":    "it watches error-rate",
		"explain a ttft":        "ttft",
		"explain -n code ttft":  "ttft",
		"set-share a 101":       "use 0 to 100",
		"set-share a 1.234":     "two digits",
		"set-share a NaN":       "use 0 to 100",
		"promote":               "accepts 1 arg",
		"retry a":               "refused",
		"status a --timeout 5x": "invalid argument",
	} {
		o := operate(t, up.address(), strings.Fields(args)...)
		if !strings.Contains(o.out+o.err, want) {
			t.Errorf("%s: %q is not in\n%s%s", args, want, o.out, o.err)
		}
		if o.err != "" && o.out == "" && o.code != rolloutTrouble && !strings.HasPrefix(args, "retry") {
			t.Errorf("%s: exit code %d\n%s", args, o.code, o.err)
		}
	}
}

// TestRolloutVerbs takes a rollout through all verbs, in both homes.
func TestRolloutVerbs(t *testing.T) {
	for _, inCluster := range []bool{false, true} {
		up := newFakeUp(t, 0)
		f := up.add("chat", "qwen3", rehearsal.Traffic{})
		f.until(t, func(s *rollout.State) bool { return s.Share.Set == 500 && s.Phase == rollout.Analyzing })
		do := func(args ...string) outcome {
			if inCluster {
				args = append(args, "--kubeconfig", up.kubeconfig("chat"))
			}
			return operate(t, up.address(), args...)
		}
		do("pause", "qwen3", "--reason", "lunch").want(t, 0, "chat/qwen3 is Paused, share 5%", "lunch")
		do("retry", "qwen3").want(t, rolloutFailed, "refused", "only an aborted one")
		do("resume", "qwen3").want(t, 0, "is Analyzing")
		do("set-share", "qwen3", "7.5%").want(t, 0, "share 7.5%")
		do("promote", "qwen3").want(t, 0, "share")
		do("promote", "chat/qwen3", "--full").want(t, 0, "share")
		f.until(t, inPhase(rollout.Promoted))
		do("get", "qwen3").want(t, 0, "✔ Promoted", "To finish, edit in Git", "HTTPRoute llm, rule chat: give the backendRef v2 all weight", "spec.stable: {name: v2}")
		do("status", "qwen3").want(t, 0, "Promoted")
		do("undo", "qwen3").want(t, 0, "Abort")
		f.until(t, inPhase(rollout.Aborted))
		do("status", "qwen3").want(t, rolloutFailed, "was aborted: Undone")
		do("retry", "qwen3", "--no-wait").want(t, 0, "retry asked of chat/qwen3")
		do("abort", "qwen3", "--reason", "enough").want(t, 0, "Abort")
		var h []rollout.Record
		up.meanwhile(func() { h = f.run.State.History })
		if len(h) != 3 || !strings.Contains(h[2].Message, "enough") || !strings.Contains(h[2].By, "@") {
			t.Errorf("history %+v", h)
		}
	}
}

// TestRolloutVerbsInCluster checks preconditions and rights.
func TestRolloutVerbsInCluster(t *testing.T) {
	up := newFakeUp(t, 0)
	f := up.add("chat", "qwen3", rehearsal.Traffic{})
	f.until(t, inPhase(rollout.Analyzing))
	config := up.kubeconfig("chat")
	conflicts := 2
	up.breakWith(func(r *http.Request) int {
		if r.Method == http.MethodPatch && conflicts > 0 {
			conflicts--
			return http.StatusConflict
		}
		return 0
	})
	operate(t, "", "pause", "qwen3", "--kubeconfig", config).want(t, 0, "is Paused")
	up.meanwhile(func() {
		if want := []string{"pause 1 0"}; !slices.Equal(up.asked, want) {
			t.Errorf("asked %q, want %q", up.asked, want)
		}
	})
	up.breakWith(func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/status") {
			return http.StatusForbidden
		}
		return 0
	})
	operate(t, "", "resume", "qwen3", "--kubeconfig", config).want(t, 0, "is Analyzing")
	// An abort goes out even where nothing can be read, and in any version.
	// Time is up for its answer when that was looked for in vain.
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	looks := 0
	up.breakWith(func(r *http.Request) int {
		if r.Method != http.MethodGet {
			return 0
		}
		if looks++; looks == 3 { // before the request, after it, and once more
			stop()
		}
		return http.StatusForbidden
	})
	o := operateWith(ctx, t, patient(""), "abort", "qwen3", "--kubeconfig", config)
	up.meanwhile(func() {
		if last := up.asked[len(up.asked)-1]; last != "abort 0 " || f.run.State.Phase != rollout.Aborting {
			t.Errorf("%q %s", last, f.run.State.Phase)
		}
	})
	o.want(t, rolloutTimeout, "refused with 403")
}

// TestRolloutOwnNamespace checks that who may see one namespace only sees that.
func TestRolloutOwnNamespace(t *testing.T) {
	up := newFakeUp(t, 0)
	up.add("chat", "qwen3", rehearsal.Traffic{})
	up.add("code", "other", rehearsal.Traffic{})
	up.breakWith(func(r *http.Request) int {
		if !strings.Contains(r.URL.Path, "/namespaces/chat/") {
			return http.StatusForbidden
		}
		return 0
	})
	config := up.kubeconfig("chat")
	operate(t, "", "get", "--kubeconfig", config).want(t, 0, "chat/qwen3")
	operate(t, "", "list", "--kubeconfig", config).want(t, 0, "chat/qwen3")
	operate(t, "", "list", "-n", "code", "--kubeconfig", config).want(t, rolloutTrouble, "refused with 403")
}

// TestRolloutVerbStale checks that a verb for an attempt that is over is refused.
func TestRolloutVerbStale(t *testing.T) {
	up := newFakeUp(t, 0)
	up.add("chat", "qwen3", rehearsal.Traffic{}).until(t, inPhase(rollout.Analyzing))
	up.breakWith(func(r *http.Request) int {
		if r.Method == http.MethodPost {
			return http.StatusConflict
		}
		return 0
	})
	operate(t, up.address(), "promote", "qwen3").want(t, rolloutFailed, "promote chat/qwen3: ")
}

// TestRolloutVerbUnheard checks what is said when no machine runs.
func TestRolloutVerbUnheard(t *testing.T) {
	up := newFakeUp(t, 0)
	up.deaf = true
	up.add("chat", "qwen3", rehearsal.Traffic{}).until(t, inPhase(rollout.Analyzing))
	impatient := &rolloutFlags{takeUp: 50 * time.Millisecond}
	operateWith(t.Context(), t, impatient, "abort", "qwen3", "--admin", up.address()).want(t, rolloutTimeout, "is its controller running?", "send nothing to the candidate even so")
	operate(t, up.address(), "pause", "qwen3", "--no-wait").want(t, 0, "pause asked of chat/qwen3")
}

// TestRolloutStatus checks the log of a whole rollout and the exit codes.
func TestRolloutStatus(t *testing.T) {
	up := newFakeUp(t, 20)
	up.add("chat", "good", rehearsal.Traffic{})
	up.add("chat", "bad", rehearsal.Traffic{Candidate: rehearsal.Arm{Errors: 0.3}})
	o := operate(t, up.address(), "status", "good")
	o.want(t, 0, "Analyzing step", "Promoted step 11/11 share 100%")
	if lines := strings.Split(strings.TrimSpace(o.out), "\n"); len(lines) < 10 || !strings.HasPrefix(lines[1], "2026-01-01T00:") {
		t.Errorf("the log:\n%s", o.out)
	}
	operate(t, up.address(), "status", "bad").want(t, rolloutFailed, "error-rate=Fail", "was aborted: GuardrailFailed: error-rate")
	slow := up.add("chat", "slow", rehearsal.Traffic{})
	slow.until(t, inPhase(rollout.Analyzing))
	slow.take("1", rollout.VerbPause)
	operate(t, up.address(), "status", "slow", "--timeout", "50ms").want(t, rolloutTimeout, "still Paused")
	// The end of another plan is no end.
	up.meanwhile(func() {
		up.find("chat", "good").object.Spec.Candidate.Name = "v3"
		up.ticks = 0
	})
	operate(t, up.address(), "status", "good", "--timeout", "50ms").want(t, rolloutTimeout, "still Promoted")
	up.meanwhile(func() { up.runs = nil })
	operate(t, up.address(), "status", "good").want(t, rolloutTrouble, "no such InferenceRollout")
}

// buffer is written and read by two goroutines.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	seen func(string) // told of all there is, after each write
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.text.Write(p)
	b.seen(b.text.String())
	return n, err
}

// TestRolloutWatch checks both views: in place on a terminal, which may change its
// size, and as a log.
func TestRolloutWatch(t *testing.T) {
	up := newFakeUp(t, 1)
	f := up.add("chat", "qwen3", rehearsal.Traffic{})
	h := &adminHome{up.address()}
	flags := &rolloutFlags{redraw: time.Millisecond}
	view := func(out *buffer, size func() (int, int, bool)) string {
		t.Helper()
		s, err := flags.find(t.Context(), h, "")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		seen := out.seen
		out.seen = func(text string) {
			if seen(text); strings.Contains(text, "Analyzing") {
				stop()
			}
		}
		if err := flags.watch(ctx, h, s, terminal{out: out, size: size}); err != nil {
			t.Fatal(err)
		}
		return out.text.String()
	}
	width := 100
	got := view(&buffer{seen: func(string) {}}, func() (int, int, bool) {
		width--
		return width, 12, true
	})
	if !strings.HasPrefix(got, enterScreen+cursorHome+"Name:") || !strings.Contains(got, leaveScreen+"Name:") {
		t.Errorf("the screen is not entered and left: %q", got)
	}
	for i, frame := range strings.Split(strings.Split(got, leaveScreen)[0], cursorHome)[1:] {
		lines := strings.Split(frame, "\r\n")
		if len(lines) > 12 {
			t.Errorf("%d lines where there are 12", len(lines))
		}
		for _, l := range lines {
			l = strings.TrimSuffix(strings.TrimSuffix(l, eraseBelow), eraseLine)
			if n := len([]rune(l)); n > 100-i {
				t.Errorf("frame %d: %d columns: %q", i, n, l)
			}
		}
	}
	f.take("1", rollout.VerbAbort)
	f.until(t, inPhase(rollout.Aborted))
	f.take("2", rollout.VerbRetry)
	got = view(&buffer{seen: func(string) {}}, func() (int, int, bool) { return 0, 0, false })
	if strings.Contains(got, "\x1b") || !strings.Contains(got, "step 2/11 (share 1%) share 1%") {
		t.Errorf("the log:\n%s", got)
	}
}

// TestRolloutWatchTrouble checks that a server that restarts is waited for.
func TestRolloutWatchTrouble(t *testing.T) {
	up := newFakeUp(t, 1)
	up.add("chat", "qwen3", rehearsal.Traffic{})
	h := &adminHome{up.address()}
	flags := &rolloutFlags{redraw: time.Millisecond}
	s, err := flags.find(t.Context(), h, "")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	up.breakWith(func(*http.Request) int {
		if n++; n < 5 {
			return http.StatusServiceUnavailable
		}
		return 0
	})
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out := &buffer{seen: func(text string) {
		if strings.Contains(text, "Analyzing") {
			stop()
		}
	}}
	if err := flags.watch(ctx, h, s, terminal{out: out, size: func() (int, int, bool) { return 0, 0, false }}); err != nil {
		t.Fatal(err)
	}
	if got := out.text.String(); strings.Count(got, "503 Service Unavailable") != 1 {
		t.Errorf("the trouble is not told once:\n%s", got)
	}
}

func TestExitCodes(t *testing.T) {
	for want, err := range map[int]error{1: errors.New("x"), 2: fmt.Errorf("y: %w", exitError{errors.New("x"), 2}), 3: exitError{errors.New("x"), 3}} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}

func TestRolloutOfAnotherVersion(t *testing.T) {
	if _, err := readSubject(&cfv1a1.InferenceRollout{Status: cfv1a1.InferenceRolloutStatus{Machine: "{"}}); err == nil || !strings.Contains(err.Error(), "status.machine") {
		t.Errorf("%v", err)
	}
}

// TestRolloutSimulate checks a run and many runs of a plan from a file.
func TestRolloutSimulate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rollout.yaml")
	if err := os.WriteFile(file, []byte(`
apiVersion: crossfade.dev/v1alpha1
kind: InferenceRollout
metadata: {name: qwen3, namespace: chat}
spec:
  target: {httpRoute: {name: llm}}
  stable: {name: v1}
  candidate: {name: v2}
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string][]string{
		"":                                    {"step 11/11", "✔ Promoted after"},
		"--candidate-errors 0.2":              {"errors 0.5% and 20%", "error-rate=Fail", "✖ Aborted after"},
		"--candidate-ttft-factor 2":           {"✖ Aborted after"},
		"--runs 5":                            {"OUTCOME OF 5", "✔ Promoted", "5 (100%)"},
		"--rps 0.01 --limit 3h":               {"InsufficientData"},
		"--candidate-endpoints 1 --limit 30m": {"CapacityLimited"},
		"--name other":                        {"no such InferenceRollout"},
		"--runs 0":                            {"use 1 to"},
		"--rps 0":                             {"must be above 0"},
		"--errors 2":                          {"from 0 to 1"},
		"--candidate-ttft-factor -1":          {"use more than 0"},
		"--limit 0s":                          {"use more than 0"},
		"--rps 100000":                        {"at most 10000"},
		"-n other":                            {"no such InferenceRollout"},
		"--candidate-ttft-factor 1e3 x":       {"x"},
	} {
		o := operate(t, nowhere(t), append([]string{"simulate", file}, strings.Fields(args)...)...)
		for _, w := range want {
			if !strings.Contains(o.out+o.err, w) {
				t.Errorf("simulate %s: %q is not in\n%s%s", args, w, o.out, o.err)
			}
		}
	}
}

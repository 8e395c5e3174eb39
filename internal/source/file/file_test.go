package file

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// write makes a file below dir, with its folders.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func load(t testing.TB, paths ...string) source.Update {
	t.Helper()
	u, err := Load(paths)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// configMap is the YAML of a ConfigMap.
func configMap(name, value string) string {
	return fmt.Sprintf("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {value: %q}\n", name, value)
}

// The seven manifests of the guide load as they are. The sixth replaces the route
// of the third, which is the only thing to say about them.
func TestGuide(t *testing.T) {
	u := load(t, "testdata/gray-release")
	want := []translate.Problem{{
		Severity: translate.Warning,
		Ref:      translate.ObjectRef{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "default", Name: "inference-route"},
		Message:  "stands at testdata/gray-release/3-gateway-and-route.yaml:19 and again at testdata/gray-release/6-route-90-10.yaml:1; the last one counts",
		Remedy:   "remove one of the two, or rename it",
		Origin:   "testdata/gray-release/6-route-90-10.yaml:1",
	}}
	if diff := cmp.Diff(want, u.Problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
	in := u.Resources
	if len(in.HTTPRoutes) != 1 || len(in.HTTPRoutes[0].Spec.Rules[0].BackendRefs) != 2 {
		t.Errorf("the route of manifest 6 is not in force: %+v", in.HTTPRoutes)
	}
	counts := []int{len(in.GatewayClasses), len(in.Gateways), len(in.Services), len(in.Pods), len(in.LegacyInferencePools),
		len(in.InferenceModels), len(in.ClientTrafficPolicies), len(in.BackendTrafficPolicies)}
	if diff := cmp.Diff([]int{1, 1, 2, 2, 2, 3, 1, 1}, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if len(in.UnhonouredFields) != 0 {
		t.Errorf("unhonoured fields: %v", in.UnhonouredFields)
	}
}

// Defaults are those of the schemas and of Kubernetes.
func TestDefaults(t *testing.T) {
	in := load(t, "testdata/gray-release").Resources
	match := in.HTTPRoutes[0].Spec.Rules[0]
	if b := match.BackendRefs[1]; b.Weight == nil || *b.Weight != 10 {
		t.Errorf("weight %v", b.Weight)
	}
	pool := in.LegacyInferencePools[0].Spec.ExtensionRef
	if pool.FailureMode == nil || *pool.FailureMode != "FailClose" {
		t.Errorf("failureMode %v", pool.FailureMode)
	}
	if allowed := in.Gateways[0].Spec.Listeners[0].AllowedRoutes; allowed == nil || *allowed.Namespaces.From != "Same" {
		t.Errorf("allowedRoutes %+v", allowed)
	}
	pod := in.Pods[0]
	if pod.Status.Phase != corev1.PodRunning || pod.Labels["release"] != "qwen" || pod.Annotations["prometheus.io/port"] != "8000" {
		t.Errorf("pod %+v", pod.ObjectMeta)
	}
	for _, o := range objectsOf(in) {
		if o.GetGeneration() != 1 || o.GetCreationTimestamp().Time.IsZero() || o.GetObjectKind().GroupVersionKind().Kind == "" {
			t.Errorf("%s: generation %d, created %s, kind %s", o.GetName(), o.GetGeneration(), o.GetCreationTimestamp(), o.GetObjectKind().GroupVersionKind())
		}
	}
}

func TestSecret(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "s.yaml", `
apiVersion: v1
kind: Secret
metadata: {name: s}
data: {a: `+base64.StdEncoding.EncodeToString([]byte("encoded"))+`, b: Yg==}
stringData: {b: plain}
`)
	s := load(t, dir).Resources.Secrets[0]
	want := map[string][]byte{"a": []byte("encoded"), "b": []byte("plain")}
	if diff := cmp.Diff(want, s.Data); diff != "" || s.Type != corev1.SecretTypeOpaque {
		t.Errorf("type %s, data (-want +got):\n%s", s.Type, diff)
	}
}

// No problem repeats a value: it may be a secret.
func TestProblemsHoldNoValues(t *testing.T) {
	const secret = "hunter2"
	dir := t.TempDir()
	for i, text := range []string{
		"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {k: hunter2}",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: b, labels: {l: hunter2 hunter2}}\nstringData: [hunter2]",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: c, creationTimestamp: hunter2}",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: d}\nstringData: {k: hunter2\n",
		"apiVersion: v1\nkind: Secret\nmetadata: {name: e}\nimmutable: hunter2",
		"apiVersion: v1\nkind: Pod\nmetadata: {name: f}\nspec: {containers: [{name: c, resources: {limits: {cpu: hunter2}}}]}",
		"apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: g}\nspec: {hostnames: [HUNTER2hunter2], rules: [{filters: [{type: hunter2}], timeouts: {request: hunter2}, backendRefs: [{name: a, port: hunter2, weight: {hunter2x: hunter2}}]}]}",
		"apiVersion: inference.networking.x-k8s.io/v1alpha2\nkind: InferenceModel\nmetadata: {name: h}\nspec: {modelName: m, criticality: hunter2, poolRef: hunter2}",
		"- hunter2",
		"hunter2: &a [*a]",
	} {
		write(t, dir, fmt.Sprintf("%d.yaml", i), text)
	}
	problems := load(t, dir).Problems
	if len(problems) < 12 {
		t.Errorf("only %d problems", len(problems))
	}
	for _, p := range problems {
		p.Field = "" // names of fields are no values
		if strings.Contains(strings.ToLower(p.String()), secret) {
			t.Errorf("tells a value: %s", p)
		}
	}
}

func TestMissingPath(t *testing.T) {
	for _, paths := range [][]string{nil, {filepath.Join(t.TempDir(), "nothing")}, {"testdata/gray-release", "nothing"}} {
		if _, err := Load(paths); err == nil || len(paths) > 0 && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Load(%q): %v", paths, err)
		}
		if _, err := New(paths, Options{}); err == nil {
			t.Errorf("New(%q) succeeds", paths)
		}
	}
}

// Files are read in the order of the paths, then by name, each once however it is
// reached.
func TestOrder(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a/b.yaml", configMap("same", "ab"))
	write(t, dir, "a/a.yaml", configMap("same", "aa"))
	write(t, dir, "b/c.yaml", configMap("same", "bc"))
	for _, c := range []struct {
		paths []string
		want  string
		files int
	}{
		{[]string{"a", "b"}, "bc", 3},
		{[]string{"b", "a"}, "ab", 3},
		{[]string{"."}, "bc", 3},
		{[]string{"a/b.yaml", "a"}, "aa", 2},
		{[]string{"a", "a/a.yaml", "a"}, "ab", 2},
	} {
		var paths []string
		for _, p := range c.paths {
			paths = append(paths, filepath.Join(dir, p))
		}
		u := load(t, paths...)
		if got := u.Resources.ConfigMaps[0].Data["value"]; got != c.want || len(u.Problems) != c.files-1 {
			t.Errorf("%q: value %s, want %s; %d problems, want %d", c.paths, got, c.want, len(u.Problems), c.files-1)
		}
	}
}

// Links are followed, also those of a mounted ConfigMap, and loops end.
func TestLinks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "conf/..2024/a.yaml", configMap("mounted", ""))
	link(t, "..2024", filepath.Join(dir, "conf/..data"))
	link(t, "..data/a.yaml", filepath.Join(dir, "conf/a.yaml"))
	link(t, "..", filepath.Join(dir, "conf/up"))
	link(t, ".", filepath.Join(dir, "conf/here"))
	link(t, "self.yaml", filepath.Join(dir, "conf/self.yaml"))
	link(t, "nowhere", filepath.Join(dir, "conf/dangling.yaml"))
	u := load(t, filepath.Join(dir, "conf"))
	if n := len(u.Resources.ConfigMaps); n != 1 {
		t.Errorf("%d objects, want 1", n)
	}
	if len(u.Problems) != 2 {
		t.Errorf("problems: %v", u.Problems)
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

// What cannot be read is a problem, never the end of the others.
func TestLimits(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		prev := string(c - 1)
		bomb += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.Repeat("*"+prev+",", 9)+"*"+prev)
	}
	big := "a: &a " + strings.Repeat("x", 1<<20) + "\nb: [" + strings.Repeat("*a,", 99) + "*a]\n"
	nested := "spec: " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	cases := []struct{ name, text, want string }{
		{"bomb.yaml", bomb, "aliases expand"},
		{"long-strings.yaml", big, "aliases expand"},
		{"loop.yaml", "a: &a [*a]\n", "aliases expand"},
		{"nested.yaml", nested, "nested more than"},
		{"nested.json", strings.Repeat("[", 200) + strings.Repeat("]", 200), "nested more than"},
		{"large-file.yaml", strings.Repeat("# comment\n", 1<<20), "is larger than 8 MiB"},
		{"large-document.yaml", "a: " + strings.Repeat("x", 4<<20), "document is larger than 3 MiB"},
		{"large-document.json", `{"a": "` + strings.Repeat("x", 4<<20) + `"}`, "document is larger than 3 MiB"},
		{"many.yaml", strings.Repeat(configMap("a", "")+"---\n", maxDocuments+1), "holds more than 5000 objects"},
		{"utf16.yaml", "\xff\xfea\x00", "is UTF-16"},
		{"nul.yaml", "a: \x00", "control characters"},
		{"latin1.yaml", "a: caf\xe9", "UTF-8"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "0-good.yaml", configMap("good", ""))
			write(t, dir, c.name, c.text)
			u := load(t, dir)
			if len(u.Resources.ConfigMaps) == 0 {
				t.Error("the good file is gone")
			}
			for _, p := range u.Problems {
				if strings.Contains(p.Message, c.want) {
					return
				}
			}
			t.Errorf("no problem says %q: %.1000v", c.want, u.Problems)
		})
	}
}

// A pipe with the name of a manifest is not waited for.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yaml"), 0o644); err != nil {
		t.Skip(err)
	}
	write(t, dir, "a.yaml", configMap("a", ""))
	if u := load(t, dir); len(u.Resources.ConfigMaps) != 1 {
		t.Error("the file beside it is not read")
	}
}

// A document, and all of them, report so many problems and then a number.
func TestManyProblems(t *testing.T) {
	var fields bytes.Buffer
	for i := range 100 {
		fmt.Fprintf(&fields, "x%02d: 1\n", i)
	}
	dir := t.TempDir()
	write(t, dir, "a.yaml", configMap("a", "")+fields.String())
	problems := load(t, dir).Problems
	if n := len(problems); n != maxDocumentProblems+1 || problems[n-1].Message != "has 80 more problems" {
		t.Errorf("%d problems, the last: %v", n, problems[n-1])
	}
	for i := range 200 {
		write(t, dir, fmt.Sprintf("b%d.yaml", i), configMap("Bad", "")+fields.String()[:70])
	}
	problems = load(t, dir).Problems
	if n := len(problems); n != maxProblems+1 || problems[n-1].Severity != translate.Error {
		t.Errorf("%d problems, the last: %v", n, problems[n-1])
	}
}

// Objects beyond the limit are left out, which is told once.
func TestManyObjects(t *testing.T) {
	c := &contents{path: "a.yaml"}
	for i := range maxObjects + 10 {
		l := newLines(c.path, chunk{line: i + 1})
		c.documents = append(c.documents, &document{place: l.at(""), lines: l, ref: translate.ObjectRef{Kind: "Other", Name: "o"}})
	}
	u, _ := merge([]input{{contents: c}}, nil)
	if len(u.Problems) != 2 || u.Problems[0].Origin != "a.yaml:20001" || !strings.Contains(u.Problems[1].Message, "with 19999 more") {
		t.Errorf("problems: %v", u.Problems)
	}
}

// So are pods.
func TestManyPods(t *testing.T) {
	dir := t.TempDir()
	for i := range maxPods/maxReplicas + 1 {
		write(t, dir, fmt.Sprintf("%02d.yaml", i), fmt.Sprintf(`
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: s%d}
spec:
  replicas: %d
  selector: {matchLabels: {a: b}}
  template: {metadata: {labels: {a: b}}}
`, i, maxReplicas))
	}
	u := load(t, dir)
	if n := len(u.Resources.Pods); n != maxPods {
		t.Errorf("%d pods, want %d", n, maxPods)
	}
	if len(u.Problems) != 1 || u.Problems[0].Ref.Name != "s16" || u.Problems[0].Field != "spec.replicas" {
		t.Errorf("problems: %v", u.Problems)
	}
}

// Windows line ends and a byte order mark are no obstacles, and lines are counted
// all the same.
func TestLineEnds(t *testing.T) {
	text := "\uFEFF# first\r\n---\r\n" + strings.ReplaceAll(configMap("a", "")+"---\nkind: Pod\n", "\n", "\r\n")
	dir := t.TempDir()
	path := write(t, dir, "a.yaml", text)
	u := load(t, dir)
	if len(u.Resources.ConfigMaps) != 1 || u.Resources.ConfigMaps[0].Name != "a" {
		t.Errorf("objects: %v", u.Origins)
	}
	if len(u.Problems) != 1 || u.Problems[0].Origin != path+":8" {
		t.Errorf("problems: %+v", u.Problems)
	}
}

func TestSplitField(t *testing.T) {
	for path, want := range map[string][]string{
		"":                          nil,
		"spec":                      {"spec"},
		"spec.rules[0].matches[12]": {"spec", "rules", "0", "matches", "12"},
		"data[tls.crt]":             {"data", "tls.crt"},
		"metadata.labels[a/b.c].x":  {"metadata", "labels", "a/b.c", "x"},
		".spec[":                    {"spec", ""},
	} {
		if diff := cmp.Diff(want, splitField(path)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", path, diff)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"weight", "port", "backendRefs", "PathPrefix", "name"}
	for word, want := range map[string]string{
		"wieght": "weight", "Weight": "weight", "ports": "port", "backendRef": "backendRefs",
		"prefix": "PathPrefix", "x": "", "namespace": "", "": "", "nmae": "name",
	} {
		if got := nearest(word, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

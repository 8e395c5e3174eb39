package volumes

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

var renewal = time.Unix(1000, 0)

type objects map[string]map[string][]byte

func (o objects) get(kind, namespace, name string) (map[string][]byte, error) {
	if data, ok := o[kind+"/"+namespace+"/"+name]; ok {
		return data, nil
	}
	return nil, apierrors.NewNotFound(schema.GroupResource{Resource: kind}, name)
}

func (o objects) Secret(_ context.Context, namespace, name string) (map[string][]byte, error) {
	return o.get("secrets", namespace, name)
}

func (o objects) ConfigMap(_ context.Context, namespace, name string) (map[string][]byte, error) {
	return o.get("configmaps", namespace, name)
}

func (o objects) Token(_ context.Context, pod *v1.Pod, want *v1.ServiceAccountTokenProjection) (string, time.Time, error) {
	return "token of " + pod.Name + " for " + want.Audience, renewal, nil
}

func filler() Filler {
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u", Labels: map[string]string{"app": "a"}},
		Spec:       v1.PodSpec{NodeName: "node", ServiceAccountName: "robot"},
		Status:     v1.PodStatus{PodIP: "10.0.0.9", PodIPs: []v1.PodIP{{IP: "10.0.0.9"}}, HostIP: "10.0.0.1"},
	}
	return Filler{Pod: pod, Objects: objects{
		"secrets/ns/s":    {"user": []byte("me"), "pass": []byte("word")},
		"configmaps/ns/c": {"conf.yaml": []byte("a: b")},
	}}
}

func TestFill(t *testing.T) {
	for _, c := range []struct {
		name, volume string
		want         map[string]string
		renew        bool
		fails        string
	}{
		{name: "emptyDir", volume: "emptyDir: {medium: Memory}", want: map[string]string{}},
		{name: "secret", volume: "secret: {secretName: s}", want: map[string]string{"user": "me", "pass": "word"}},
		{name: "some keys", volume: "secret: {secretName: s, items: [{key: user, path: a/b}]}", want: map[string]string{"a/b": "me"}},
		{name: "a key that is missing", volume: "secret: {secretName: s, items: [{key: x, path: z}]}", fails: `secret s has no key "x"`},
		{name: "an optional key", volume: "secret: {secretName: s, optional: true, items: [{key: x, path: z}]}", want: map[string]string{}},
		{name: "a secret that is missing", volume: "secret: {secretName: t}", fails: "not found"},
		{name: "an optional secret", volume: "secret: {secretName: t, optional: true}", want: map[string]string{}},
		{name: "configMap", volume: "configMap: {name: c}", want: map[string]string{"conf.yaml": "a: b"}},
		{name: "an escape", volume: "configMap: {name: c, items: [{key: conf.yaml, path: ../../x}]}", fails: "leaves the volume"},
		{name: "downward", volume: "downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}", want: map[string]string{"l": `app="a"`}},
		{name: "projected", volume: `projected: {sources: [{serviceAccountToken: {path: token, audience: x}},
			{configMap: {name: c}}, {downwardAPI: {items: [{path: ns, fieldRef: {fieldPath: metadata.namespace}}]}}]}`,
			want: map[string]string{"token": "token of p for x", "conf.yaml": "a: b", "ns": "ns"}, renew: true},
		{name: "hostPath", volume: "hostPath: {path: /}", fails: "only emptyDir, secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var v v1.Volume
			if err := yaml.UnmarshalStrict([]byte(c.volume), &v); err != nil {
				t.Fatal(err)
			}
			folder := filepath.Join(t.TempDir(), "v")
			renew, err := filler().Fill(t.Context(), v, folder)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("error %v, want %q", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, read(t, folder)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if renew.Equal(renewal) != c.renew {
				t.Errorf("renewal at %v", renew)
			}
		})
	}
}

func read(t *testing.T, folder string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestEnv(t *testing.T) {
	const container = `
envFrom:
- configMapRef: {name: c}
- prefix: S_
  secretRef: {name: s}
- secretRef: {name: none, optional: true}
env:
- {name: PLAIN, value: x}
- {name: BASE, value: overridden}
- {name: REFERS, value: "$(PLAIN)-$(S_user)-$(UNKNOWN)-$$(PLAIN)"}
- {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
- {name: LABEL, valueFrom: {fieldRef: {fieldPath: "metadata.labels['app']"}}}
- {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: SA, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
- {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu}}}
- {name: PASS, valueFrom: {secretKeyRef: {name: s, key: pass}}}
- {name: CONF, valueFrom: {configMapKeyRef: {name: c, key: conf.yaml}}}
- {name: ABSENT, valueFrom: {secretKeyRef: {name: s, key: none, optional: true}}}
resources: {limits: {cpu: 1500m}}
`
	var c v1.Container
	if err := yaml.UnmarshalStrict([]byte(container), &c); err != nil {
		t.Fatal(err)
	}
	env, err := filler().Env(t.Context(), &c, map[string]string{"BASE": "b", "KEPT": "k"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"BASE": "overridden", "KEPT": "k", "conf.yaml": "a: b", "S_user": "me", "S_pass": "word",
		"PLAIN": "x", "REFERS": "x-me-$(UNKNOWN)-$(PLAIN)", "NAME": "p", "LABEL": "a", "IP": "10.0.0.9", "SA": "robot",
		"CPU": "2", "PASS": "word", "CONF": "a: b",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	c.Env = []v1.EnvVar{{Name: "X", ValueFrom: &v1.EnvVarSource{SecretKeyRef: &v1.SecretKeySelector{Key: "none", LocalObjectReference: v1.LocalObjectReference{Name: "s"}}}}}
	if _, err := filler().Env(t.Context(), &c, nil); err == nil || !strings.Contains(err.Error(), `env X: secret s has no key "none"`) {
		t.Errorf("a key that is missing: error %v", err)
	}
	if got := Expand([]string{"--ip=$(IP)"}, env); got[0] != "--ip=10.0.0.9" {
		t.Errorf("expanded %q", got)
	}
}

func TestSubPath(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for sub, want := range map[string]string{"": "", "file": "file", "new/deep": "new/deep", "../x": "error", "/etc": "error"} {
		got, err := SubPath(folder, sub)
		if want == "error" {
			if err == nil {
				t.Errorf("%q: no error", sub)
			}
		} else if err != nil || got != filepath.Join(folder, want) {
			t.Errorf("%q: %s, error %v", sub, got, err)
		}
	}
}

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// patience bounds every wait. Nothing depends on how much of it is used.
const patience = 60 * time.Second

// run runs kubectl with stdin and returns what it prints.
func run(ctx context.Context, stdin string, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Stdin, cmd.Stderr = strings.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// kubectl runs it; a failure ends the test.
func kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := run(context.Background(), "", args...) // cleanups call it too, when the test's own context has ended
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// apply applies a manifest as the namespace's; one without is for those that name
// their own.
func apply(t testing.TB, namespace, manifest string) {
	t.Helper()
	args := []string{"apply", "-f", "-"}
	if namespace != "" {
		args = append(args, "-n", namespace)
	}
	if _, err := run(t.Context(), manifest, args...); err != nil {
		t.Fatal(err)
	}
}

// jsonpath asks for part of an object, such as "svc/web". Unknown fields are "".
func jsonpath(t testing.TB, namespace, object, path string) string {
	t.Helper()
	return kubectl(t, "get", "-n", namespace, object, "-o", "jsonpath="+path)
}

// eventually polls until check succeeds; what says what is waited for.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	within(t, patience, what, check)
}

func within(t testing.TB, limit time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		began := time.Now()
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s: %v", what, limit, err)
		}
		// Half of the time is for those who are waited for: kubectl is work, too.
		time.Sleep(max(50*time.Millisecond, time.Since(began)))
	}
}

// exists reports whether the API server has an object.
func exists(namespace, object string) (bool, error) {
	out, err := run(context.Background(), "", "get", "-n", namespace, object, "--ignore-not-found", "-o", "name")
	return out != "", err
}

// gone waits until an object is no longer there.
func gone(t testing.TB, namespace string, objects ...string) {
	t.Helper()
	for _, object := range objects {
		eventually(t, object+" is gone", func() error {
			there, err := exists(namespace, object)
			if err == nil && there {
				err = errors.New("it is there")
			}
			return err
		})
	}
}

// condition is one of an object's status.
type condition struct {
	Type, Status, Reason, Message string
	ObservedGeneration            int64
}

// judged is what kubectl tells of an object's status, wherever its kind has the
// conditions.
type judged struct {
	Metadata struct{ Generation int64 }
	Status   struct {
		Conditions []condition
		Parents    []struct{ Conditions []condition } // HTTPRoute, InferencePool
		Parent     []struct{ Conditions []condition } // InferencePool of x-k8s.io
		Ancestors  []struct{ Conditions []condition } // policies
		Listeners  []struct {
			Name           string
			AttachedRoutes int
			Conditions     []condition
		}
		Addresses []struct{ Type, Value string }
	}
}

func look(namespace, object string) (judged, error) {
	var j judged
	out, err := run(context.Background(), "", "get", "-n", namespace, object, "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &j)
	}
	return j, err
}

// conditions are those of the object and of its parents, not of its listeners.
func (j judged) conditions() []condition {
	all := j.Status.Conditions
	for _, group := range [][]struct{ Conditions []condition }{j.Status.Parents, j.Status.Parent, j.Status.Ancestors} {
		for _, parent := range group {
			all = append(all, parent.Conditions...)
		}
	}
	return all
}

// says waits until an object's conditions are as wanted, each "Type=Status" or
// "Type=Status/Reason", for the object as it is now; it returns the messages.
func says(t testing.TB, namespace, object string, wants ...string) string {
	t.Helper()
	var messages []string
	eventually(t, fmt.Sprintf("%s/%s says %s", namespace, object, strings.Join(wants, ", ")), func() error {
		j, err := look(namespace, object)
		if err != nil {
			return err
		}
		messages = nil
		for _, want := range wants {
			message, err := j.check(want)
			if err != nil {
				return err
			}
			messages = append(messages, message)
		}
		return nil
	})
	return strings.Join(messages, "\n")
}

func (j judged) check(want string) (string, error) {
	kind, status, _ := strings.Cut(want, "=")
	status, reason, _ := strings.Cut(status, "/")
	for _, c := range j.conditions() {
		if c.Type != kind || c.Status != status || reason != "" && c.Reason != reason {
			continue
		}
		if c.ObservedGeneration != j.Metadata.Generation {
			return "", fmt.Errorf("%s=%s is about generation %d, the object has %d", kind, status, c.ObservedGeneration, j.Metadata.Generation)
		}
		return c.Message, nil
	}
	return "", fmt.Errorf("no %s in %+v", want, j.conditions())
}

// rolledOut waits until a Deployment is as it should be.
func rolledOut(t testing.TB, namespace string, deployments ...string) {
	t.Helper()
	for _, d := range deployments {
		kubectl(t, "rollout", "status", "-n", namespace, "deployment/"+d, "--timeout="+patience.String())
	}
}

// file is the path of one of the repository's.
func file(parts ...string) string {
	return filepath.Join(append([]string{*root}, parts...)...)
}

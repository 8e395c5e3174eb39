package cluster

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// testbin is where `make testbin` puts the programs.
var testbin = flag.String("testbin", "../../bin/testbin", "folder with up, hyper and testserver")

// inCluster is set in the environment of the test's second run.
const inCluster = "CLUSTER_DIR"

// patience bounds every wait; nothing in this test depends on how much of it
// is used.
const patience = 60 * time.Second

// TestMain runs the tests twice: outside, where they only look after a cluster,
// and as the command inside it.
func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(m.Run())
}

// TestCluster boots a cluster and runs this binary's other tests inside it.
func TestCluster(t *testing.T) {
	if os.Getenv(inCluster) != "" {
		t.Skip("this is the run inside")
	}
	if testing.Short() {
		t.Skip("boots a cluster")
	}
	bin, err := filepath.Abs(*testbin)
	if err != nil {
		t.Fatal(err)
	}
	up := filepath.Join(bin, "up")
	if _, err := os.Stat(up); err != nil {
		t.Skipf("run `make testbin` first: %v", err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	temporary := t.TempDir()
	cmd := exec.CommandContext(t.Context(), up, "--images", "images.yaml", "--max-probe-delay=1s", "--crds", "testdata/crd.yaml",
		"--", self, "-test.run=^TestInside", "-test.v="+strconv.FormatBool(testing.Verbose()), "-test.timeout=5m")
	cmd.Env = append(os.Environ(), "TMPDIR="+temporary)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == 77 {
		t.Skip(output.String())
	}
	if err != nil {
		t.Errorf("the run inside: %v", err)
	}
	t.Log(output.String())
	if left, err := filepath.Glob(filepath.Join(temporary, "*")); err != nil || len(left) > 0 {
		t.Errorf("the cluster left %q behind, error %v", left, err)
	}
}

// TestExitCodes checks what a caller of up can rely on.
func TestExitCodes(t *testing.T) {
	up := filepath.Join(*testbin, "up")
	if _, err := os.Stat(up); err != nil || os.Getenv(inCluster) != "" || testing.Short() {
		t.Skip("boots clusters, outside, and needs `make testbin`")
	}
	for _, c := range []struct {
		name string
		args []string
		want int
	}{
		{"the command's own code", []string{"--", "sh", "-c", "exit 5"}, 5},
		{"a command that is not there", []string{"--", "/no/such/program"}, 1},
		{"an unknown flag", []string{"--no-such-flag"}, 2},
		{"nothing to run and nowhere to stay", nil, 2},
		{"an image map that is not there", []string{"--images", "/no/such/file", "--", "true"}, 1},
		{"a folder that is somebody else's", []string{"--dir", ".", "--", "true"}, 1},
		{"a cluster that cannot boot", []string{"--apiserver-flag=--no-such-flag", "--", "true"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), up, c.args...).CombinedOutput()
			code := 0
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				code = exit.ExitCode()
			} else if err != nil {
				t.Fatal(err)
			}
			if code == 77 {
				t.Skip(string(out))
			}
			if code != c.want {
				t.Errorf("exit code %d, want %d; output:\n%s", code, c.want, out)
			}
		})
	}
}

// inside skips a test of the second run in the first.
func inside(t *testing.T) {
	t.Helper()
	if os.Getenv(inCluster) == "" {
		t.Skip("TestCluster runs this inside a cluster")
	}
}

// kubectl runs it and fails the test if it fails.
func kubectl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := tryKubectl(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func tryKubectl(ctx context.Context, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// namespace makes one for the test and applies a file of testdata in it.
func namespace(t *testing.T, file string) string {
	t.Helper()
	name := strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))
	kubectl(t, "create", "namespace", name)
	// Pods are refused while this is not there.
	eventually(t, "the namespace's service account", func() error {
		_, err := tryKubectl(t.Context(), "-n", name, "get", "serviceaccount", "default")
		return err
	})
	kubectl(t, "-n", name, "apply", "-f", filepath.Join("testdata", file))
	return name
}

// eventually waits for what has no watch of its own here.
func eventually(t *testing.T, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// jsonpath returns one value of one object.
func jsonpath(t *testing.T, ns, object, path string) string {
	t.Helper()
	return kubectl(t, "-n", ns, "get", object, "-o", "jsonpath="+path)
}

// becomes waits until a value of an object is the wanted one.
func becomes(t *testing.T, ns, object, path, want string) {
	t.Helper()
	eventually(t, object+" "+path, func() error {
		got, err := tryKubectl(t.Context(), "-n", ns, "get", object, "-o", "jsonpath="+path)
		if err == nil && got != want {
			err = fmt.Errorf("is %q, want %q", got, want)
		}
		return err
	})
}

// fresh makes a connection per request, so that each is balanced anew.
var fresh = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}

func get(url string) (string, error) {
	resp, err := fresh.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}

func mustGet(t *testing.T, url string) string {
	t.Helper()
	body, err := get(url)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// rollout waits until a Deployment is as it should be.
func rollout(t *testing.T, ns, name string) {
	t.Helper()
	kubectl(t, "-n", ns, "rollout", "status", "deployment/"+name, "--timeout="+patience.String())
}

// interrupt ends a kubectl that follows.
func interrupt(cmd *exec.Cmd) error { return cmd.Process.Signal(syscall.SIGTERM) }

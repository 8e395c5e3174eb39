package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/app"
	"crossfade.dev/test/port"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gateway is a running `crossfade up`.
type gateway struct {
	dir    string // of the manifests it runs from, the test's own copy
	port   string // that stands for 8080 of the manifests
	admin  string
	client *http.Client
}

// start runs the gateway from a copy of the manifests in from, on free ports, and
// stops it when the test ends. Every goroutine has to be gone by then (TestMain).
func start(t testing.TB, from string, change ...func(*app.Config)) *gateway {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no manifests in %s: %v", from, err)
	}
	texts := map[string]string{}
	for _, f := range files {
		texts[filepath.Base(f)] = read(t, f)
	}
	return startFiles(t, texts, change...)
}

// startFiles does the same with manifests by name.
func startFiles(t testing.TB, files map[string]string, change ...func(*app.Config)) *gateway {
	t.Helper()
	g := newGateway(t, files)
	cfg := app.Defaults()
	cfg.Paths, cfg.Admin, cfg.SimSpeed, cfg.Drain, cfg.HoldOff = []string{g.dir}, g.admin, 100, 10*time.Second, time.Millisecond
	cfg.Log = slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
	for _, c := range change {
		c(&cfg)
	}
	up, err := app.NewUp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	up.OnReady = func() { close(ready) }
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- up.Run(ctx) }()
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Errorf("stopping the gateway: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatalf("the gateway did not start: %v", err)
	}
	return g
}

// newGateway writes the manifests of a gateway, which is yet to be started.
func newGateway(t testing.TB, files map[string]string) *gateway {
	t.Helper()
	g := &gateway{dir: t.TempDir(), port: port.Free(t), admin: port.Address(t)}
	for name, text := range files {
		g.write(t, name, text)
	}
	g.client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(g.client.CloseIdleConnections)
	return g
}

// write puts one manifest into the gateway's folder by rename, as editors do, so
// that it is never seen half-written.
func (g *gateway) write(t testing.TB, name, text string) {
	t.Helper()
	text = strings.ReplaceAll(text, "port: 8080", "port: "+g.port)
	path := filepath.Join(g.dir, name)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func (g *gateway) url(path string) string { return "http://127.0.0.1:" + g.port + path }

// answer is what the tests look at in a chat completion or an error.
type answer struct {
	status  int
	Model   string
	Choices []struct {
		Message struct{ Content string }
	}
	Error struct{ Message, Code string }
}

func (a answer) text() string {
	if len(a.Choices) == 0 {
		return ""
	}
	return a.Choices[0].Message.Content
}

// chat sends the guide's curl for a model and a question.
func (g *gateway) chat(model, question string) (answer, error) {
	body, err := json.Marshal(map[string]any{
		"model":       model,
		"temperature": 0,
		"messages":    []map[string]string{{"role": "user", "content": question}},
	})
	if err != nil {
		return answer{}, err
	}
	resp, err := g.client.Post(g.url("/v1/chat/completions"), "application/json", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil {
		return a, fmt.Errorf("%w in %q", err, text)
	}
	return a, nil
}

// status returns the admin server's status page.
func (g *gateway) adminGet(t testing.TB, path string) string {
	t.Helper()
	resp, err := g.client.Get("http://" + g.admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func read(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// testWriter shows the gateway's log with the test that caused it.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// Package clients drives the gateway with the official OpenAI clients, for Go in
// this process and for Node in one of its own.
package clients

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/app"
	"crossfade.dev/test/port"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

// start runs the gray-release example on free ports and returns the base URL of
// its OpenAI API and the admin URL.
func start(t *testing.T) (base, admin string) {
	t.Helper()
	chat, adminAddress := port.Free(t), port.Address(t)
	dir := t.TempDir()
	files, err := filepath.Glob("../../examples/gray-release/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no example: %v", err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		moved := strings.ReplaceAll(string(text), "port: 8080", "port: "+chat)
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), []byte(moved), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg := app.Defaults()
	cfg.Paths, cfg.Admin, cfg.SimSpeed, cfg.Drain = []string{dir}, adminAddress, 10, 10*time.Second
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
		stop()
		if err := <-done; err != nil {
			t.Errorf("stopping the gateway: %v", err)
		}
	})
	<-ready
	return "http://127.0.0.1:" + chat + "/v1", "http://" + adminAddress
}

func ask(model string, maxTokens int64) openai.ChatCompletionNewParams {
	p := openai.ChatCompletionNewParams{
		Model:    model,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Who are you?")},
	}
	if maxTokens > 0 {
		p.MaxTokens = openai.Int(maxTokens)
	}
	return p
}

func TestGoClient(t *testing.T) {
	base, admin := start(t)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	client := openai.NewClient(option.WithBaseURL(base), option.WithAPIKey("none"), option.WithMaxRetries(0),
		option.WithHTTPClient(&http.Client{Transport: transport}))

	t.Run("chat", func(t *testing.T) {
		got, err := client.Chat.Completions.New(t.Context(), ask("mymodel", 0))
		if err != nil {
			t.Fatal(err)
		}
		if got.Model != "mymodel" || got.Choices[0].FinishReason != "stop" || got.Usage.CompletionTokens == 0 {
			t.Errorf("model %q, finish %q, usage %+v", got.Model, got.Choices[0].FinishReason, got.Usage)
		}
	})
	t.Run("stream with usage", func(t *testing.T) {
		p := ask("travelhelper", 0)
		p.StreamOptions.IncludeUsage = openai.Bool(true)
		stream := client.Chat.Completions.NewStreaming(t.Context(), p)
		var all openai.ChatCompletionAccumulator
		chunks := 0
		for stream.Next() {
			all.AddChunk(stream.Current())
			chunks++
		}
		if err := stream.Err(); err != nil {
			t.Fatal(err)
		}
		if chunks < 10 || all.Usage.CompletionTokens == 0 || !strings.HasPrefix(all.Model, "travel-helper-v") {
			t.Errorf("%d chunks, usage %+v, model %q", chunks, all.Usage, all.Model)
		}
	})
	t.Run("models", func(t *testing.T) {
		page, err := client.Models.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range page.Data {
			names = append(names, m.ID)
		}
		if got := strings.Join(names, " "); got != "mymodel travel-helper-v1 travel-helper-v2 travelhelper" {
			t.Errorf("models %s", got)
		}
	})
	t.Run("unknown model", func(t *testing.T) {
		_, err := client.Chat.Completions.New(t.Context(), ask("nobody", 0))
		var failure *openai.Error
		if !errors.As(err, &failure) || failure.StatusCode != 404 || failure.Code != "model_not_found" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled stream", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		stream := client.Chat.Completions.NewStreaming(ctx, ask("mymodel", 4000), option.WithJSONSet("ignore_eos", true))
		if !stream.Next() {
			t.Fatal(stream.Err())
		}
		cancel()
		for stream.Next() {
		}
		if err := stream.Err(); !errors.Is(err, context.Canceled) {
			t.Errorf("the client says %v", err)
		}
		waitAborted(t, admin, 1)
	})
}

func TestNodeClient(t *testing.T) {
	base, admin := start(t)
	install := exec.Command("npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent")
	install.Dir = "node"
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm install: %v\n%s", err, out)
	}
	script := exec.Command("node", "--test", "client.test.mjs")
	script.Dir = "node"
	script.Env = append(os.Environ(), "BASE_URL="+base)
	if out, err := script.CombinedOutput(); err != nil {
		t.Fatalf("node: %v\n%s", err, out)
	}
	waitAborted(t, admin, 1)
}

// waitAborted waits until want requests have left the simulated engines before
// their end: a request whose client went away must leave its engine at once. None
// of the other requests of these tests counts as aborted, however long we wait.
func waitAborted(t *testing.T, admin string, want int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); aborted(t, admin) < want; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the engines aborted %d requests, want %d", aborted(t, admin), want)
		}
	}
}

// abortedSample is what vLLM counts of requests whose client left.
var abortedSample = regexp.MustCompile(`(?m)^vllm:request_success_total\{.*finished_reason="abort".*\} ([0-9.]+)$`)

// aborted is how many requests the engines behind the gateway have given up.
func aborted(t *testing.T, admin string) int {
	t.Helper()
	var view struct {
		Pools []struct {
			Endpoints []struct{ Address string }
		}
	}
	if err := json.Unmarshal([]byte(get(t, admin+"/status")), &view); err != nil {
		t.Fatal(err)
	}
	total := 0.0
	for _, p := range view.Pools {
		for _, e := range p.Endpoints {
			for _, sample := range abortedSample.FindAllStringSubmatch(get(t, "http://"+e.Address+"/metrics"), -1) {
				n, err := strconv.ParseFloat(sample[1], 64)
				if err != nil {
					t.Fatal(err)
				}
				total += n
			}
		}
	}
	return int(total)
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

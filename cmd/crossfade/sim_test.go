package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestSimFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want string // of the error; empty for none
	}{
		{"", "no model"},
		{"--model m --speed 0", "--speed 0: want a number above 0"},
		{"--model m --profile tpu", "use one of 7b-a10, 32b-2xh100"},
		{"--model m --lora a", "want name=path"},
		{"--model m -- vllm serve m", "belong into the command"},
		{"-- nginx", "no server that can be imitated"},
		{"-- vllm serve m --port x", "--port x"},
		{"--model m --listen nowhere", "listen"},
	} {
		cmd := newSimCommand()
		cmd.SilenceUsage, cmd.SilenceErrors = true, true
		cmd.SetArgs(strings.Fields(c.args))
		if err := cmd.Execute(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("sim %s: error %v, want %q", c.args, err, c.want)
		}
	}
}

func TestWithPort(t *testing.T) {
	for address, want := range map[string]string{
		"0.0.0.0:": "0.0.0.0:8001", ":": ":8001", "[::]:": "[::]:8001", "127.0.0.1:0": "127.0.0.1:0", "nowhere": "nowhere",
	} {
		if got := withPort(address, 8001); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// TestSimReadsContainers reads commands as a pod's container gives them.
func TestSimReadsContainers(t *testing.T) {
	for _, args := range [][]string{
		{"sh", "-c", "exec vllm serve /models/x --served-model-name mymodel --port 8001"},
		{"vllm", "serve", "/models/x", "--served-model-name", "mymodel", "--port", "8001"},
		{"--model", "/models/x", "--served-model-name", "mymodel", "--port", "8001"}, // an image that starts vLLM itself
	} {
		cfg, err := simFlags{speed: 1, profile: "7b-a10"}.config(args)
		if err != nil {
			t.Errorf("%q: %v", args, err)
		} else if cfg.Model != "/models/x" || cfg.Port != 8001 || len(cfg.ServedNames) != 1 || cfg.ServedNames[0] != "mymodel" {
			t.Errorf("%q: read as %+v", args, cfg)
		}
	}
}

// TestSimServes does what the banner tells a person to do.
func TestSimServes(t *testing.T) {
	out, in := io.Pipe()
	cmd := newSimCommand()
	cmd.SetOut(in)
	cmd.SetArgs(strings.Fields("--listen 127.0.0.1:0 --speed +Inf -- vllm serve /models/Qwen-2.5-7B-Instruct --served-model-name mymodel"))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		err := cmd.ExecuteContext(ctx)
		_ = in.CloseWithError(err)
		ended <- err
	}()
	lines := bufio.NewReader(out)
	banner, err := lines.ReadString('\n')
	if err != nil || !strings.Contains(banner, "SIMULATED") {
		t.Fatalf("the banner does not say what this is: %q, error %v", banner, err)
	}
	try, err := lines.ReadString('\n')
	found := regexp.MustCompile(`curl (\S+) -H '[^:]+: ([^']+)' -d '([^']+)'`).FindStringSubmatch(try)
	if err != nil || found == nil {
		t.Fatalf("no command to try: %q, error %v", try, err)
	}
	resp, err := http.Post(found[1], found[2], strings.NewReader(found[3]))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil || !strings.Contains(string(body), "I am Qwen-2.5-7B-Instruct") {
		t.Errorf("answer %s, error %v", body, err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("after stop: %v", err)
	}
}

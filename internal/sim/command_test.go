package sim

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseCommand(t *testing.T) {
	guide := Config{
		Model:       "/models/Qwen-2.5-7B-Instruct",
		ServedNames: []string{"mymodel"},
		Adapters: []Adapter{
			{Name: "travel-helper-v1", Path: "/models/Qwen-TravelHelper-Lora"},
			{Name: "travel-helper-v2", Path: "/models/Qwen-TravelHelper-Lora-v2"},
		},
		Port: 8000, EnableLoRA: true,
		Limits: Limits{MaxModelLen: 8192, Utilization: 0.95, MaxLoRAs: 2, MaxCPULoRAs: 4},
	}
	plain := func(model string) Config { return Config{Model: model, Port: 8000} }
	for _, c := range []struct {
		name    string
		command []string
		args    []string
		want    Config
	}{
		{"the guide", []string{"sh", "-c", "vllm serve /models/Qwen-2.5-7B-Instruct --port 8000 --trust-remote-code --served-model-name mymodel --max-model-len 8192 --gpu-memory-utilization 0.95 --enforce-eager --enable-lora --max-loras 2 --max-cpu-loras 4 --lora-modules travel-helper-v1=/models/Qwen-TravelHelper-Lora travel-helper-v2=/models/Qwen-TravelHelper-Lora-v2"}, nil, guide},
		{"words", []string{"vllm", "serve"}, []string{"/m"}, plain("/m")},
		{"path of the binary", []string{"/opt/venv/bin/vllm"}, []string{"serve", "/m"}, plain("/m")},
		{"python module", []string{"python3", "-u", "-m", "vllm.entrypoints.openai.api_server"}, []string{"--model", "org/m", "--port=9000"}, Config{Model: "org/m", Port: 9000}},
		{"arguments of an image", nil, []string{"--model=org/m", "--max-num-seqs", "7"}, Config{Model: "org/m", Port: 8000, Limits: Limits{MaxNumSeqs: 7}}},
		{"arguments of a newer image", nil, []string{"org/m", "--tensor-parallel-size", "2"}, plain("org/m")},
		{"wrappers", []string{"tini", "--", "env", "A=b"}, []string{"vllm", "serve", "/m"}, plain("/m")},
		{"script", []string{"/bin/bash", "-lc"}, []string{"set -e # start\ncd /x && export HF_HOME='/a b';\nA=1 exec vllm serve \\\n  \"/models/with space\" --port 81 2>&1 | tee log; wait"}, Config{Model: "/models/with space", Port: 81}},
		{"model after a switch", []string{"vllm", "serve", "--trust-remote-code", "/m", "--dtype", "half"}, nil, plain("/m")},
		{"model last", []string{"vllm", "serve", "--dtype", "half", "/m"}, nil, plain("/m")},
		{"unknown flags", []string{"vllm", "serve", "/m", "-tp", "4", "--kv-transfer-config", `{"a":"b"}`, "--no-such"}, nil, plain("/m")},
		{"underscores and units", []string{"vllm", "serve", "/m", "--max_model_len", "8k", "--max-num-batched-tokens=2K"}, nil, Config{Model: "/m", Port: 8000, Limits: Limits{MaxModelLen: 8000, MaxBatchedTokens: 2048}}},
		{"several names", []string{"vllm", "serve", "/m", "--served-model-name", "a", "b", "--seed", "3"}, nil, Config{Model: "/m", ServedNames: []string{"a", "b"}, Port: 8000, Seed: 3}},
		{"adapters in JSON", []string{"vllm", "serve", "/m", "--enable-lora", "--lora-modules", `{"name":"x","path":"/x","base_model_name":"b"}`, "y=/y"}, nil,
			Config{Model: "/m", Port: 8000, EnableLoRA: true, Adapters: []Adapter{{"x", "/x", "b"}, {Name: "y", Path: "/y"}}}},
		{"cache", []string{"vllm", "serve", "/m", "--no-enable-prefix-caching", "--block-size", "32", "--num-gpu-blocks-override", "2000"}, nil,
			Config{Model: "/m", Port: 8000, Limits: Limits{BlockSize: 32, Blocks: 2000, NoPrefixCaching: true}}},
		{"the last one counts", []string{"vllm", "serve", "/m", "--port", "1", "--port", "2"}, nil, Config{Model: "/m", Port: 2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok, err := ParseCommand(c.command, c.args)
			if err != nil || !ok {
				t.Fatalf("ok %v, error %v", ok, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseCommandIsNoServer(t *testing.T) {
	for _, argv := range [][]string{
		nil, {"nginx"}, {"sh"}, {"sh", "-c"}, {"sh", "-c", "sleep 1"}, {"vllm", "bench", "x"}, {"vllm"},
		{"python", "-m", "sglang.launch_server", "--model-path", "/m"}, {"sh", "-c", "echo vllm serve /m"},
		{"sh", "-c", "# vllm serve /m"},
	} {
		if _, ok, err := ParseCommand(argv, nil); ok || err != nil {
			t.Errorf("%q: ok %v, error %v; want neither", argv, ok, err)
		}
	}
	if _, ok, _ := ParseCommand([]string{"nginx"}, []string{"--model", "x"}); ok {
		t.Error("a --model of some other program was taken for a model server")
	}
}

func TestParseCommandErrors(t *testing.T) {
	for args, want := range map[string]string{
		"":                                   "no model",
		"/m --port x":                        "--port x: want a whole number",
		"/m --port 70000":                    "--port 70000: want 1 to 65535",
		"/m --port":                          "--port needs a value",
		"/m --max-model-len 0":               "whole number",
		"/m --max-model-len 1.5":             "whole number",
		"/m --max-model-len 1e99":            "whole number",
		"/m --lora-modules a":                `adapter "a": want name=path`,
		"/m --lora-modules a=/x a=/y":        "named twice",
		"/m --lora-modules {}":               "want name and path",
		"/m --gpu-memory-utilization 2":      "at most 1",
		"/m --max-loras 3 --max-cpu-loras 2": "less than --max-loras",
		"$MODEL --port 1":                    "variables are not expanded",
		"/m --served-model-name ${NAME:-x}":  "variables are not expanded",
		"/m --num-gpu-blocks-override 10":    "does not fit",
		"/m --max-model-len 64 --num-gpu-blocks-override 3": "--max-model-len 64 does not fit into --num-gpu-blocks-override 3",
	} {
		_, ok, err := ParseCommand([]string{"vllm", "serve"}, strings.Fields(args))
		if !ok || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: ok %v, error %v; want %q", args, ok, err, want)
		}
	}
}

func TestSplitScript(t *testing.T) {
	for script, want := range map[string][][]string{
		`a b`:                   {{"a", "b"}},
		`a "b c" 'd "e'`:        {{"a", "b c", `d "e`}},
		`a "" ''`:               {{"a", "", ""}},
		`a\ b c\"d "e\"f\g"`:    {{"a b", `c"d`, `e"f\g`}},
		"a \\\n b":              {{"a", "b"}},
		"a # no\nb#c":           {{"a"}, {"b#c"}},
		`a&&b||c;d|e&f`:         {{"a"}, {"b"}, {"c"}, {"d"}, {"e"}, {"f"}},
		`a >out 2>&1 <in b`:     {{"a", "b"}},
		`a2>x`:                  {{"a2"}},
		`a $(b c) ${d:-e f} $g`: {{"a", "$(b c)", "${d:-e f}", "$g"}},
		`(a; b)`:                {{"a"}, {"b"}},
		`a 'b`:                  {{"a", "b"}},
		``:                      nil,
	} {
		if diff := cmp.Diff(want, splitScript(script)); diff != "" {
			t.Errorf("%q: %s", script, diff)
		}
	}
}

func FuzzParseCommand(f *testing.F) {
	f.Add("vllm serve /m --port 80 --lora-modules a=b")
	f.Add("A=b exec vllm serve \"x y\" --max-model-len 8k 2>&1 | tee $(date)")
	f.Add("vllm serve '")
	f.Fuzz(func(t *testing.T, script string) {
		cfg, ok, err := ParseCommand([]string{"sh", "-c", script}, nil)
		if !ok || err != nil {
			return
		}
		full := cfg.withDefaults()
		if full.Model == "" || len(full.Models()) == 0 || full.check() != nil {
			t.Errorf("accepted %q as %+v", script, full)
		}
		if l := full.Limits; l.Blocks*l.BlockSize < l.MaxModelLen || l.MaxNumSeqs > l.MaxBatchedTokens {
			t.Errorf("%q gives an engine that cannot finish: %+v", script, l)
		}
	})
}

func TestDefaults(t *testing.T) {
	c := Config{Model: "/models/m/"}.withDefaults()
	want := Limits{MaxModelLen: 32768, MaxNumSeqs: 256, MaxBatchedTokens: 2048, BlockSize: 16, Blocks: 5000, Utilization: 0.9}
	if c.Limits != want || c.Speaker() != "m" || c.Port != 8000 {
		t.Errorf("got %+v, speaker %q, port %d", c.Limits, c.Speaker(), c.Port)
	}
	c = Config{Model: "m", Limits: Limits{Utilization: 0.95}, EnableLoRA: true}.withDefaults()
	if c.Limits.Blocks != 6290 && c.Limits.Blocks != 6291 || c.Limits.MaxLoRAs != 1 {
		t.Errorf("got %+v, want 100,600 tokens of cache and one slot", c.Limits)
	}
}

func TestModels(t *testing.T) {
	c := Config{Model: "/m", Adapters: []Adapter{{Name: "a"}}}
	if diff := cmp.Diff([]string{"/m"}, c.Models()); diff != "" {
		t.Error(diff)
	}
	c.EnableLoRA, c.ServedNames = true, []string{"x", "y"}
	if diff := cmp.Diff([]string{"x", "y", "a"}, c.Models()); diff != "" {
		t.Error(diff)
	}
}

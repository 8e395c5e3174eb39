package sim

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// ParseCommand reads a container's command and arguments. It knows
//
//   - vllm serve MODEL ..., also behind wrappers (exec, env A=b, tini --, nohup)
//   - python3 -m vllm.entrypoints.openai.api_server --model MODEL ...
//   - either of them in a script of sh -c
//   - arguments alone, for images whose entry point is vLLM: they name a --model,
//     or hold a flag that only vLLM has
//
// and reports false for anything else, which is then no model server that can
// be imitated. Flags that the simulator does not use are ignored. The error is
// one that vLLM itself would stop at: a bad value, or no model. Shell variables
// are not expanded, so a model given as one is an error too. What the command
// line leaves open stays zero in the Config, except the port: a Profile chosen
// afterwards fills it.
func ParseCommand(command, args []string) (Config, bool, error) {
	argv := append(slices.Clone(command), args...)
	flags, ok := findServer(argv)
	if !ok && len(command) == 0 && looksLikeVLLM(args) {
		flags, ok = args, true
	}
	if !ok {
		return Config{}, false, nil
	}
	cfg, err := parseFlags(flags)
	if err != nil {
		return Config{}, true, fmt.Errorf("read vLLM command line: %w", err)
	}
	return cfg, true, nil
}

// findServer returns the arguments of the vLLM server that argv starts, directly
// or through a shell.
func findServer(argv []string) (flags []string, ok bool) {
	if script, ok := shellScript(argv); ok {
		for _, simple := range splitScript(script) {
			if flags, ok := serverArgs(simple); ok {
				return flags, true
			}
		}
		return nil, false
	}
	return serverArgs(argv)
}

// shellScript returns the argument of -c when argv is a shell. Options may be
// joined, as in -lc, and -c need not come first.
func shellScript(argv []string) (string, bool) {
	if len(argv) == 0 || !slices.Contains([]string{"sh", "bash", "dash", "ash", "zsh", "busybox"}, path.Base(argv[0])) {
		return "", false
	}
	for i, a := range argv[1:] {
		if strings.HasPrefix(a, "-") && !strings.HasPrefix(a, "--") && strings.Contains(a, "c") {
			if i+2 < len(argv) {
				return argv[i+2], true
			}
			return "", false
		}
	}
	return "", false
}

// serverArgs finds the server in one simple command. Wrappers before it are
// many (exec, env, nohup, tini, numactl) and end in the server's own words, so
// those are looked for wherever they stand.
func serverArgs(argv []string) ([]string, bool) {
	if len(argv) > 0 && (argv[0] == "echo" || argv[0] == "printf") {
		return nil, false
	}
	for i := 0; i+1 < len(argv); i++ {
		switch {
		case path.Base(argv[i]) == "vllm" && argv[i+1] == "serve":
			return argv[i+2:], true
		case argv[i] == "-m" && argv[i+1] == "vllm.entrypoints.openai.api_server":
			return argv[i+2:], true
		case argv[i] == "-m" && strings.HasPrefix(argv[i+1], "vllm.entrypoints.cli") && i+2 < len(argv) && argv[i+2] == "serve":
			return argv[i+3:], true
		}
	}
	return nil, false
}

// looksLikeVLLM judges arguments that come without a command.
func looksLikeVLLM(args []string) bool {
	return slices.ContainsFunc(args, func(arg string) bool {
		name, _, _ := strings.Cut(arg, "=")
		return slices.Contains([]string{"--model", "--served-model-name", "--max-model-len", "--max-num-seqs",
			"--gpu-memory-utilization", "--tensor-parallel-size", "--enable-lora", "--lora-modules"}, name)
	})
}

package sim

import (
	"fmt"
	"path"
	"strings"
)

// Config says which model server to imitate. The zero value of every field but
// Model has a default, so Config{Model: "/models/x"} is complete.
type Config struct {
	Model       string    // path or repository name of the base model
	ServedNames []string  // names a client may ask for; empty means Model. The first labels the metrics
	Adapters    []Adapter // LoRA adapters present from the start
	Port        int       // port of the command line, 8000 when it names none; Server does not use it
	EnableLoRA  bool      // adapters may be asked for and loaded
	Limits      Limits
	Profile     Profile // zero means Profile7B
	Seed        uint64  // of the command line; mixed with Options.Seed
}

// Adapter is one LoRA adapter of the server.
type Adapter struct {
	Name   string // what a client asks for
	Path   string
	Parent string // base model it says it belongs to; empty means the first served name
}

// Limits are the engine's sizes, named as vLLM's flags. Zero means the
// profile's (or vLLM's) default.
type Limits struct {
	MaxModelLen      int     // prompt and answer together, tokens
	MaxNumSeqs       int     // sequences in one batch
	MaxBatchedTokens int     // tokens computed in one step
	BlockSize        int     // tokens per KV block; 16
	Blocks           int     // KV blocks; derived from Utilization
	Utilization      float64 // share of accelerator memory vLLM may use; 0.9
	MaxLoRAs         int     // adapter slots; 1 when LoRA is enabled
	MaxCPULoRAs      int     // read and shown, not modelled
	NoPrefixCaching  bool
}

// Models lists the names GET /v1/models reports at the start: served names,
// then adapters.
func (c Config) Models() []string {
	names := append([]string(nil), c.servedNames()...)
	if c.EnableLoRA {
		for _, a := range c.Adapters {
			names = append(names, a.Name)
		}
	}
	return names
}

// Speaker is the name by which the base model introduces itself: the last
// element of its path.
func (c Config) Speaker() string {
	return path.Base(strings.TrimRight(c.Model, "/"))
}

func (c Config) servedNames() []string {
	if len(c.ServedNames) > 0 {
		return c.ServedNames
	}
	return []string{c.Model}
}

// withDefaults fills what is zero and bends what contradicts itself: the KV
// cache grows until it holds one sequence of MaxModelLen, where vLLM would
// refuse to start, because an engine without that never finishes some requests.
func (c Config) withDefaults() Config {
	if c.Model == "" {
		c.Model = "simulated-model"
	}
	if c.Profile.Name == "" {
		c.Profile = Profile7B()
	}
	c.ServedNames = c.servedNames()
	l := &c.Limits
	orElse(&c.Port, 8000)
	orElse(&l.MaxModelLen, c.Profile.MaxModelLen)
	orElse(&l.MaxNumSeqs, c.Profile.MaxNumSeqs)
	orElse(&l.MaxBatchedTokens, c.Profile.MaxBatchedTokens)
	orElse(&l.BlockSize, 16)
	orElse(&l.Utilization, referenceUtilization)
	orElse(&l.Blocks, c.Profile.kvTokens(l.Utilization)/l.BlockSize)
	if !c.EnableLoRA {
		l.MaxLoRAs = 0
	} else {
		orElse(&l.MaxLoRAs, 1)
		orElse(&l.MaxCPULoRAs, l.MaxLoRAs)
	}
	l.Blocks = max(l.Blocks, ceilDiv(l.MaxModelLen, l.BlockSize))
	l.MaxNumSeqs = min(l.MaxNumSeqs, l.MaxBatchedTokens)
	return c
}

// check reports what vLLM would refuse to start with.
func (c Config) check() error {
	l := c.Limits
	for _, f := range []struct {
		flag  string
		value int
	}{
		{"--max-model-len", l.MaxModelLen}, {"--max-num-seqs", l.MaxNumSeqs},
		{"--max-num-batched-tokens", l.MaxBatchedTokens}, {"--block-size", l.BlockSize},
		{"--num-gpu-blocks-override", l.Blocks}, {"--max-loras", l.MaxLoRAs}, {"--max-cpu-loras", l.MaxCPULoRAs},
	} {
		if f.value < 0 || f.value > maxFlag {
			return fmt.Errorf("%s %d: want 1 to %d", f.flag, f.value, maxFlag)
		}
	}
	switch {
	case c.Port < 0 || c.Port > 65535:
		return fmt.Errorf("--port %d: want 1 to 65535", c.Port)
	case l.Utilization < 0 || l.Utilization > 1:
		return fmt.Errorf("--gpu-memory-utilization %g: want more than 0, at most 1", l.Utilization)
	case l.MaxCPULoRAs > 0 && l.MaxCPULoRAs < l.MaxLoRAs:
		return fmt.Errorf("--max-cpu-loras %d is less than --max-loras %d", l.MaxCPULoRAs, l.MaxLoRAs)
	}
	return nil
}

// maxFlag bounds every size a command line may name, so that no manifest can
// make the process allocate without limit.
const maxFlag = 1 << 24

func orElse[T int | float64](v *T, def T) {
	if *v == 0 {
		*v = def
	}
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

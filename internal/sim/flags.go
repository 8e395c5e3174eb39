package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// parseFlags reads the arguments of a vLLM server. As with vLLM, a flag given
// twice counts the second time, and _ in a flag's name is the same as -.
func parseFlags(args []string) (Config, error) {
	var p flagParser
	for p.args = args; len(p.args) > 0; {
		if err := p.next(); err != nil {
			return Config{}, err
		}
	}
	cfg := p.cfg
	if cfg.Model == "" {
		cfg.Model = p.positional()
	}
	if cfg.Model == "" {
		return Config{}, errors.New("no model: give its path after `serve` or with --model")
	}
	for _, name := range append([]string{cfg.Model}, cfg.ServedNames...) {
		if strings.Contains(name, "$") {
			return Config{}, fmt.Errorf("model %s: variables are not expanded, write the name out", name)
		}
	}
	if err := cfg.check(); err != nil {
		return Config{}, err
	}
	full := cfg.withDefaults()
	if blocks := cfg.Limits.Blocks; blocks > 0 && blocks < full.Limits.Blocks {
		return Config{}, fmt.Errorf("--max-model-len %d does not fit into --num-gpu-blocks-override %d",
			full.Limits.MaxModelLen, blocks)
	}
	cfg.Port = full.Port
	return cfg, nil
}

type flagParser struct {
	args  []string
	cfg   Config
	loose []string // words that no known flag claims: the model, or values of unknown flags
	sure  string   // the one that is certainly the model
	any   bool     // something came before
	bare  bool     // the word before was a flag without a value
}

// next consumes one flag with its values, or one loose word.
func (p *flagParser) next() error {
	word := p.args[0]
	p.args = p.args[1:]
	first := !p.any
	p.any = true
	if !strings.HasPrefix(word, "-") || word == "-" {
		if first || p.bare {
			p.sure = word
		}
		p.loose, p.bare = append(p.loose, word), false
		return nil
	}
	name, value, joined := strings.Cut(word, "=")
	name = strings.ReplaceAll(strings.TrimLeft(name, "-"), "_", "-")
	p.bare = !joined && isSwitch(name)
	if p.bare {
		p.turn(name)
		return nil
	}
	values := []string{value}
	if !joined {
		values = p.values(name)
	}
	if len(values) == 0 {
		return fmt.Errorf("--%s needs a value", name)
	}
	if err := p.set(name, values); err != nil {
		return fmt.Errorf("--%s %s: %w", name, strings.Join(values, " "), err)
	}
	return nil
}

// values takes the words after a flag that belong to it. Unknown flags get none
// here: their value, if any, becomes a loose word.
func (p *flagParser) values(name string) []string {
	n := 0
	limit := 1
	switch {
	case name == "served-model-name" || name == "lora-modules":
		limit = len(p.args)
	case !isKnown(name):
		return []string{""}
	}
	for n < limit && n < len(p.args) && !strings.HasPrefix(p.args[n], "-") {
		n++
	}
	values := p.args[:n]
	p.args = p.args[n:]
	return values
}

// positional guesses the model among the loose words: the one right after
// `serve` or after a flag without a value, else the last one.
func (p *flagParser) positional() string {
	if p.sure != "" || len(p.loose) == 0 {
		return p.sure
	}
	return p.loose[len(p.loose)-1]
}

// isSwitch tells the flags that take no value, known to us or not.
func isSwitch(name string) bool {
	for _, prefix := range []string{"enable-", "disable-", "no-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains([]string{"trust-remote-code", "enforce-eager", "async-scheduling",
		"skip-tokenizer-init", "allow-credentials", "fully-sharded-loras", "use-v2-block-manager"}, name)
}

func isKnown(name string) bool {
	return slices.Contains([]string{"model", "port", "max-model-len", "max-num-seqs", "max-num-batched-tokens",
		"block-size", "num-gpu-blocks-override", "gpu-memory-utilization", "max-loras", "max-cpu-loras", "seed",
		"served-model-name", "lora-modules"}, name)
}

func (p *flagParser) turn(name string) {
	switch name {
	case "enable-lora":
		p.cfg.EnableLoRA = true
	case "no-enable-lora":
		p.cfg.EnableLoRA = false
	case "enable-prefix-caching":
		p.cfg.Limits.NoPrefixCaching = false
	case "no-enable-prefix-caching":
		p.cfg.Limits.NoPrefixCaching = true
	}
}

func (p *flagParser) set(name string, values []string) (err error) {
	value, l := values[0], &p.cfg.Limits
	switch name {
	case "model":
		p.cfg.Model = value
	case "served-model-name":
		p.cfg.ServedNames = slices.Clone(values)
	case "lora-modules":
		p.cfg.Adapters, err = parseAdapters(values)
	case "port":
		p.cfg.Port, err = positive(value)
	case "max-model-len":
		l.MaxModelLen, err = positive(value)
	case "max-num-seqs":
		l.MaxNumSeqs, err = positive(value)
	case "max-num-batched-tokens":
		l.MaxBatchedTokens, err = positive(value)
	case "block-size":
		l.BlockSize, err = positive(value)
	case "num-gpu-blocks-override":
		l.Blocks, err = positive(value)
	case "max-loras":
		l.MaxLoRAs, err = positive(value)
	case "max-cpu-loras":
		l.MaxCPULoRAs, err = positive(value)
	case "gpu-memory-utilization":
		if l.Utilization, err = strconv.ParseFloat(value, 64); err != nil || !(l.Utilization > 0 && l.Utilization <= 1) {
			return errors.New("want a number above 0, at most 1")
		}
	case "seed":
		if p.cfg.Seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			return errors.New("want a whole number")
		}
	}
	return err
}

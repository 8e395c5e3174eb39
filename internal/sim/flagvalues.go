package sim

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// positive reads a whole number above zero, also in vLLM's short forms: 8k is
// 8000 and 8K is 8192.
func positive(s string) (int, error) {
	units := map[byte]float64{'k': 1e3, 'K': 1 << 10, 'm': 1e6, 'M': 1 << 20}
	digits, unit := s, 1.0
	if n := len(s); n > 0 {
		if u, ok := units[s[n-1]]; ok {
			digits, unit = s[:n-1], u
		}
	}
	v, err := strconv.ParseFloat(digits, 64)
	v *= unit
	if err != nil || !(v >= 1 && v <= maxFlag) || v != math.Trunc(v) {
		return 0, fmt.Errorf("want a whole number from 1 to %d", maxFlag)
	}
	return int(v), nil
}

// parseAdapters reads the two forms of --lora-modules: name=path, and JSON with
// name, path and base_model_name.
func parseAdapters(values []string) ([]Adapter, error) {
	var out []Adapter
	for _, v := range values {
		a, err := parseAdapter(v)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(b Adapter) bool { return b.Name == a.Name }) {
			return nil, fmt.Errorf("adapter %q is named twice", a.Name)
		}
		out = append(out, a)
	}
	return out, nil
}

func parseAdapter(v string) (Adapter, error) {
	if !strings.HasPrefix(strings.TrimSpace(v), "{") {
		name, path, ok := strings.Cut(v, "=")
		if !ok || name == "" || path == "" {
			return Adapter{}, fmt.Errorf("adapter %q: want name=path", v)
		}
		return Adapter{Name: name, Path: path}, nil
	}
	var j struct {
		Name   string `json:"name"`
		Path   string `json:"path"`
		Parent string `json:"base_model_name"`
	}
	if err := json.Unmarshal([]byte(v), &j); err != nil {
		return Adapter{}, fmt.Errorf("adapter %s: %w", v, err)
	}
	if j.Name == "" || j.Path == "" {
		return Adapter{}, fmt.Errorf("adapter %s: want name and path", v)
	}
	return Adapter{Name: j.Name, Path: j.Path, Parent: j.Parent}, nil
}

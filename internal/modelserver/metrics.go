package modelserver

import (
	"bytes"
	"math"
	"strings"

	"crossfade.dev/internal/scheduling"
)

// dialect is how one engine names its metrics.
type dialect struct {
	prefix string // of all its names
	read   func(*reading, *sample)
}

// dialects are those known; the first one that says anything counts.
func dialects() [4]dialect {
	return [...]dialect{
		{"vllm:", readVLLM},
		{"sglang:", readSGLang},
		{"trtllm_", readTRTLLM},
		{"nv_trt_llm_", readTriton},
	}
}

// reading collects one engine's samples. A server may run several engines
// (data parallel ranks, several models), each with series of its own: counts
// are added up, fractions averaged.
type reading struct {
	known            bool // the number of requests was among the samples
	waiting, running float64
	usage, oldUsage  mean
	blockSize        int
	blocks           float64
	adapters         adapterSeries
}

type mean struct{ sum, n float64 }

func (m *mean) add(v float64) {
	if !math.IsNaN(v) {
		m.sum, m.n = m.sum+v, m.n+1
	}
}

// adapterSeries is the series with the latest state of LoRA adapters.
type adapterSeries struct {
	at               float64
	slots            int
	running, waiting string
}

// parseMetrics finds the metrics of the engine that speaks in text; ok is false
// when it is none we know. Metrics.At is left for the caller.
func parseMetrics(text []byte) (m scheduling.Metrics, ok bool) {
	known := dialects()
	var readings [len(known)]reading
	var s sample
	for len(text) > 0 {
		line := text
		if end := bytes.IndexByte(text, '\n'); end >= 0 {
			line, text = text[:end], text[end+1:]
		} else {
			text = nil
		}
		for i := range known {
			if d := &known[i]; len(line) > len(d.prefix) && string(line[:len(d.prefix)]) == d.prefix {
				s = splitSample(line)
				d.read(&readings[i], &s)
				break
			}
		}
	}
	for i := range readings {
		if readings[i].known {
			return readings[i].metrics(), true
		}
	}
	return scheduling.Metrics{}, false
}

func (r *reading) addWaiting(v float64) {
	r.waiting += float64(count(v))
	r.known = r.known || !math.IsNaN(v)
}

func (r *reading) addRunning(v float64) {
	r.running += float64(count(v))
	r.known = r.known || !math.IsNaN(v)
}

func (r *reading) metrics() scheduling.Metrics {
	usage := r.usage
	if usage.n == 0 {
		usage = r.oldUsage
	}
	return scheduling.Metrics{
		Waiting: count(r.waiting), Running: count(r.running), KVUsage: fraction(usage.sum / max(1, usage.n)),
		BlockSize: r.blockSize, Blocks: count(r.blocks), MaxAdapters: r.adapters.slots,
		ActiveAdapters: names(r.adapters.running), WaitAdapters: names(r.adapters.waiting),
	}
}

// names splits a list of adapters; engines differ in the space after a comma.
func names(list string) []string {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" {
			out = append(out, name)
		}
	}
	return out
}

// maxCount is more than any engine counts, and small enough to calculate with.
const maxCount = 1 << 30

// count turns a gauge into a count. An engine that says NaN, infinity or less
// than nothing says nothing.
func count(v float64) int {
	if !(v > 0 && v <= maxCount) {
		return 0
	}
	return int(v)
}

func fraction(v float64) float64 {
	if !(v > 0) {
		return 0
	}
	return min(v, 1)
}

package sim

import (
	"slices"
	"strings"
	"time"
)

// meters are what /metrics shows beyond the engine's own counters, under vLLM's
// names and buckets. They are guarded by the driver's mutex.
type meters struct {
	model    string // label model_name
	finished map[string]uint64

	ttft, itl, tpot                     *histogram
	e2e, queue, inference, prefill, dec *histogram
	promptTokens, outputTokens          *histogram
	maxTokens                           *histogram

	adapterUse []adapterUse // most recent last; empty until an adapter is asked for
}

// adapterUse is one series of vllm:lora_requests_info. vLLM makes a new series
// for every combination it meets and never removes one; readers must take the
// latest. We keep maxAdapterUse of them, so that they meet stale ones here too.
type adapterUse struct {
	running, waiting string // comma-separated
	at               float64
}

const maxAdapterUse = 8

// finishReasons are the values of the label finished_reason.
func finishReasons() []string { return []string{"stop", "length", "abort"} }

func newMeters(model string, maxModelLen int) *meters {
	latency := []float64{0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680}
	perToken := []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80}
	sizes := bounds125(maxModelLen)
	return &meters{
		model:    model,
		finished: make(map[string]uint64),
		ttft: newHistogram(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
			1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640, 2560),
		itl:          newHistogram(perToken...),
		tpot:         newHistogram(perToken...),
		e2e:          newHistogram(latency...),
		queue:        newHistogram(latency...),
		inference:    newHistogram(latency...),
		prefill:      newHistogram(latency...),
		dec:          newHistogram(latency...),
		promptTokens: newHistogram(sizes...),
		outputTokens: newHistogram(sizes...),
		maxTokens:    newHistogram(sizes...),
	}
}

// observe books one event; scale turns engine time into reported time.
func (m *meters) observe(ev Event, t task, scale float64) {
	seconds := func(d time.Duration) float64 { return d.Seconds() * scale }
	if t.work.Output > 0 {
		if ev.First {
			m.ttft.observe(seconds(ev.Gap))
		} else {
			m.itl.observe(seconds(ev.Gap))
		}
	}
	if !ev.Done {
		return
	}
	m.finished[t.finish]++
	m.e2e.observe(seconds(ev.Times.Total))
	m.queue.observe(seconds(ev.Times.Queued))
	m.inference.observe(seconds(ev.Times.Prefill + ev.Times.Decode))
	m.prefill.observe(seconds(ev.Times.Prefill))
	m.dec.observe(seconds(ev.Times.Decode))
	m.promptTokens.observe(float64(ev.Prompt))
	m.outputTokens.observe(float64(ev.Tokens))
	if t.maxTokens > 0 {
		m.maxTokens.observe(float64(t.maxTokens))
	}
	if ev.Tokens > 1 {
		m.tpot.observe(seconds(ev.Times.Decode) / float64(ev.Tokens-1))
	}
}

func (m *meters) aborted() { m.finished["abort"]++ }

// afterStep notes which adapters are in use, once any has been.
func (m *meters) afterStep(e *Engine, now time.Time) {
	if e.limits.MaxLoRAs == 0 {
		return
	}
	running, waiting := adaptersOf(e.running), adaptersOf(e.waiting)
	if len(running)+len(waiting)+len(m.adapterUse) == 0 {
		return
	}
	use := adapterUse{strings.Join(running, ","), strings.Join(waiting, ","), float64(now.UnixMicro()) / 1e6}
	m.adapterUse = slices.DeleteFunc(m.adapterUse, func(u adapterUse) bool {
		return u.running == use.running && u.waiting == use.waiting
	})
	m.adapterUse = append(m.adapterUse, use)
	if len(m.adapterUse) > maxAdapterUse {
		m.adapterUse = slices.Delete(m.adapterUse, 0, 1)
	}
}

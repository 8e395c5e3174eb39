package sim

import (
	"fmt"
	"strconv"
	"strings"
)

// escapeLabel quotes a label value for the text exposition format.
func escapeLabel(v string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v) + `"`
}

// write appends everything in the Prometheus text format.
func (m *meters) write(b []byte, s Stats, cfg Config, info string) []byte {
	labels := "model_name=" + escapeLabel(m.model) + `,engine="0"`
	x := exposition{b: b, labels: labels}
	x.gauge("crossfade_sim_info", "Present because this is a simulator: no model runs here.", info, 1)
	x.gauge("vllm:num_requests_running", "Requests in the batch.", labels, float64(s.Running))
	x.gauge("vllm:num_requests_waiting", "Requests waiting to be scheduled.", labels, float64(s.Waiting))
	x.gauge("vllm:kv_cache_usage_perc", "KV cache in use, 1 is all of it.", labels, s.KVUsage)
	x.gauge("vllm:cache_config_info", "Size and settings of the KV cache.", cacheLabels(cfg), 1)
	m.adapterSeries(&x, cfg.Limits.MaxLoRAs)
	x.counter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.", float64(s.PrefixQueries))
	x.counter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.", float64(s.PrefixHits))
	x.counter("vllm:num_preemptions_total", "Preemptions.", float64(s.Preemptions))
	x.counter("vllm:prompt_tokens_total", "Prompt tokens of requests whose prefill ended.", float64(s.PromptTokens))
	x.counter("vllm:generation_tokens_total", "Tokens generated.", float64(s.OutputTokens))
	x.head("vllm:request_success_total", "counter", "Finished requests by reason.")
	for _, reason := range finishReasons() {
		x.b = appendSample(x.b, "vllm:request_success_total", labels+`,finished_reason="`+reason+`"`, float64(m.finished[reason]))
	}
	m.histograms(&x)
	return x.b
}

func (m *meters) histograms(x *exposition) {
	x.histogram("vllm:time_to_first_token_seconds", "Arrival to first token.", m.ttft)
	x.histogram("vllm:inter_token_latency_seconds", "Time between tokens.", m.itl)
	x.histogram("vllm:time_per_output_token_seconds", "Time between tokens, under the name of vLLM before 0.11.", m.itl)
	x.histogram("vllm:request_time_per_output_token_seconds", "Mean time between tokens of a request.", m.tpot)
	x.histogram("vllm:e2e_request_latency_seconds", "Arrival to last token.", m.e2e)
	x.histogram("vllm:request_queue_time_seconds", "Arrival to first schedule.", m.queue)
	x.histogram("vllm:request_inference_time_seconds", "First schedule to last token.", m.inference)
	x.histogram("vllm:request_prefill_time_seconds", "First schedule to first token.", m.prefill)
	x.histogram("vllm:request_decode_time_seconds", "First to last token.", m.dec)
	x.histogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", m.promptTokens)
	x.histogram("vllm:request_generation_tokens", "Tokens generated for a request.", m.outputTokens)
	x.histogram("vllm:request_params_max_tokens", "Value of max_tokens of a request.", m.maxTokens)
}

func (m *meters) adapterSeries(x *exposition, slots int) {
	if len(m.adapterUse) == 0 {
		return
	}
	x.head("vllm:lora_requests_info", "gauge", "Adapters with requests; the value is the time of the last such state.")
	for _, u := range m.adapterUse {
		x.b = appendSample(x.b, "vllm:lora_requests_info", fmt.Sprintf(
			`max_lora="%d",running_lora_adapters=%s,waiting_lora_adapters=%s`,
			slots, escapeLabel(u.running), escapeLabel(u.waiting)), u.at)
	}
}

func cacheLabels(cfg Config) string {
	l := cfg.Limits
	prefix := "True"
	if l.NoPrefixCaching {
		prefix = "False"
	}
	return `block_size="` + strconv.Itoa(l.BlockSize) + `",cache_dtype="auto",enable_prefix_caching="` + prefix +
		`",engine="0",gpu_memory_utilization="` + strconv.FormatFloat(l.Utilization, 'g', -1, 64) +
		`",num_gpu_blocks="` + strconv.Itoa(l.Blocks) + `"`
}

// exposition appends metric families with the labels of the server.
type exposition struct {
	b      []byte
	labels string
}

func (w *exposition) head(name, kind, help string) {
	w.b = append(w.b, "# HELP "+name+" "+help+"\n# TYPE "+name+" "+kind+"\n"...)
}

func (w *exposition) gauge(name, help, labels string, v float64) {
	w.head(name, "gauge", help)
	w.b = appendSample(w.b, name, labels, v)
}

func (w *exposition) counter(name, help string, v float64) {
	w.head(name, "counter", help)
	w.b = appendSample(w.b, name, w.labels, v)
}

func (w *exposition) histogram(name, help string, h *histogram) {
	w.head(name, "histogram", help)
	w.b = h.appendTo(w.b, name, w.labels)
}

package modelserver

// readVLLM knows vLLM (vllm/v1/metrics/loggers.py).
func readVLLM(r *reading, s *sample) {
	switch string(s.name) {
	case "vllm:num_requests_waiting":
		r.addWaiting(s.value())
	case "vllm:num_requests_running":
		r.addRunning(s.value())
	case "vllm:kv_cache_usage_perc":
		r.usage.add(s.value())
	case "vllm:gpu_cache_usage_perc": // before 0.9
		r.oldUsage.add(s.value())
	case "vllm:cache_config_info":
		r.blockSize = s.number("block_size")
		r.blocks += float64(s.number("num_gpu_blocks"))
	case "vllm:lora_requests_info":
		// Each combination of adapters has its own series, and old ones stay.
		// The value is the time of the last update.
		if at := s.value(); at >= r.adapters.at {
			r.adapters = adapterSeries{
				at:      at,
				slots:   s.number("max_lora"),
				running: s.label("running_lora_adapters"),
				waiting: s.label("waiting_lora_adapters"),
			}
		}
	}
}

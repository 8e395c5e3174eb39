package modelserver

// readTRTLLM knows trtllm-serve.
func readTRTLLM(r *reading, s *sample) {
	switch string(s.name) {
	case "trtllm_num_requests_waiting":
		r.addWaiting(s.value())
	case "trtllm_num_requests_running":
		r.addRunning(s.value())
	case "trtllm_kv_cache_utilization":
		r.usage.add(s.value())
	case "trtllm_kv_cache_tokens_per_block":
		r.blockSize = count(s.value())
	case "trtllm_kv_cache_max_blocks":
		r.blocks += float64(count(s.value()))
	}
}

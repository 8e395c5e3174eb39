package modelserver

// readTriton knows Triton's TensorRT-LLM backend, which keeps several numbers
// under one name.
func readTriton(r *reading, s *sample) {
	switch string(s.name) {
	case "nv_trt_llm_request_metrics":
		switch s.label("request_type") {
		case "waiting":
			r.addWaiting(s.value())
		case "scheduled":
			r.addRunning(s.value())
		}
	case "nv_trt_llm_kv_cache_block_metrics":
		switch s.label("kv_cache_block_type") {
		case "fraction":
			r.usage.add(s.value())
		case "tokens_per":
			r.blockSize = count(s.value())
		case "max":
			r.blocks += float64(count(s.value()))
		}
	}
}

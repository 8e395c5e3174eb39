package modelserver

// readSGLang knows SGLang.
func readSGLang(r *reading, s *sample) {
	switch string(s.name) {
	case "sglang:num_queue_reqs":
		r.addWaiting(s.value())
	case "sglang:num_running_reqs":
		r.addRunning(s.value())
	case "sglang:token_usage":
		r.usage.add(s.value())
	case "sglang:cache_config_info":
		r.blockSize = s.number("page_size")
		r.blocks += float64(s.number("num_pages"))
	}
}

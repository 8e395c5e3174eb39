package sim

import "net/http"

// Handler returns the server's HTTP surface. It may be used without Serve.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	methods := make(map[string]string)
	for _, route := range []struct {
		method, path string
		handle       http.HandlerFunc
	}{
		{"POST", "/v1/chat/completions", s.chat},
		{"POST", "/v1/completions", s.completions},
		{"POST", "/v1/responses", s.responses},
		{"POST", "/v1/embeddings", s.embeddings},
		{"POST", "/tokenize", s.tokenize},
		{"GET", "/v1/models", s.models},
		{"POST", "/v1/load_lora_adapter", s.loadAdapter},
		{"POST", "/v1/unload_lora_adapter", s.unloadAdapter},
		{"GET", "/health", s.health},
		{"GET", "/version", s.version},
		{"GET", "/metrics", s.metrics},
		{"GET", "/sim/faults", s.showFaults},
		{"PUT", "/sim/faults", s.putFaults},
		{"PATCH", "/sim/faults", s.patchFaults},
	} {
		mux.HandleFunc(route.method+" "+route.path, route.handle)
		methods[route.path] += ", " + route.method
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allow := methods[r.URL.Path]; allow != "" {
			w.Header().Set("Allow", allow[2:])
			writeJSON(w, http.StatusMethodNotAllowed, map[string]string{"detail": "Method Not Allowed"})
			return
		}
		writeJSON(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "crossfade-sim")
		mux.ServeHTTP(w, r)
	})
}

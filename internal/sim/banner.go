package sim

import (
	"fmt"
	"strings"
)

// Banner is what a person sees at the start: one line that says what this is
// and is not, and a command to try.
func (s *Server) Banner(addr string) string {
	model := s.cfg.ServedNames[0]
	return fmt.Sprintf(`SIMULATED vLLM server (no model runs here) of %s, serving %s on http://%s, profile %s, speed %s.
Try: curl http://%s/v1/chat/completions -H 'Content-Type: application/json' -d '{"model":"%s","messages":[{"role":"user","content":"Who are you?"}]}'
`, s.cfg.Model, strings.Join(s.modelNames(), ", "), addr, s.cfg.Profile.Name, s.speedText(), addr, model)
}

// modelNames are the names that can be asked for now.
func (s *Server) modelNames() []string {
	names := append([]string(nil), s.cfg.ServedNames...)
	for _, a := range s.adapters.all() {
		names = append(names, a.Name)
	}
	return names
}

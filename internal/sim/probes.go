package sim

import (
	"net/http"
)

func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if s.Faults().NotReady {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// version has vLLM's field and says what the server really is.
func (s *Server) version(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, struct {
		Version   string `json:"version"`
		Simulator bool   `json:"simulator"`
		Imitates  string `json:"imitates"`
		Name      string `json:"name,omitempty"`
		Model     string `json:"model"`
		Profile   string `json:"profile"`
		Speed     string `json:"speed"`
	}{"crossfade-sim", true, "vllm", s.name, s.cfg.Model, s.cfg.Profile.Name, s.speedText()})
}

func (s *Server) metrics(w http.ResponseWriter, _ *http.Request) {
	d := s.driver
	d.mu.Lock()
	b := d.meters.write(make([]byte, 0, 24<<10), d.engine.Stats(), s.cfg, s.infoLabels())
	d.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b) // a scraper that is gone needs no answer
}

func (s *Server) infoLabels() string {
	return "name=" + escapeLabel(s.name) + ",model=" + escapeLabel(s.cfg.Model) +
		",profile=" + escapeLabel(s.cfg.Profile.Name) + ",speed=" + escapeLabel(s.speedText())
}

type modelCard struct {
	ID          string            `json:"id"`
	Object      string            `json:"object"`
	Created     int64             `json:"created"`
	OwnedBy     string            `json:"owned_by"`
	Root        string            `json:"root"`
	Parent      *string           `json:"parent"`
	MaxModelLen *int              `json:"max_model_len"`
	Permission  []modelPermission `json:"permission"`
}

type modelPermission struct {
	ID                 string  `json:"id"`
	Object             string  `json:"object"`
	Created            int64   `json:"created"`
	AllowCreateEngine  bool    `json:"allow_create_engine"`
	AllowSampling      bool    `json:"allow_sampling"`
	AllowLogprobs      bool    `json:"allow_logprobs"`
	AllowSearchIndices bool    `json:"allow_search_indices"`
	AllowView          bool    `json:"allow_view"`
	AllowFineTuning    bool    `json:"allow_fine_tuning"`
	Organization       string  `json:"organization"`
	Group              *string `json:"group"`
	IsBlocking         bool    `json:"is_blocking"`
}

// models lists the served names, whose root is the model's path, and the
// adapters, whose parent is a served name.
func (s *Server) models(w http.ResponseWriter, _ *http.Request) {
	var cards []modelCard
	for _, name := range s.cfg.ServedNames {
		c := s.card(name, s.cfg.Model)
		c.MaxModelLen = &s.cfg.Limits.MaxModelLen
		cards = append(cards, c)
	}
	for _, a := range s.adapters.all() {
		c := s.card(a.Name, a.Path)
		c.Parent = &s.cfg.ServedNames[0]
		if a.Parent != "" {
			c.Parent = &a.Parent
		}
		cards = append(cards, c)
	}
	writeJSON(w, http.StatusOK, struct {
		Object string      `json:"object"`
		Data   []modelCard `json:"data"`
	}{"list", cards})
}

func (s *Server) card(id, root string) modelCard {
	return modelCard{
		ID: id, Object: "model", Created: s.created, OwnedBy: "vllm", Root: root,
		Permission: []modelPermission{{
			ID: s.newID("modelperm-"), Object: "model_permission", Created: s.created,
			AllowSampling: true, AllowLogprobs: true, AllowView: true, Organization: "*",
		}},
	}
}

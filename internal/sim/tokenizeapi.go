package sim

import "net/http"

type tokenizeRequest struct {
	Model    string    `json:"model"`
	Prompt   string    `json:"prompt"`
	Messages []message `json:"messages"`
}

// tokenize counts as the engine does: for a prompt or, through the same
// template, a conversation.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request) {
	var req tokenizeRequest
	e := s.decode(w, r, &req)
	if e == nil && req.Model != "" {
		_, _, e = s.speaker(req.Model)
	}
	if e == nil && len(req.Messages) > 0 {
		e = checkMessages(req.Messages)
	}
	if e != nil {
		writeError(w, e)
		return
	}
	text := req.Prompt
	if len(req.Messages) > 0 {
		text = prompt(req.Messages, nil)
	}
	tokens := tokenize([]uint32{}, text)
	writeJSON(w, http.StatusOK, struct {
		Count       int       `json:"count"`
		MaxModelLen int       `json:"max_model_len"`
		Tokens      []uint32  `json:"tokens"`
		TokenStrs   *[]string `json:"token_strs"`
	}{len(tokens), s.cfg.Limits.MaxModelLen, tokens, nil})
}

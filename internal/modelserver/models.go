package modelserver

import (
	"encoding/json"
	"fmt"
	"slices"

	"crossfade.dev/internal/llm"
)

// modelList is the answer of GET /v1/models, as far as it matters. vLLM and
// SGLang give an adapter its base model as parent.
type modelList struct {
	Object string `json:"object"`
	Data   *[]struct {
		ID     string `json:"id"`
		Parent string `json:"parent"`
	} `json:"data"`
}

// parseModels returns the names of all models, not nil, and of those that are
// adapters, both sorted. Names nobody could ask for are left out.
func parseModels(body []byte) (names, adapters []string, err error) {
	var list modelList
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, nil, fmt.Errorf("parse list of models: %w", err)
	}
	if list.Data == nil {
		return nil, nil, fmt.Errorf("parse list of models: no data")
	}
	names = make([]string, 0, len(*list.Data))
	for _, m := range *list.Data {
		if m.ID == "" || len(m.ID) > llm.MaxModelLength {
			continue
		}
		names = append(names, m.ID)
		if m.Parent != "" {
			adapters = append(adapters, m.ID)
		}
	}
	slices.Sort(names)
	slices.Sort(adapters)
	return slices.Compact(names), slices.Compact(adapters), nil
}

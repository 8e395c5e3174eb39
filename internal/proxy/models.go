package proxy

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/llm"
)

const modelsPath = "/v1/models"

// modelList and modelCard are OpenAI's shapes.
type modelList struct {
	Object string      `json:"object"`
	Data   []modelCard `json:"data"`
}

type modelCard struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"` // when this gateway started: nobody knows better
	OwnedBy string `json:"owned_by"`
}

// asksForModels reports whether the request wants to know the models. Engines know
// only their own, so the gateway answers for all of the rule's pools.
func (x *exchange) asksForModels() bool {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return false
	}
	_, ok := modelAsked(x.r.URL.Path)
	return ok && x.rule.Inference()
}

// modelAsked splits the name off a path …/v1/models/name; "" means all. Names may
// hold slashes.
func modelAsked(path string) (name string, ok bool) {
	i := strings.LastIndex(path, modelsPath)
	if i < 0 {
		return "", false
	}
	rest := path[i+len(modelsPath):]
	if rest == "" || rest == "/" {
		return "", true
	}
	return strings.CutPrefix(rest, "/")
}

// listModels answers with every model a client may ask this rule for, or one.
func (x *exchange) listModels() {
	names := x.modelNames()
	one, _ := modelAsked(x.r.URL.Path)
	if one != "" {
		if _, found := slices.BinarySearch(names, one); !found {
			x.refuse(refuse(llm.ModelNotFound(one), llm.ReasonModelNotFound))
			return
		}
		x.writeJSON(x.card(one))
		return
	}
	list := modelList{Object: "list", Data: make([]modelCard, len(names))}
	for i, name := range names {
		list.Data[i] = x.card(name)
	}
	x.writeJSON(list)
}

func (x *exchange) card(name string) modelCard {
	return modelCard{ID: name, Object: "model", Created: x.proxy.started.Unix(), OwnedBy: "crossfade"}
}

// modelNames is the sorted union over the pools that have a weight: nobody gets to
// the others.
func (x *exchange) modelNames() []string {
	var names []string
	for i := range x.rule.Backends {
		if b := &x.rule.Backends[i]; b.Weight > 0 && b.Pool != nil && b.Pool.Inference {
			names = append(names, b.Pool.Names()...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func (x *exchange) writeJSON(v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs of strings always marshal
	}
	h := x.w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.allowOrigin(h)
	x.rule.Filters.ResponseHeaders.Apply(h)
	x.leaveBody()
	x.w.WriteHeader(http.StatusOK)
	x.wrote = true
	n, _ := x.w.Write(body)
	o := &x.visit.Outcome
	o.Status, o.Reason, o.BytesOut = http.StatusOK, llm.ReasonOK, int64(n)
}

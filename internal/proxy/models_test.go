package proxy

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"crossfade.dev/internal/llm"
)

func TestModelList(t *testing.T) {
	one, two, off := renaming("127.0.0.1:1"), pool("b"), pool("c")
	one.Models = []string{"org/base", "target"}
	two.Models = []string{"target", "z"}
	off.Models = []string{"hidden"}
	rule := to(one, two, off, service("s"))
	rule.Backends[2].Weight = 0
	w := newWorld(t, serving(rule))

	a := w.get("/prefix/v1/models")
	var list modelList
	if err := json.Unmarshal([]byte(a.body), &list); err != nil || a.status != 200 || list.Object != "list" {
		t.Fatalf("answer is %d %s", a.status, a.body)
	}
	var names []string
	for _, m := range list.Data {
		names = append(names, m.ID)
		if m.Object != "model" || m.Created == 0 || m.OwnedBy == "" {
			t.Errorf("card is %+v", m)
		}
	}
	if want := []string{"alias", "org/base", "target", "z"}; !reflect.DeepEqual(names, want) {
		t.Errorf("models are %v, want %v", names, want)
	}
	hasReason(t, w.last(1), llm.ReasonOK)

	var card modelCard
	if a := w.get("/v1/models/org%2Fbase"); json.Unmarshal([]byte(a.body), &card) != nil || card.ID != "org/base" {
		t.Errorf("answer is %d %s", a.status, a.body)
	}
	isOpenAIError(t, w.get("/v1/models/hidden"), 404, "`hidden`")
	if a := w.send(w.request(http.MethodHead, "/v1/models", nil)); a.status != 200 || a.body != "" {
		t.Errorf("HEAD got %d %q", a.status, a.body)
	}
}

func TestNoModelsYet(t *testing.T) {
	w := newWorld(t, serving(to(pool("a"))))
	if a := w.get("/v1/models"); a.body != `{"object":"list","data":[]}` {
		t.Errorf("answer is %s", a.body)
	}
}

func TestServicesListTheirOwnModels(t *testing.T) {
	w := newWorld(t, serving(to(service("s", engine(t, echoing("s"))))))
	if e := echoed(t, w.get("/v1/models")); e.Engine != "s" {
		t.Errorf("answer is %+v", e)
	}
}

func TestModelAsked(t *testing.T) {
	for path, want := range map[string]struct {
		name string
		ok   bool
	}{
		"/v1/models": {"", true}, "/v1/models/": {"", true}, "/a/v1/models": {"", true}, "/v1/models/a/b": {"a/b", true},
		"/v1/modelsx": {"", false}, "/v1": {"", false}, "/": {"", false},
	} {
		name, ok := modelAsked(path)
		if ok != want.ok || ok && name != want.name {
			t.Errorf("modelAsked(%q) = %q, %v", path, name, ok)
		}
	}
}

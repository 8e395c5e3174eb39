package kube

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	apidiscovery "k8s.io/api/apidiscovery/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// apiServer is a small API server: objects as JSON, lists, watches that go on where
// they left off, and faults on demand. It validates nothing.
type apiServer struct {
	*httptest.Server

	mu       sync.Mutex
	changed  *sync.Cond
	revision int
	served   map[schema.GroupVersionResource]string // kind
	objects  map[schema.GroupVersionResource]map[string]map[string]any
	events   []event
	oldest   int // events up to this revision are forgotten
	era      int // watches of an earlier era end
	requests []string
	// fault answers a request with a status code, 0 is none.
	fault func(verb, resource, namespace string) int
	// legacy: no streaming lists.
	legacy bool
	// wrote is told of every write, "verb resource namespace/name[/sub]".
	wrote func(string)
	// writeFault answers a write, 0 is none.
	writeFault func(what string) int
	// stored is told of every object that is kept.
	stored func(resource string, o map[string]any)
	// pruned is a field that every write loses.
	pruned string
}

type event struct {
	revision int
	resource schema.GroupVersionResource
	kind     string
	object   map[string]any
}

func newAPIServer(t testing.TB) *apiServer {
	s := &apiServer{
		served:   map[schema.GroupVersionResource]string{},
		objects:  map[schema.GroupVersionResource]map[string]map[string]any{},
		revision: 10,
	}
	s.changed = sync.NewCond(&s.mu)
	for _, k := range kinds {
		s.install(k)
	}
	for _, k := range allOwned {
		gv, _ := schema.ParseGroupVersion(k.apiVersion)
		s.served[gv.WithResource(k.plural)] = k.kind
	}
	s.served[schema.GroupVersionResource{Version: "v1", Resource: "events"}] = "Event"
	s.served[schema.GroupVersionResource{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"}] = "Lease"
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		s.dropWatches()
		s.Close()
	})
	return s
}

func (s *apiServer) config() *rest.Config {
	return &rest.Config{Host: s.URL, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: "application/json"}}
}

func (s *apiServer) install(k *kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.served[schema.GroupVersionResource{Group: k.group, Version: k.versions[0], Resource: k.plural}] = k.name
}

// remove removes a CRD: its objects go, then it is unknown.
func (s *apiServer) remove(k *kind) {
	gvr := schema.GroupVersionResource{Group: k.group, Version: k.versions[0], Resource: k.plural}
	s.mu.Lock()
	delete(s.served, gvr)
	delete(s.objects, gvr)
	s.mu.Unlock()
	s.dropWatches()
}

// dropWatches ends all watches in the middle.
func (s *apiServer) dropWatches() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era++
	s.changed.Broadcast()
}

// expire forgets all events, so that watches that go on get 410.
func (s *apiServer) expire() {
	s.mu.Lock()
	s.revision++
	s.oldest = s.revision
	s.events = nil
	s.mu.Unlock()
	s.dropWatches()
}

func (s *apiServer) setFault(f func(verb, resource, namespace string) int) {
	s.mu.Lock()
	s.fault = f
	s.mu.Unlock()
}

// apply creates or replaces the objects of a YAML text.
func (s *apiServer) apply(t testing.TB, text string) {
	t.Helper()
	for _, doc := range strings.Split(text, "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatal(err)
		}
		if len(o) > 0 {
			s.put(t, o)
		}
	}
}

func (s *apiServer) put(t testing.TB, o map[string]any) {
	t.Helper()
	gv, err := schema.ParseGroupVersion(o["apiVersion"].(string))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range kinds {
		if k.group == gv.Group && k.name == o["kind"] {
			s.mu.Lock()
			s.store(gv.WithResource(k.plural), o)
			s.mu.Unlock()
			return
		}
	}
	t.Fatalf("unknown kind %v", o["kind"])
}

func path(namespace, name string) string { return namespace + "/" + name }

// store keeps o under a new revision. The lock is held.
func (s *apiServer) store(gvr schema.GroupVersionResource, o map[string]any) {
	m := o["metadata"].(map[string]any)
	namespace, _ := m["namespace"].(string)
	name := m["name"].(string)
	s.revision++
	m["resourceVersion"] = strconv.Itoa(s.revision)
	if m["uid"] == nil {
		m["uid"] = "uid-of-" + name
	}
	if s.objects[gvr] == nil {
		s.objects[gvr] = map[string]map[string]any{}
	}
	kind := "MODIFIED"
	if s.objects[gvr][path(namespace, name)] == nil {
		kind = "ADDED"
	}
	s.objects[gvr][path(namespace, name)] = o
	s.events = append(s.events, event{s.revision, gvr, kind, o})
	if s.stored != nil {
		s.stored(gvr.Resource, o)
	}
	s.changed.Broadcast()
}

func (s *apiServer) delete(resource, namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for gvr, list := range s.objects {
		if o := list[path(namespace, name)]; gvr.GroupResource().String() == resource && o != nil {
			delete(list, path(namespace, name))
			s.revision++
			s.events = append(s.events, event{s.revision, gvr, "DELETED", o})
		}
	}
	s.changed.Broadcast()
}

// get returns a copy of an object, or nil.
func (s *apiServer) get(resource, namespace, name string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	for gvr, list := range s.objects {
		if o := list[path(namespace, name)]; gvr.GroupResource().String() == resource && o != nil {
			return clone(o)
		}
	}
	return nil
}

func clone(o map[string]any) map[string]any {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		panic(err)
	}
	return out
}

// asked returns the requests so far, sorted and each once.
func (s *apiServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := slices.Clone(s.requests)
	slices.Sort(out)
	return slices.Compact(out)
}

func (s *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/apis" {
		s.discover(w)
		return
	}
	gvr, namespace, name, sub, ok := parse(r.URL.Path)
	s.mu.Lock()
	kind, known := s.served[gvr]
	fault, writeFault := s.fault, s.writeFault
	s.mu.Unlock()
	verb := verbOf(r, name)
	resource := gvr.GroupResource().String()
	if fault != nil {
		if code := fault(verb, resource, namespace); code != 0 {
			fail(w, code, gvr, name)
			return
		}
	}
	if !ok || !known {
		fail(w, http.StatusNotFound, gvr, name)
		return
	}
	if verb == "list" || verb == "watch" {
		q := r.URL.Query()
		s.mu.Lock()
		s.requests = append(s.requests, strings.TrimRight(fmt.Sprintf("%s %s %s %s %s", verb, resource, namespace, q.Get("fieldSelector"), q.Get("labelSelector")), " "))
		s.mu.Unlock()
		sel := newSelection(gvr, namespace, q.Get("fieldSelector"), q.Get("labelSelector"))
		if verb == "watch" {
			s.watch(w, r, sel)
		} else {
			s.list(w, kind, sel)
		}
		return
	}
	what := strings.TrimSuffix(fmt.Sprintf("%s %s %s/%s/%s", verb, resource, namespace, name, sub), "/")
	if verb != "get" && writeFault != nil {
		if code := writeFault(what); code != 0 {
			fail(w, code, gvr, name)
			return
		}
	}
	s.change(w, r, verb, what, gvr, namespace, name)
}

func parse(p string) (gvr schema.GroupVersionResource, namespace, name, sub string, ok bool) {
	parts := strings.Split(strings.Trim(p, "/"), "/")
	switch {
	case len(parts) > 2 && parts[0] == "api":
		gvr.Version, parts = parts[1], parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		gvr.Group, gvr.Version, parts = parts[1], parts[2], parts[3:]
	default:
		return gvr, "", "", "", false
	}
	if parts[0] == "namespaces" && len(parts) > 2 {
		namespace, parts = parts[1], parts[2:]
	}
	gvr.Resource = parts[0]
	if len(parts) > 1 {
		name = parts[1]
	}
	if len(parts) > 2 {
		sub = parts[2]
	}
	return gvr, namespace, name, sub, true
}

func verbOf(r *http.Request, name string) string {
	switch {
	case r.Method == http.MethodGet && r.URL.Query().Get("watch") != "":
		return "watch"
	case r.Method == http.MethodGet && name == "":
		return "list"
	case r.Method == http.MethodPost:
		return "create"
	}
	return strings.ToLower(r.Method)
}

func fail(w http.ResponseWriter, code int, gvr schema.GroupVersionResource, name string) {
	reasons := map[int]metav1.StatusReason{
		403: metav1.StatusReasonForbidden, 404: metav1.StatusReasonNotFound, 409: metav1.StatusReasonConflict,
		410: metav1.StatusReasonExpired, 422: metav1.StatusReasonInvalid, 500: metav1.StatusReasonInternalError, 503: metav1.StatusReasonServiceUnavailable,
	}
	if code == 404 && name == "" {
		http.Error(w, "404 page not found", code) // as for an unknown kind
		return
	}
	reply(w, code, &metav1.Status{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: "Failure", Code: int32(code), Reason: reasons[code],
		Message: fmt.Sprintf("%d for %s %s", code, gvr.GroupResource(), name),
	})
}

func reply(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func (s *apiServer) discover(w http.ResponseWriter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		if code := s.fault("discover", "", ""); code != 0 {
			fail(w, code, schema.GroupVersionResource{}, "apis")
			return
		}
	}
	list := apidiscovery.APIGroupDiscoveryList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupDiscoveryList", APIVersion: "apidiscovery.k8s.io/v2"}}
	for gvr, kind := range s.served {
		list.Items = append(list.Items, apidiscovery.APIGroupDiscovery{
			ObjectMeta: metav1.ObjectMeta{Name: gvr.Group},
			Versions: []apidiscovery.APIVersionDiscovery{{Version: gvr.Version, Resources: []apidiscovery.APIResourceDiscovery{{
				Resource: gvr.Resource, ResponseKind: &metav1.GroupVersionKind{Group: gvr.Group, Version: gvr.Version, Kind: kind},
			}}}},
		})
	}
	reply(w, http.StatusOK, list)
}

// selection is what a list or watch covers.
type selection struct {
	gvr       schema.GroupVersionResource
	namespace string
	name      string
	labels    labels.Selector
}

func newSelection(gvr schema.GroupVersionResource, namespace, fields, selector string) selection {
	out := selection{gvr: gvr, namespace: namespace}
	out.name, _ = strings.CutPrefix(fields, "metadata.name=")
	if out.name == fields {
		out.name = ""
	}
	var err error
	if out.labels, err = labels.Parse(selector); err != nil {
		panic(err)
	}
	return out
}

func (c selection) covers(o map[string]any) bool {
	m := o["metadata"].(map[string]any)
	set := labels.Set{}
	if l, ok := m["labels"].(map[string]any); ok {
		for k, v := range l {
			set[k] = v.(string)
		}
	}
	namespace, _ := m["namespace"].(string)
	return (c.namespace == "" || c.namespace == namespace) && (c.name == "" || c.name == m["name"]) && c.labels.Matches(set)
}

// selected returns the objects of c by name. The lock is held.
func (s *apiServer) selected(c selection) []map[string]any {
	items := []map[string]any{}
	for _, o := range s.objects[c.gvr] {
		if c.covers(o) {
			items = append(items, o)
		}
	}
	return items
}

func (s *apiServer) list(w http.ResponseWriter, kind string, c selection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reply(w, http.StatusOK, map[string]any{
		"kind": kind + "List", "apiVersion": c.gvr.GroupVersion().String(),
		"metadata": map[string]any{"resourceVersion": strconv.Itoa(s.revision)},
		"items":    s.selected(c),
	})
}

func (s *apiServer) watch(w http.ResponseWriter, r *http.Request, c selection) {
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("resourceVersion"))
	initial := q.Get("sendInitialEvents") == "true"
	stop := make(chan struct{})
	defer close(stop)
	go func() { // wakes the loop below when the client leaves
		select {
		case <-r.Context().Done():
			s.mu.Lock()
			s.changed.Broadcast()
			s.mu.Unlock()
		case <-stop:
		}
	}()

	s.mu.Lock()
	defer s.mu.Unlock()
	if initial && s.legacy {
		fail(w, http.StatusUnprocessableEntity, c.gvr, "")
		return
	}
	if from < s.oldest && !initial {
		fail(w, http.StatusGone, c.gvr, "")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	send := func(kind string, o map[string]any) {
		_ = json.NewEncoder(w).Encode(map[string]any{"type": kind, "object": o})
	}
	if initial {
		for _, o := range s.selected(c) {
			send("ADDED", o)
		}
		from = s.revision
		send("BOOKMARK", map[string]any{
			"kind": s.served[c.gvr], "apiVersion": c.gvr.GroupVersion().String(),
			"metadata": map[string]any{"resourceVersion": strconv.Itoa(from), "annotations": map[string]any{metav1.InitialEventsAnnotationKey: "true"}},
		})
	}
	for era := s.era; era == s.era && r.Context().Err() == nil; s.changed.Wait() {
		for _, e := range s.events {
			if e.revision > from && e.resource == c.gvr && c.covers(e.object) {
				send(e.kind, e.object)
			}
		}
		from = s.revision
		w.(http.Flusher).Flush()
	}
}

// change answers reads and writes of one object.
func (s *apiServer) change(w http.ResponseWriter, r *http.Request, verb, what string, gvr schema.GroupVersionResource, namespace, name string) {
	var body map[string]any
	if verb != "get" {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if verb == "create" {
		name, _ = body["metadata"].(map[string]any)["name"].(string)
	}
	if verb != "get" && s.wrote != nil {
		s.wrote(what)
	}
	old := s.objects[gvr][path(namespace, name)]
	applied := r.Header.Get("Content-Type") == "application/apply-patch+yaml"
	switch {
	case verb == "create" && old != nil:
		fail(w, http.StatusConflict, gvr, name)
		return
	case old == nil && verb != "create" && !applied:
		fail(w, http.StatusNotFound, gvr, name)
		return
	case verb == "get":
		reply(w, http.StatusOK, old)
		return
	case verb == "delete":
		guard, _ := body["preconditions"].(map[string]any)
		if rv := guard["resourceVersion"]; rv != nil && rv != old["metadata"].(map[string]any)["resourceVersion"] {
			fail(w, http.StatusConflict, gvr, name)
			return
		}
		delete(s.objects[gvr], path(namespace, name))
		s.revision++
		s.events = append(s.events, event{s.revision, gvr, "DELETED", old})
		s.changed.Broadcast()
		reply(w, http.StatusOK, old)
		return
	}
	if s.pruned != "" {
		prune(body, s.pruned)
	}
	next := body
	if old != nil {
		meta, _ := body["metadata"].(map[string]any) // a merge patch may have none
		if rv, _ := meta["resourceVersion"].(string); rv != "" && rv != old["metadata"].(map[string]any)["resourceVersion"] {
			fail(w, http.StatusConflict, gvr, name)
			return
		}
		next = body
		if verb == "patch" {
			next = merge(clone(old), body)
		}
	}
	next["metadata"].(map[string]any)["namespace"] = namespace
	if namespace == "" {
		delete(next["metadata"].(map[string]any), "namespace")
	}
	s.store(gvr, next)
	reply(w, http.StatusOK, next)
}

// merge is a JSON merge patch.
func merge(into, patch map[string]any) map[string]any {
	for k, v := range patch {
		m, isMap := v.(map[string]any)
		old, wasMap := into[k].(map[string]any)
		switch {
		case v == nil:
			delete(into, k)
		case isMap && wasMap:
			into[k] = merge(old, m)
		default:
			into[k] = v
		}
	}
	return into
}

// prune removes a field everywhere, as from a schema that does not have it.
func prune(v any, field string) {
	switch v := v.(type) {
	case map[string]any:
		delete(v, field)
		for _, part := range v {
			prune(part, field)
		}
	case []any:
		for _, part := range v {
			prune(part, field)
		}
	}
}

package proxy_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"

	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
)

// A proxy with one route to one pool, behind a server of the caller's choice.
func Example() {
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "the engine was asked %s", asked)
	}))
	defer engine.Close()

	pool := &routing.Pool{ID: "InferencePool/default/chat", Name: "default/chat", Inference: true,
		Endpoints: []routing.Endpoint{{Address: engine.Listener.Addr().String()}},
		Rules: map[string]*routing.ModelRule{"chat": routing.NewModelRule("InferenceModel default/chat", "chat",
			[]routing.Target{{Model: "chat-v2", Weight: 1}}, false, 0)},
	}
	rule := &routing.Rule{ID: "default/route/0", Backends: []routing.Backend{{Ref: pool.ID, Weight: 1, Pool: pool}}}
	rule.Seal()
	listener := &routing.Listener{Gateway: "default/gateway", Name: "http"}
	listener.AddRoute("", &routing.Route{Match: routing.Match{Path: "/"}, Rule: rule})

	wire := upstream.New(upstream.Options{})
	defer wire.Close()
	p := proxy.New(proxy.Options{Picker: scheduling.New(scheduling.Options{}), Upstream: wire})
	p.Publish(&routing.Snapshot{Ports: []*routing.Port{{Number: 8080, Listeners: []*routing.Listener{listener}}}})

	w := httptest.NewRecorder()
	p.Handler(8080).ServeHTTP(w, httptest.NewRequest("POST", "/v1/completions", strings.NewReader(`{"model": "chat"}`)))
	fmt.Println(w.Code, w.Body)
	// Output: 200 the engine was asked {"model": "chat-v2"}
}

package admin

import (
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
)

// handleCounts adds the pages of what this gateway counted for rollouts, where it
// serves any.
func handleCounts(mux *http.ServeMux, s Sources) {
	if s.Counts != nil {
		mux.HandleFunc("GET /rollouts/counts", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Counts()) })
	}
	if s.Bar == nil {
		return
	}
	safe := http.NewCrossOriginProtection()
	mux.Handle("POST /rollouts/{namespace}/{name}/kill", safe.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		namespace, name := r.PathValue("namespace"), r.PathValue("name")
		switch {
		case !fromHere(r):
			http.Error(w, "a candidate is stopped here by the machine itself alone, such as through kubectl port-forward; crossfade rollout abort stops it everywhere", http.StatusForbidden)
		case !saysJSON(r):
			http.Error(w, "want Content-Type: application/json", http.StatusForbidden)
		default:
			if err := s.Bar(namespace, name); err != nil {
				http.Error(w, fmt.Sprintf("rollout %s/%s: %v; GET /rollouts/counts lists those that are known", namespace, name, err), http.StatusNotFound)
				return
			}
			fmt.Fprintf(w, "this gateway sends nothing to the candidate of %s/%s any more, as long as its attempt is under way\n", namespace, name)
		}
	})))
}

// fromHere reports whether a request comes over the loopback interface.
func fromHere(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// saysJSON reports whether a request says that its body is JSON, which no form of a
// web page can.
func saysJSON(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/json"
}

package admin

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler serves the admin pages.
func Handler(s Sources, metrics prometheus.Gatherer) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.View()) })
	mux.HandleFunc("GET /snapshot", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprint(w, s.View().Snapshot)
	})
	handleCounts(mux, s)
	mux.HandleFunc("GET /endpoints", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Scheduling()) })
	mux.HandleFunc("GET /explain", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Explained()) })
	handleRollouts(mux, s)
	if s.Gossip != nil {
		mux.Handle("POST /gossip", s.Gossip)
		mux.Handle("GET /gossip", s.Gossip)
	}
	mux.HandleFunc("GET /{$}", index)
	return notRebound(mux)
}

// notRebound refuses what comes over the loopback interface for the name of another
// host. A page whose name its owner has pointed to 127.0.0.1 is of the same origin as
// these pages for a browser, so nothing else would keep it from reading them and from
// moving traffic.
func notRebound(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if fromHere(r) && !namesHere(r.Host) {
			http.Error(w, "from this machine, ask for localhost or an IP address", http.StatusMisdirectedRequest)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// namesHere reports whether a Host field can only mean this machine, or says nothing:
// an IP address or a name of the loopback interface (RFC 6761 §6.3).
func namesHere(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	_, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil
}

// Server returns an http.Server for h with the limits a side door needs.
func Server(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}

func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprint(w, `crossfade admin
  /healthz    the process lives
  /readyz     the gateway takes requests
  /metrics    Prometheus metrics
  /status     every object's conditions, listeners, pools and problems (JSON)
  /snapshot   what requests are routed by (text)
  /rollouts/counts  what this gateway counted for rollouts (JSON); a POST to
              /rollouts/NAMESPACE/NAME/kill, from this machine and as JSON, stops
              it from sending to the candidate
  /endpoints  what the picker knows of each endpoint (JSON)
  /rollouts   rollouts and where they stand (JSON, of crossfade up); verbs are
              POSTed to /rollouts/NAMESPACE/NAME/request
  /explain    why endpoints were chosen: one decision per second and pool (JSON)
`)
}

func writeJSON(w http.ResponseWriter, v any) { writeJSONAs(w, http.StatusOK, v) }

func writeJSONAs(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // the client has gone: nobody is left to tell
}

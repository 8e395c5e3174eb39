package agent

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	"crossfade.dev/test/cluster/internal/network"
)

// serveAPI serves the part of the kubelet's API behind `kubectl logs`, to the
// API server alone: it shows a certificate of the cluster's authority.
func (a *Agent) serveAPI(ctx context.Context) error {
	ca, err := os.ReadFile(a.CAFile)
	if err != nil {
		return fmt.Errorf("kubelet API: %w", err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", a.serveLogs)
	server := &http.Server{
		Addr: net.JoinHostPort(network.NodeIP, strconv.Itoa(kubeletPort)), Handler: mux,
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig:         &tls.Config{ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	err = server.ListenAndServeTLS(a.CertFile, a.KeyFile)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("kubelet API: %w", err)
}

func (a *Agent) serveLogs(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	options, err := parseLogOptions(query)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	namespace, pod, container := r.PathValue("namespace"), r.PathValue("pod"), r.PathValue("container")
	worker := a.find(namespace, pod)
	if worker == nil {
		http.Error(w, fmt.Sprintf("pod %s/%s is not on this node", namespace, pod), http.StatusNotFound)
		return
	}
	log, err := worker.log(container, query.Get("previous") == "true")
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	if f, ok := w.(http.Flusher); ok {
		f.Flush()
	}
	if err := log.copyTo(r.Context(), w, options); err != nil {
		a.Logger.Debug("serve logs", "pod", namespace+"/"+pod, "error", err)
	}
}

func parseLogOptions(q url.Values) (o logOptions, err error) {
	o = logOptions{follow: q.Get("follow") == "true", timestamps: q.Get("timestamps") == "true", tail: -1}
	if s := q.Get("tailLines"); s != "" {
		if o.tail, err = strconv.Atoi(s); err != nil || o.tail < 0 {
			return o, fmt.Errorf("tailLines %q: want a number of lines", s)
		}
	}
	if s := q.Get("limitBytes"); s != "" {
		if o.limit, err = strconv.ParseInt(s, 10, 64); err != nil || o.limit < 1 {
			return o, fmt.Errorf("limitBytes %q: want a number above 0", s)
		}
	}
	if s := q.Get("sinceTime"); s != "" {
		if o.since, err = time.Parse(time.RFC3339, s); err != nil {
			return o, fmt.Errorf("sinceTime: %w", err)
		}
	}
	if s := q.Get("sinceSeconds"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return o, fmt.Errorf("sinceSeconds %q: want a number above 0", s)
		}
		o.since = time.Now().Add(-time.Duration(n) * time.Second)
	}
	switch q.Get("stream") {
	case "Stdout":
		o.stream = "stdout"
	case "Stderr":
		o.stream = "stderr"
	}
	return o, nil
}

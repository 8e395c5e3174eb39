// testserver is the program of the end-to-end test's pods. It serves HTTP on
// --listen:
//
//	GET /            who answers: the pod's name
//	GET /healthz     200, or 503 after /fail
//	GET /fail        makes /healthz fail
//	GET /crash       exits with code 3
//	GET /slow?d=1s   answers after a time
//	GET /log?line=x  prints a line
//	GET /env?name=X  a variable
//	GET /file?path=/ a file, or who we are and what is writable for /proc
//	GET /api?path=/  asks the API server with the pod's token, and gives its status
//
// On SIGTERM it ends at once, as programs that rely on preStop do; with
// --drain it finishes what it began.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", ":8080", "address to serve on")
	once := flag.Int("exit", -1, "exit at once with this code")
	probe := flag.String("get", "", "fetch this URL and exit 0 if the answer is 200: for exec probes")
	drain := flag.Bool("drain", false, "finish running requests on SIGTERM")
	flag.Parse()
	fmt.Println("testserver starts")
	switch {
	case *once >= 0:
		os.Exit(*once)
	case *probe != "":
		os.Exit(fetch(*probe))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *listen, Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	ended := make(chan error, 1)
	go func() { ended <- server.ListenAndServe() }()
	select {
	case err := <-ended:
		fmt.Fprintln(os.Stderr, "testserver:", err)
		os.Exit(1)
	case <-ctx.Done():
	}
	fmt.Println("testserver was asked to end")
	if *drain {
		_ = server.Shutdown(context.Background())
	}
}

func fetch(url string) int {
	resp, err := http.Get(url)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 1
	}
	return 0
}

func handler() http.Handler {
	var failing atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, os.Getenv("HOSTNAME")) })
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if failing.Load() {
			http.Error(w, "failing", http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /fail", func(http.ResponseWriter, *http.Request) { failing.Store(true) })
	mux.HandleFunc("GET /crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) {
		d, err := time.ParseDuration(r.FormValue("d"))
		answer(w, os.Getenv("HOSTNAME"), err, func() { time.Sleep(d) })
	})
	mux.HandleFunc("GET /log", func(_ http.ResponseWriter, r *http.Request) { fmt.Println(r.FormValue("line")) })
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv(r.FormValue("name"))) })
	mux.HandleFunc("GET /id", func(w http.ResponseWriter, _ *http.Request) {
		err := os.WriteFile("/here", nil, 0o600)
		fmt.Fprintf(w, "uid=%d gid=%d root-writable=%t", os.Getuid(), os.Getgid(), err == nil)
	})
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		data, err := os.ReadFile(r.FormValue("path"))
		answer(w, string(data), err, nil)
	})
	mux.HandleFunc("GET /api", func(w http.ResponseWriter, r *http.Request) {
		status, err := askAPI(r.Context(), r.FormValue("path"))
		answer(w, status, err, nil)
	})
	return mux
}

func answer(w http.ResponseWriter, text string, err error, first func()) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if first != nil {
		first()
	}
	fmt.Fprint(w, text)
}

// askAPI does by hand what a client's in-cluster configuration does.
func askAPI(ctx context.Context, path string) (string, error) {
	const folder = "/var/run/secrets/kubernetes.io/serviceaccount/"
	token, err := os.ReadFile(folder + "token")
	if err != nil {
		return "", err
	}
	ca, err := os.ReadFile(folder + "ca.crt")
	if err != nil {
		return "", err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return "", errors.New("no certificate in ca.crt")
	}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+host+path, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+string(token))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.Status, nil
}

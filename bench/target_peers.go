//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// prepareNginx makes nginx forward with one worker, connections kept on both sides,
// no log, and events of a stream passed on at once (the engine asks for that).
func prepareNginx(dir, addr string, engines engineAddresses) ([]string, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		return nil, fmt.Errorf("nginx: %w (Debian: apt-get install nginx-light)", errNotInstalled)
	}
	var servers strings.Builder
	for _, g := range groups() {
		for _, e := range engines[g.name] {
			fmt.Fprintf(&servers, "    server %s weight=%d;\n", e, g.weight)
		}
	}
	conf := fmt.Sprintf(`worker_processes 1;
worker_rlimit_nofile 16384;
daemon off;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 16384; }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  keepalive_requests 1000000000;
  keepalive_timeout 10m;
  tcp_nodelay on;
  upstream engines {
%[3]s    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 10m;
  }
  server {
    listen %[2]s backlog=4096;
    location / {
      proxy_pass http://engines;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_read_timeout 10m;
    }
  }
}
`, dir, addr, &servers)
	file := filepath.Join(dir, "nginx.conf")
	return []string{path, "-p", dir, "-e", "stderr", "-c", file}, os.WriteFile(file, []byte(conf), 0o600)
}

// prepareHaproxy makes haproxy forward with one thread, connections kept and reused
// on both sides, and no log.
func prepareHaproxy(dir, addr string, engines engineAddresses) ([]string, error) {
	path, err := exec.LookPath("haproxy")
	if err != nil {
		return nil, fmt.Errorf("haproxy: %w (Debian: apt-get install haproxy)", errNotInstalled)
	}
	var servers strings.Builder
	for _, g := range groups() {
		for i, e := range engines[g.name] {
			fmt.Fprintf(&servers, "  server %s-%d %s weight %d\n", g.name, i, e, g.weight)
		}
	}
	conf := fmt.Sprintf(`global
  nbthread 1
  maxconn 8000
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 10m
  timeout server 10m
  timeout http-keep-alive 10m
frontend front
  bind %s backlog 4096
  default_backend engines
backend engines
  balance roundrobin
%s`, addr, &servers)
	file := filepath.Join(dir, "haproxy.cfg")
	return []string{path, "-db", "-q", "-f", file}, os.WriteFile(file, []byte(conf), 0o600)
}

// prepareReverse makes the harness itself the proxy: net/http's own ReverseProxy,
// for scale.
func prepareReverse(_, addr string, engines engineAddresses) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	list, err := json.Marshal(engines)
	if err != nil {
		return nil, fmt.Errorf("list of engines: %w", err)
	}
	return []string{self, "reverse", addr, string(list)}, nil
}

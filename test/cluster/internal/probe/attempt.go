package probe

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Target is what is probed: a container of a pod.
type Target struct {
	PodIP     string
	Container *v1.Container
	Exec      func(ctx context.Context, argv []string) error
}

// client does not verify certificates, as the kubelet does not, and reuses no
// connection: a probe asks whether a new one would be answered.
var client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Attempt probes once; nil is a success.
func (t Target) Attempt(ctx context.Context, p *v1.Probe) error {
	timeout := time.Duration(max(p.TimeoutSeconds, 1)) * time.Second
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if p.GRPC != nil {
		return t.grpc(ctx, p.GRPC)
	}
	return t.Handle(ctx, &v1.LifecycleHandler{Exec: p.Exec, HTTPGet: p.HTTPGet, TCPSocket: p.TCPSocket})
}

// Handle carries out the handler of a lifecycle hook.
func (t Target) Handle(ctx context.Context, h *v1.LifecycleHandler) error {
	switch {
	case h.HTTPGet != nil:
		return t.httpGet(ctx, h.HTTPGet)
	case h.TCPSocket != nil:
		return t.tcp(ctx, h.TCPSocket)
	case h.Exec != nil:
		return t.Exec(ctx, h.Exec.Command)
	case h.Sleep != nil:
		select {
		case <-ctx.Done():
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		}
		return nil
	}
	return errors.New("neither httpGet, tcpSocket, grpc, exec nor sleep")
}

// address joins the pod's address, or host, with a port that may be a name.
func (t Target) address(host string, port intstr.IntOrString) (string, error) {
	if host == "" {
		host = t.PodIP
	}
	if port.Type == intstr.Int {
		return net.JoinHostPort(host, strconv.Itoa(port.IntValue())), nil
	}
	for _, p := range t.Container.Ports {
		if p.Name == port.StrVal {
			return net.JoinHostPort(host, strconv.Itoa(int(p.ContainerPort))), nil
		}
	}
	return "", fmt.Errorf("container %s has no port named %q", t.Container.Name, port.StrVal)
}

func (t Target) httpGet(ctx context.Context, h *v1.HTTPGetAction) error {
	address, err := t.address(h.Host, h.Port)
	if err != nil {
		return err
	}
	target, err := url.Parse(h.Path)
	if err != nil {
		target = &url.URL{Path: h.Path}
	}
	target.Scheme, target.Host = strings.ToLower(string(h.Scheme)), address
	if target.Scheme == "" {
		target.Scheme = "http"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return err
	}
	req.Header.Set("User-Agent", "kube-probe/1.37")
	for _, header := range h.HTTPHeaders {
		if strings.EqualFold(header.Name, "Host") {
			req.Host = header.Value
		} else {
			req.Header.Add(header.Name, header.Value)
		}
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 10<<10) // a program should not see its answer refused
	_ = resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode >= 400 {
		return fmt.Errorf("HTTP probe failed with statuscode: %d", resp.StatusCode)
	}
	return nil
}

func (t Target) tcp(ctx context.Context, h *v1.TCPSocketAction) error {
	address, err := t.address(h.Host, h.Port)
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return conn.Close()
}

func (t Target) grpc(ctx context.Context, g *v1.GRPCAction) error {
	address := net.JoinHostPort(t.PodIP, strconv.Itoa(int(g.Port)))
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	req := &health.HealthCheckRequest{}
	if g.Service != nil {
		req.Service = *g.Service
	}
	resp, err := health.NewHealthClient(conn).Check(ctx, req)
	if err == nil && resp.Status != health.HealthCheckResponse_SERVING {
		err = fmt.Errorf("gRPC health is %s", resp.Status)
	}
	return err
}

package translate

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/routing"
	corev1 "k8s.io/api/core/v1"
)

// activePortsAnnotation on a pod lists which of its pool's target ports take
// requests; without it all do (Gateway API Inference Extension).
const activePortsAnnotation = "inference.networking.k8s.io/active-ports"

// podEndpoints returns an endpoint for each ready pod and port, by address.
func (b *build) podEndpoints(pods []*corev1.Pod, ports []int32) []routing.Endpoint {
	var out []routing.Endpoint
	for _, p := range pods {
		if !ready(p) {
			continue
		}
		where := b.places(p)
		for _, port := range ports {
			if !active(p, port) {
				continue
			}
			for _, address := range where.of(port) {
				out = append(out, routing.Endpoint{Address: address, Pod: p.Namespace + "/" + p.Name})
			}
		}
	}
	return sortEndpoints(out)
}

// sortEndpoints puts endpoints in order and drops those of equal address.
func sortEndpoints(list []routing.Endpoint) []routing.Endpoint {
	slices.SortFunc(list, func(x, y routing.Endpoint) int {
		return cmp.Or(cmp.Compare(x.Address, y.Address), cmp.Compare(x.Pod, y.Pod))
	})
	return slices.CompactFunc(list, func(x, y routing.Endpoint) bool { return x.Address == y.Address })
}

// ready says whether a pod may take new requests. A pod nobody keeps a status of,
// as in a file, is taken to be ready.
func ready(p *corev1.Pod) bool {
	if p.DeletionTimestamp != nil || p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return len(p.Status.Conditions) == 0
}

func active(p *corev1.Pod, port int32) bool {
	list, ok := p.Annotations[activePortsAnnotation]
	if !ok {
		return true
	}
	for s := range strings.SplitSeq(list, ",") {
		if n, err := strconv.Atoi(strings.TrimSpace(s)); err == nil && n == int(port) {
			return true
		}
	}
	return false
}

// places is where the ports of one pod are reached.
type places struct {
	ip     string
	every  []string           // of any port
	byPort map[int32][]string // of one container port
}

func (w places) of(port int32) []string {
	switch {
	case w.byPort[port] != nil:
		return w.byPort[port]
	case w.every != nil:
		return w.every
	case w.ip != "" && port > 0:
		return []string{net.JoinHostPort(w.ip, strconv.Itoa(int(port)))}
	}
	return nil
}

// places reads AddressAnnotation and status.podIP.
func (b *build) places(p *corev1.Pod) places {
	w := places{ip: p.Status.PodIP}
	list, ok := p.Annotations[AddressAnnotation]
	if !ok {
		return w
	}
	for s := range strings.SplitSeq(list, ",") {
		port, address, mapped := strings.Cut(strings.TrimSpace(s), "=")
		if !mapped {
			port, address = "", port
		}
		n, ok := portNumber(port)
		if !validAddress(address) || mapped && !ok {
			b.report(Warning, refTo("", kindPod, p), "metadata.annotations["+AddressAnnotation+"]",
				fmt.Sprintf("%q is neither host:port nor containerPort=host:port", s), "correct the annotation")
			continue
		}
		if !mapped {
			w.every = append(w.every, address)
			continue
		}
		if w.byPort == nil {
			w.byPort = map[int32][]string{}
		}
		w.byPort[n] = append(w.byPort[n], address)
	}
	return w
}

func validAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return false
	}
	_, ok := portNumber(port)
	return ok
}

func portNumber(s string) (int32, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int32(n), err == nil && n > 0
}

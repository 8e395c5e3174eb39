package file

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// parseAddresses reads the value of translate.AddressAnnotation and returns the
// part of each pod, without repetitions. An entry without "containerPort=" is a
// pod of its own; entries with one are of the same pod until a port comes again,
// so "8000=a:1,8001=a:2,8000=b:1" are two pods.
func parseAddresses(text string) ([]string, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var pods []string
	var ports map[string]bool // of the last pod, nil when it is complete
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		port, address, mapped := strings.Cut(entry, "=")
		if !mapped {
			port, address = "", entry
		}
		if (mapped && !validPort(port)) || !validAddress(address) {
			return nil, errors.New(badAddress)
		}
		switch {
		case !mapped:
			pods, ports = append(pods, entry), nil
		case ports == nil || ports[port]:
			pods, ports = append(pods, entry), map[string]bool{port: true}
		default:
			pods[len(pods)-1] += "," + entry
			ports[port] = true
		}
	}
	return distinct(pods), nil
}

const badAddress = "is not a list of host:port, or containerPort=host:port, with commas between"

func validPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}

func validAddress(s string) bool {
	host, port, err := net.SplitHostPort(s)
	return err == nil && host != "" && !strings.ContainsAny(host, " /@") && validPort(port)
}

// podsOf returns the pods that the controllers of Kubernetes would create for a
// workload, or nil for other objects. Names are stable: they depend on the
// workload's name and its template alone, and on the pod's address or number, so
// that other pods keep theirs when some come or go.
func podsOf(o object) []*corev1.Pod {
	w, ok := asWorkload(o)
	if !ok {
		return nil
	}
	addresses := addressesOf(w)
	count := int(**w.replicas)
	if len(addresses) > 0 {
		count = len(addresses)
	}
	namer := newPodNamer(w)
	pods := make([]*corev1.Pod, count)
	for i := range pods {
		address := ""
		if len(addresses) > 0 {
			address = addresses[i]
		}
		pods[i] = newPod(w, namer.name(i, address), address)
	}
	return pods
}

func newPod(w workload, name, address string) *corev1.Pod {
	t := w.template.DeepCopy()
	controller := true
	p := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:              name,
			Namespace:         w.GetNamespace(),
			Labels:            t.Labels,
			Annotations:       withAnnotation(t.Annotations, translate.AddressAnnotation, address),
			Generation:        1,
			CreationTimestamp: w.GetCreationTimestamp(),
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "apps/v1", Kind: w.kind, Name: w.GetName(), Controller: &controller,
			}},
		},
		Spec: t.Spec,
	}
	p.Status.Phase, p.Status.Conditions = presumedReady()
	return p
}

// podNamer names the pods of one workload, each name once.
type podNamer struct {
	workload workload
	base     string // all but the suffix
	seed     uint32
	taken    map[string]bool
}

// suffixes holds the characters of generated names; without vowels they never
// spell a word.
const (
	suffixes     = "bcdfghjklmnpqrstvwxz2456789"
	suffixLength = 5
	maxPodBase   = 57 // as long as Kubernetes lets the rest of a pod's name be
)

func newPodNamer(w workload) *podNamer {
	// Addresses and faults are not part of what the pods run: changing them must
	// not rename them all.
	t := w.template.DeepCopy()
	t.Annotations = withAnnotation(t.Annotations, translate.AddressAnnotation, "")
	t.Annotations = withAnnotation(t.Annotations, translate.FaultsAnnotation, "")
	text, err := json.Marshal(t)
	if err != nil {
		panic(err) // the template came from JSON
	}
	sum := sha256.Sum256(text)
	n := &podNamer{workload: w, base: w.GetName(), taken: map[string]bool{}}
	if w.kind == "Deployment" {
		n.base += "-" + encode(binary.BigEndian.Uint64(sum[:]), 8)
	}
	n.base = n.base[:min(len(n.base), maxPodBase)]
	owner := sha256.Sum256(fmt.Appendf(sum[:], "%s/%s", w.GetNamespace(), w.GetName()))
	n.seed = binary.BigEndian.Uint32(owner[:])
	return n
}

// name returns the name of the i-th pod, which may have an address.
func (n *podNamer) name(i int, address string) string {
	if n.workload.kind == "StatefulSet" {
		return n.workload.GetName() + "-" + strconv.Itoa(n.workload.first+i)
	}
	key := strconv.Itoa(i)
	if address != "" {
		key = address
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint32([]byte(key), n.seed))
	for v := binary.BigEndian.Uint64(sum[:]); ; v++ {
		name := n.base + "-" + encode(v, suffixLength)
		if !n.taken[name] {
			n.taken[name] = true
			return name
		}
	}
}

func encode(v uint64, length int) string {
	out := make([]byte, length)
	for i := range out {
		out[i] = suffixes[v%uint64(len(suffixes))]
		v /= uint64(len(suffixes))
	}
	return string(out)
}

package translate

import (
	"cmp"
	"slices"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// index holds look-ups over Resources, built once per Build.
type index struct {
	namespaces namespaces
	service    map[types.NamespacedName]*corev1.Service
	slices     map[types.NamespacedName][]*discoveryv1.EndpointSlice // by Service
	secrets    map[types.NamespacedName]*corev1.Secret
	configMaps map[types.NamespacedName]*corev1.ConfigMap
	pods       map[podLabel][]*corev1.Pod
	grants     grants
	// parameters and deployments are of data planes.
	parameters  map[types.NamespacedName]*cfv1a1.GatewayParameters
	deployments map[types.NamespacedName]*appsv1.Deployment
}

// podLabel is one label of the pods of one namespace.
type podLabel struct{ namespace, key, value string }

func newIndex(in *Resources) *index {
	x := &index{
		namespaces: newNamespaces(in.Namespaces),
		service:    byName(in.Services),
		slices:     map[types.NamespacedName][]*discoveryv1.EndpointSlice{},
		secrets:    byName(in.Secrets),
		configMaps: byName(in.ConfigMaps),
		pods:       map[podLabel][]*corev1.Pod{},
		grants:     newGrants(in.ReferenceGrants),

		parameters:  byName(in.GatewayParameters),
		deployments: byName(in.Deployments),
	}
	for _, s := range in.EndpointSlices {
		if s == nil {
			continue
		}
		service := types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]}
		x.slices[service] = append(x.slices[service], s)
	}
	for _, p := range in.Pods {
		if p == nil || ofDataPlane(p) {
			continue
		}
		for k, v := range p.Labels {
			l := podLabel{p.Namespace, k, v}
			x.pods[l] = append(x.pods[l], p)
		}
	}
	return x
}

// ofDataPlane says that a pod is a data plane's: those serve no model, whatever labels
// a Gateway's author gives them.
func ofDataPlane(p *corev1.Pod) bool {
	return p.Labels["app.kubernetes.io/managed-by"] == "crossfade" && p.Labels["app.kubernetes.io/component"] == "gateway"
}

// selectPods returns the pods of a namespace that carry all labels of selector. An
// empty selector selects nothing, as in a Service.
func (x *index) selectPods(namespace string, selector map[string]string) []*corev1.Pod {
	var rarest []*corev1.Pod
	first := true
	for k, v := range selector {
		if pods := x.pods[podLabel{namespace, k, v}]; first || len(pods) < len(rarest) {
			rarest, first = pods, false
		}
	}
	if len(selector) < 2 {
		return rarest
	}
	var out []*corev1.Pod
	for _, p := range rarest {
		if hasLabels(p, selector) {
			out = append(out, p)
		}
	}
	return out
}

func hasLabels(p *corev1.Pod, selector map[string]string) bool {
	for k, want := range selector {
		if got, ok := p.Labels[k]; !ok || got != want {
			return false
		}
	}
	return true
}

// object is a pointer to an API object of type T.
type object[T any] interface {
	*T
	dated
}

// dated is what an object's place in the order of winning depends on.
type dated interface {
	metav1.Object
	GetObjectKind() schema.ObjectKind
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

func byName[T any, P object[T]](list []P) map[types.NamespacedName]P {
	m := make(map[types.NamespacedName]P, len(list))
	for _, o := range list {
		if o != nil {
			m[nameOf(o)] = o
		}
	}
	return m
}

// oldestFirst returns the objects of list in the order in which they win: by age,
// then by namespace and name, then the newer of the groups that have the kind.
func oldestFirst[T any, P object[T]](list []P) []P {
	out := make([]P, 0, len(list))
	for _, o := range list {
		if o != nil {
			out = append(out, o)
		}
	}
	slices.SortStableFunc(out, func(a, b P) int { return compareAge(a, b) })
	return out
}

func compareAge(a, b dated) int {
	at, bt := a.GetCreationTimestamp(), b.GetCreationTimestamp()
	if c := cmp.Or(at.Time.Compare(bt.Time), compareNames(nameOf(a), nameOf(b))); c != 0 {
		return c
	}
	// llm-d.ai, which came later, sorts last.
	return cmp.Compare(b.GetObjectKind().GroupVersionKind().Group, a.GetObjectKind().GroupVersionKind().Group)
}

// compareNames orders names as the strings "namespace/name" (Gateway API), where
// a slash counts as more than a dash.
func compareNames(a, b types.NamespacedName) int {
	n := min(len(a.Namespace), len(b.Namespace))
	switch {
	case a.Namespace == b.Namespace:
		return cmp.Compare(a.Name, b.Name)
	case a.Namespace[:n] != b.Namespace[:n]:
		return cmp.Compare(a.Namespace, b.Namespace)
	case len(a.Namespace) == n:
		return cmp.Compare('/', b.Namespace[n])
	}
	return cmp.Compare(a.Namespace[n], '/')
}

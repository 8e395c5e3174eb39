package kube

import (
	"maps"
	"slices"

	"crossfade.dev/internal/translate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// activePortsAnnotation on a pod is read by translation (Gateway API Inference
// Extension).
const activePortsAnnotation = "inference.networking.k8s.io/active-ports"

// identity returns the part of an object's metadata that every reader needs.
func identity(m metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: m.Name, Namespace: m.Namespace, UID: m.UID, Labels: m.Labels, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}

func stripNamespace(n *corev1.Namespace) {
	*n = corev1.Namespace{TypeMeta: n.TypeMeta, ObjectMeta: identity(n.ObjectMeta)}
}

// stripPod keeps the labels, the annotations and the addresses that translation
// reads. Of the conditions only Ready counts, and its times do not; a pod that has
// conditions but no Ready one keeps the others, since none at all means ready.
func stripPod(p *corev1.Pod) {
	meta := identity(p.ObjectMeta)
	for _, key := range []string{translate.AddressAnnotation, activePortsAnnotation} {
		if v, ok := p.Annotations[key]; ok {
			if meta.Annotations == nil {
				meta.Annotations = map[string]string{}
			}
			meta.Annotations[key] = v
		}
	}
	var containers []corev1.Container
	for _, c := range p.Spec.Containers {
		if len(c.Ports) > 0 {
			containers = append(containers, corev1.Container{Name: c.Name, Ports: slices.Clone(c.Ports)})
		}
	}
	status := corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	if status.Conditions == nil && (len(p.Status.Conditions) > 0 || p.Status.Phase == corev1.PodPending) {
		// A kubelet has yet to say anything, which is not the silence of a file.
		status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	}
	*p = corev1.Pod{TypeMeta: p.TypeMeta, ObjectMeta: meta, Spec: corev1.PodSpec{Containers: containers}, Status: status}
}

// stripEndpointSlice keeps what leads to endpoints. Zones, nodes and hints change
// often and are not read.
func stripEndpointSlice(s *discoveryv1.EndpointSlice) {
	meta := identity(s.ObjectMeta)
	meta.Labels = nil
	if v, ok := s.Labels[discoveryv1.LabelServiceName]; ok {
		meta.Labels = map[string]string{discoveryv1.LabelServiceName: v}
	}
	s.ObjectMeta = meta
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		kept := discoveryv1.Endpoint{Addresses: e.Addresses, Conditions: e.Conditions}
		if t := e.TargetRef; t != nil {
			kept.TargetRef = &corev1.ObjectReference{Kind: t.Kind, Namespace: t.Namespace, Name: t.Name}
		}
		*e = kept
	}
}

// stripSecret keeps the keys of a certificate alone.
func stripSecret(s *corev1.Secret) {
	data := maps.Clone(s.Data)
	maps.DeleteFunc(data, func(key string, _ []byte) bool {
		return key != corev1.TLSCertKey && key != corev1.TLSPrivateKeyKey && key != corev1.ServiceAccountRootCAKey
	})
	*s = corev1.Secret{TypeMeta: s.TypeMeta, ObjectMeta: identity(s.ObjectMeta), Type: s.Type, Data: data}
}

// heedRollout keeps what a gateway serves by. The rest of a rollout's status is
// written every few seconds, and what was observed with it.
func heedRollout(status map[string]any) map[string]any {
	out := map[string]any{}
	if shares, ok := status["shares"].(map[string]any); ok {
		kept := maps.Clone(shares)
		delete(kept, "observed")
		delete(kept, "verified")
		out["shares"] = kept
	}
	if request, ok := status["request"]; ok {
		out["request"] = request
	}
	return out
}

// stripDeployment keeps whose it is and how far it is.
func stripDeployment(d *appsv1.Deployment) {
	meta := identity(d.ObjectMeta)
	meta.Generation, meta.OwnerReferences = d.Generation, d.OwnerReferences
	status := d.Status
	for i := range status.Conditions {
		c := &status.Conditions[i]
		c.LastUpdateTime, c.LastTransitionTime = metav1.Time{}, metav1.Time{}
	}
	*d = appsv1.Deployment{TypeMeta: d.TypeMeta, ObjectMeta: meta, Spec: appsv1.DeploymentSpec{Replicas: d.Spec.Replicas}, Status: status}
}

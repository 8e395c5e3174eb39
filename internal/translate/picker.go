package translate

import (
	"fmt"
	"strings"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	"crossfade.dev/internal/routing"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
)

// PickerTLSAnnotation on an InferencePool says how its external endpoint picker is
// spoken to: "off" is HTTP/2 in clear text, "unverified", the default, is TLS with
// whatever certificate the picker has, as the protocol expects.
const PickerTLSAnnotation = "crossfade.dev/endpoint-picker-tls"

// pickerRef is a reference to an endpoint picker in the terms of either group.
type pickerRef struct {
	field    string
	to       ObjectRef
	port     int32
	failOpen bool
}

// resolvePicker resolves a v1 endpointPickerRef. One that leads nowhere makes the
// pool unusable: its requests get 5xx, whatever the failureMode.
func (b *build) resolvePicker(p *pool, o *infv1.InferencePool) {
	r := o.Spec.EndpointPickerRef
	ref := pickerRef{field: "spec.endpointPickerRef", failOpen: r.FailureMode == infv1.EndpointPickerFailOpen}
	ref.to = ObjectRef{Group: value(r.Group, ""), Kind: string(r.Kind), Namespace: p.ref.Namespace, Name: string(r.Name)}
	if r.Port != nil {
		ref.port = int32(r.Port.Number)
	}
	b.attachPicker(p, o, ref)
}

// resolveExtension resolves a v1alpha2 extensionRef. That field is required, so a
// pool without a picker can only name one that does not exist: the built-in picker
// serves it (docs/decisions/0007).
func (b *build) resolveExtension(p *pool, o *infv1a2.InferencePool) {
	r := o.Spec.ExtensionRef
	ref := pickerRef{field: "spec.extensionRef", port: infv1a2.DefaultEndpointPickerPort, failOpen: value(r.FailureMode, "") == "FailOpen"}
	ref.to = ObjectRef{Group: value(r.Group, ""), Kind: value(r.Kind, ""), Namespace: p.ref.Namespace, Name: r.Name}
	if r.PortNumber != nil {
		ref.port = *r.PortNumber
	}
	isService := ref.to.Group == "" && (ref.to.Kind == "" || ref.to.Kind == kindService)
	if isService && b.service[types.NamespacedName{Namespace: ref.to.Namespace, Name: ref.to.Name}] == nil {
		p.note = "the built-in picker serves this pool, for there is no Service " + ref.to.Name
		return
	}
	b.attachPicker(p, o, ref)
}

// attachPicker gives p the picker that ref names, or says what is wrong with it.
func (b *build) attachPicker(p *pool, o metav1.Object, ref pickerRef) {
	fail := func(message, remedy string) {
		p.picker = verdict{string(infv1.InferencePoolReasonInvalidExtensionRef), message}
		b.report(Error, p.ref, ref.field, message, remedy)
	}
	if ref.to.Kind == "" {
		ref.to.Kind = kindService
	}
	if ref.to.Group != "" || ref.to.Kind != kindService {
		fail(fmt.Sprintf("an endpoint picker of kind %s is not supported", ref.to.Kind), "name a Service"+ref.orNone())
		return
	}
	s, port, v, remedy := b.servicePort(ref.to, ref.port)
	if v.bad() {
		fail("endpoint picker: "+v.message, remedy+ref.orNone())
		return
	}
	e := &routing.ExternalPicker{
		Service:   fmt.Sprintf("%s/%s:%d", s.Namespace, s.Name, port.Port),
		FailOpen:  ref.failOpen,
		Plaintext: b.pickerInClear(p, o, port),
	}
	for _, at := range b.serviceEndpoints(s, port) {
		e.Endpoints = append(e.Endpoints, at.Address)
	}
	p.routing.Picker = e
	if len(e.Endpoints) == 0 {
		b.report(Warning, p.ref, ref.field, "endpoint picker "+ref.to.String()+" has no ready endpoint, so "+withoutPicker(e),
			"see that pods match its selector and are ready")
	}
}

// orNone is the way out that v1 offers: no reference at all.
func (r pickerRef) orNone() string {
	if r.field == "spec.endpointPickerRef" {
		return ", or remove endpointPickerRef for the built-in picker"
	}
	return ""
}

func withoutPicker(e *routing.ExternalPicker) string {
	if e.FailOpen {
		return "the built-in picker chooses"
	}
	return "requests to the pool get 503"
}

// pickerInClear says whether the picker speaks HTTP/2 without TLS: the pool's
// annotation decides, then the appProtocol that stands for just that. http2, which
// pickers' Services usually carry, says nothing about TLS.
func (b *build) pickerInClear(p *pool, o metav1.Object, port *corev1.ServicePort) bool {
	switch tls, set := o.GetAnnotations()[PickerTLSAnnotation]; {
	case tls == "off":
		return true
	case tls == "unverified":
		return false
	case set:
		b.report(Warning, p.ref, "metadata.annotations["+PickerTLSAnnotation+"]",
			fmt.Sprintf("%q is neither off nor unverified", tls), "correct the annotation")
	}
	return strings.EqualFold(value(port.AppProtocol, ""), "kubernetes.io/h2c")
}
